package org.eellm.convert;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.checkpoint.safetensors.ModelFiles;
import org.eellm.data.DataException;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.file.JsonErrors;
import org.eellm.file.Shown;

/**
 * A tokenizer as llama.cpp wants it.
 *
 * @param model {@code llama} for SentencePiece's pairs with bytes to fall back on, {@code gpt2} for
 *     byte-level pairs
 * @param pre how text is cut before pairs are merged, by llama.cpp's name; for {@code gpt2} alone
 * @param tokens the pieces, by id
 * @param types llama.cpp's numbers for ordinary, unknown, control, user's, unused and byte tokens
 * @param scores for {@code llama}: the earlier a pair is merged, the higher
 * @param merges for {@code gpt2}: the pairs, first to last
 * @param addsBeginning whether texts begin with the beginning token
 * @param template chat template, if there is one
 */
record GgufTokenizer(
    String model,
    Optional<String> pre,
    List<String> tokens,
    List<Integer> types,
    List<Float> scores,
    List<String> merges,
    Optional<Integer> unknown,
    boolean addsBeginning,
    boolean addsBlank,
    Optional<String> template) {
  private static final int ORDINARY = 1;
  private static final int UNKNOWN = 2;
  private static final int CONTROL = 3;
  private static final int USERS = 4;
  private static final int UNUSED = 5;
  private static final int BYTE = 6;

  /** llama.cpp's names of the expressions that cut text, by a part that tells them apart. */
  private static final Map<String, String> PRE_BY_PATTERN =
      Map.of(
          "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", "llama-bpe",
          "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", "qwen2");

  /**
   * Reads a folder's tokenizer, or a GGUF file's.
   *
   * @param size of the model's vocabulary; ids that the tokenizer does not have are unused
   * @throws CheckpointException if there is none, or one that llama.cpp does not have
   */
  static GgufTokenizer read(Path path, int size) {
    for (String name : ModelWriter.COMPANIONS) {
      if (ModelFiles.has(path, name)) {
        ModelFiles.file(path, name); // which leads nowhere else
      }
    }
    try {
      Tokenizer tokenizer = Tokenizer.load(path);
      ObjectNode config = JsonFiles.parse(tokenizer.configuration(), ObjectNode.class);
      tokenizer.chatTemplate().ifPresent(template -> config.put("chat_template", template));
      return of(path, JsonFiles.parse(tokenizer.definition(), JsonNode.class), config, size);
    } catch (DataException failure) {
      throw new CheckpointException(
          failure.getMessage() + "; or name another folder's with --tokenizer", failure);
    } catch (JsonProcessingException failure) {
      throw new CheckpointException(
          "%s: the tokenizer cannot be read: %s".formatted(path, JsonErrors.reason(failure)),
          failure);
    }
  }

  private static GgufTokenizer of(Path path, JsonNode file, JsonNode config, int size) {
    JsonNode model = file.path("model");
    if (!model.path("type").asText("BPE").equals("BPE")) {
      throw new CheckpointException(
          "%s: a tokenizer of type %s is not exported; BPE is"
              .formatted(path, model.path("type").asText()));
    }
    Map<String, Integer> vocabulary = new HashMap<>();
    model.path("vocab").properties().forEach(e -> vocabulary.put(e.getKey(), e.getValue().asInt()));
    boolean pieces = model.path("byte_fallback").asBoolean();
    List<String> merges = merges(model.path("merges"));
    List<String> tokens = new ArrayList<>();
    for (int id = 0; id < size; id++) {
      tokens.add("[PAD%d]".formatted(id));
    }
    List<Integer> types = new ArrayList<>(Collections.nCopies(size, UNUSED));
    vocabulary.forEach(
        (piece, id) -> {
          requireId(path, id, size);
          tokens.set(id, piece);
          types.set(id, pieces && piece.matches("<0x[0-9A-Fa-f]{2}>") ? BYTE : ORDINARY);
        });
    for (JsonNode added : file.path("added_tokens")) {
      int id = added.path("id").asInt(-1);
      requireId(path, id, size);
      tokens.set(id, added.path("content").asText());
      types.set(id, added.path("special").asBoolean() ? CONTROL : USERS);
    }
    Optional<Integer> unknown =
        Optional.ofNullable(vocabulary.get(model.path("unk_token").asText("")));
    unknown.ifPresent(id -> types.set(id, UNKNOWN));
    return new GgufTokenizer(
        pieces ? "llama" : "gpt2",
        pieces ? Optional.empty() : Optional.of(pre(path, file.path("pre_tokenizer"))),
        tokens,
        types,
        pieces ? scores(tokens, vocabulary, merges) : List.of(),
        pieces ? List.of() : merges,
        unknown,
        addsBeginning(file, config),
        addsBlank(file),
        Optional.ofNullable(config.path("chat_template").textValue()));
  }

  private static void requireId(Path path, int id, int size) {
    if (id < 0 || id >= size) {
      throw new CheckpointException(
          "%s: token id %d is outside the model's vocabulary of %d; the tokenizer is another model's"
              .formatted(path, id, size));
    }
  }

  /** SentencePiece joins the pair whose piece has the highest score, which is the first merge. */
  private static List<Float> scores(
      List<String> tokens, Map<String, Integer> vocabulary, List<String> merges) {
    List<Float> scores = new ArrayList<>(Collections.nCopies(tokens.size(), 0f));
    for (int rank = merges.size() - 1; rank >= 0; rank--) {
      Integer id = vocabulary.get(merges.get(rank).replaceFirst(" ", ""));
      if (id != null) {
        scores.set(id, -(float) (rank + 1));
      }
    }
    return scores;
  }

  private static List<String> merges(JsonNode merges) {
    List<String> pairs = new ArrayList<>();
    for (JsonNode merge : merges) {
      pairs.add(
          merge.isArray() ? merge.path(0).asText() + " " + merge.path(1).asText() : merge.asText());
    }
    return pairs;
  }

  private static String pre(Path path, JsonNode preTokenizer) {
    String text = preTokenizer.toString();
    boolean plain =
        preTokenizer.path("type").asText().equals("ByteLevel")
            && preTokenizer.path("use_regex").asBoolean(true)
            && !preTokenizer.path("add_prefix_space").asBoolean();
    if (plain) {
      return "gpt-2";
    }
    for (JsonNode part : preTokenizer.path("pretokenizers")) {
      String pattern = part.path("pattern").path("Regex").asText();
      for (Map.Entry<String, String> known : PRE_BY_PATTERN.entrySet()) {
        if (pattern.endsWith(known.getKey())
            && (known.getValue().equals("llama-bpe") || !pattern.contains("{1,3}"))) {
          return known.getValue();
        }
      }
      if (part.path("type").asText().equals("Digits")
          && part.path("individual_digits").asBoolean()) {
        return "smollm";
      }
    }
    throw new CheckpointException(
        "%s: pre_tokenizer %s is none that is exported; those of GPT-2, Llama 3, Qwen2 and SmolLM are"
            .formatted(path, Shown.of(text)));
  }

  private static boolean addsBeginning(JsonNode file, JsonNode config) {
    boolean template = file.path("post_processor").path("single").path(0).has("SpecialToken");
    for (JsonNode part : file.path("post_processor").path("processors")) {
      template |= part.path("single").path(0).has("SpecialToken");
    }
    return config.path("add_bos_token").asBoolean(template);
  }

  private static boolean addsBlank(JsonNode file) {
    boolean prepends = file.path("normalizer").path("type").asText().equals("Prepend");
    for (JsonNode part : file.path("normalizer").path("normalizers")) {
      prepends |= part.path("type").asText().equals("Prepend");
    }
    JsonNode pre = file.path("pre_tokenizer");
    return prepends
        || (pre.path("type").asText().equals("Metaspace")
            && !pre.path("prepend_scheme").asText("always").equals("never"));
  }
}
