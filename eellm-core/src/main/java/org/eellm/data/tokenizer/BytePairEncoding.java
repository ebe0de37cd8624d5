package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.knuddels.jtokkit.Encodings;
import com.knuddels.jtokkit.api.Encoding;
import com.knuddels.jtokkit.api.EncodingRegistry;
import com.knuddels.jtokkit.api.GptBytePairEncodingParams;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * GPT-2's byte-level byte-pair encoding: a text is split into words, a word into its bytes, and the
 * neighbours that were merged first in training are merged first.
 */
final class BytePairEncoding {
  static final String END_OF_TEXT = "<|endoftext|>";

  /** GPT-2's words; blanks are Unicode's, as in the original. */
  static final Pattern WORD =
      Pattern.compile(
          "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
          Pattern.UNICODE_CHARACTER_CLASS);

  private BytePairEncoding() {}

  /**
   * An encoder.
   *
   * @param ids every token's bytes, all 256 single bytes among them, with its id; a token merged
   *     earlier in training has the lower id
   */
  static Tokenizer.TextEncoder encoder(Map<byte[], Integer> ids) {
    EncodingRegistry registry = Encodings.newLazyEncodingRegistry();
    String name = "byte pairs";
    registry.registerGptBytePairEncoding(new GptBytePairEncodingParams(name, WORD, ids, Map.of()));
    Encoding encoding = registry.getEncoding(name).orElseThrow();
    return text -> encoding.encodeOrdinary(text).toArray();
  }

  /**
   * The content of a {@code tokenizer.json} that Hugging Face's tools read as GPT-2's encoding.
   *
   * @param vocabulary ids of all pieces, among them {@link #END_OF_TEXT}
   * @param merges pairs of pieces, the first one merged first, each as two pieces with a blank
   *     between
   */
  static ObjectNode file(Map<String, Integer> vocabulary, List<String> merges) {
    ObjectNode byteLevel =
        object()
            .put("type", "ByteLevel")
            .put("add_prefix_space", false)
            .put("trim_offsets", true)
            .put("use_regex", true);
    ObjectNode endOfText =
        object()
            .put("id", vocabulary.get(END_OF_TEXT))
            .put("content", END_OF_TEXT)
            .put("single_word", false)
            .put("lstrip", false)
            .put("rstrip", false)
            .put("normalized", false)
            .put("special", true);
    ObjectNode model =
        object()
            .put("type", "BPE")
            .putNull("dropout")
            .putNull("unk_token")
            .putNull("continuing_subword_prefix")
            .putNull("end_of_word_suffix")
            .put("fuse_unk", false)
            .put("byte_fallback", false);
    ObjectNode pieces = model.putObject("vocab");
    vocabulary.entrySet().stream()
        .sorted(Map.Entry.comparingByValue())
        .forEach(entry -> pieces.put(entry.getKey(), entry.getValue()));
    ArrayNode pairs = model.putArray("merges");
    merges.forEach(pairs::add);

    ObjectNode file = object().put("version", "1.0").putNull("truncation").putNull("padding");
    file.putArray("added_tokens").add(endOfText);
    file.putNull("normalizer");
    file.set("pre_tokenizer", byteLevel);
    file.set("post_processor", byteLevel);
    file.set("decoder", byteLevel);
    file.set("model", model);
    return file;
  }

  /** The {@code tokenizer_config.json} beside it. */
  static ObjectNode configFile() {
    return object()
        .put("tokenizer_class", "PreTrainedTokenizerFast")
        .put("eos_token", END_OF_TEXT)
        .put("clean_up_tokenization_spaces", false);
  }

  private static ObjectNode object() {
    return JsonNodeFactory.instance.objectNode();
  }
}
