package org.eellm.gguf;

import static org.eellm.gguf.TokenizerNodes.object;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Map;

/** Ways of byte-level tokenizers to cut text into words, in the words of {@code tokenizer.json}. */
public enum WordRule {
  GPT_2,
  /** GPT-2's, where every digit is a word. */
  SMOLLM,
  LLAMA_3,
  /** Llama 3's, where every digit is a word and a text is composed (NFC). */
  QWEN_2;

  private static final String LLAMA_3_WORD =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
          + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

  /**
   * A {@code tokenizer.json} of byte pairs, as yet without added tokens.
   *
   * @param vocabulary ids by pieces, whose bytes are written as visible characters
   * @param merges pairs of pieces with a blank between, the first one merged first
   */
  public ObjectNode file(Map<String, Integer> vocabulary, List<String> merges) {
    ObjectNode model = TokenizerNodes.bytePairs(false, false);
    ObjectNode pieces = model.putObject("vocab");
    vocabulary.entrySet().stream()
        .sorted(Map.Entry.comparingByValue())
        .forEach(entry -> pieces.put(entry.getKey(), entry.getValue()));
    ArrayNode pairs = model.putArray("merges");
    merges.forEach(pairs::add);

    ObjectNode file = object().put("version", "1.0").putNull("truncation").putNull("padding");
    file.putArray("added_tokens");
    if (this == QWEN_2) {
      file.putObject("normalizer").put("type", "NFC");
    } else {
      file.putNull("normalizer");
    }
    file.set("pre_tokenizer", preTokenizer());
    file.set("post_processor", byteLevel(true));
    file.set("decoder", byteLevel(true));
    file.set("model", model);
    return file;
  }

  private ObjectNode preTokenizer() {
    return switch (this) {
      case GPT_2 -> byteLevel(true);
      case SMOLLM ->
          sequence(object().put("type", "Digits").put("individual_digits", true), byteLevel(true));
      case LLAMA_3 -> sequence(split(LLAMA_3_WORD), byteLevel(false));
      case QWEN_2 -> sequence(split(LLAMA_3_WORD.replace("{1,3}", "")), byteLevel(false));
    };
  }

  /** Writes bytes as visible characters, and cuts as GPT-2 does if told so. */
  private static ObjectNode byteLevel(boolean splits) {
    return object()
        .put("type", "ByteLevel")
        .put("add_prefix_space", false)
        .put("trim_offsets", true)
        .put("use_regex", splits);
  }

  private static ObjectNode split(String expression) {
    ObjectNode split = object().put("type", "Split");
    split.putObject("pattern").put("Regex", expression);
    return split.put("behavior", "Isolated").put("invert", false);
  }

  private static ObjectNode sequence(ObjectNode... parts) {
    ObjectNode sequence = object().put("type", "Sequence");
    ArrayNode all = sequence.putArray("pretokenizers");
    for (ObjectNode part : parts) {
      all.add(part);
    }
    return sequence;
  }
}
