package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.eellm.gguf.WordRule;

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
   * The content of a {@code tokenizer.json} that Hugging Face's tools read as GPT-2's encoding.
   *
   * @param vocabulary ids of all pieces, among them {@link #END_OF_TEXT}
   * @param merges pairs of pieces, the first one merged first, each as two pieces with a blank
   *     between
   */
  static ObjectNode file(Map<String, Integer> vocabulary, List<String> merges) {
    ObjectNode file = WordRule.GPT_2.file(vocabulary, merges);
    addEndOfText(file);
    return file;
  }

  /** Makes {@link #END_OF_TEXT} of the vocabulary a special token. */
  static void addEndOfText(ObjectNode file) {
    file.withArray("added_tokens")
        .addObject()
        .put("id", file.path("model").path("vocab").path(END_OF_TEXT).intValue())
        .put("content", END_OF_TEXT)
        .put("single_word", false)
        .put("lstrip", false)
        .put("rstrip", false)
        .put("normalized", false)
        .put("special", true);
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
