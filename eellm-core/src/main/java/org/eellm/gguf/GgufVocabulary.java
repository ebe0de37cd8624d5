package org.eellm.gguf;

import static org.eellm.gguf.TokenizerNodes.object;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.gguf.SentencePieces.Rules;

/**
 * The tokenizer of a GGUF file, in the words of Hugging Face's files.
 *
 * @param tokenizer what would be in {@code tokenizer.json}
 * @param config what would be in {@code tokenizer_config.json}
 */
public record GgufVocabulary(ObjectNode tokenizer, ObjectNode config) {
  private static final String MODEL = "tokenizer.ggml.model";
  private static final String PRE = "tokenizer.ggml.pre";
  private static final String TOKENS = "tokenizer.ggml.tokens";
  private static final String TYPES = "tokenizer.ggml.token_type";
  private static final String SCORES = "tokenizer.ggml.scores";
  private static final String MERGES = "tokenizer.ggml.merges";

  /**
   * The tokenizer of a file.
   *
   * @throws GgufException if there is none or it cannot be honoured; the message names the file
   */
  public static GgufVocabulary read(Path path) {
    try (GgufFile file = GgufFile.open(path)) {
      return of(file.metadata());
    } catch (GgufException failure) {
      String message = String.valueOf(failure.getMessage());
      throw message.startsWith(path + ": ")
          ? failure
          : new GgufException(path + ": " + message, failure);
    }
  }

  /**
   * The tokenizer that a header describes.
   *
   * @throws GgufException if there is none or it cannot be honoured
   */
  static GgufVocabulary of(GgufMetadata metadata) {
    boolean pieces =
        switch (metadata.text(MODEL)) {
          case "llama" -> true;
          case "gpt2" -> false;
          case String _ ->
              metadata.refuse(MODEL, "is no tokenizer that is read; gpt2 and llama are");
        };
    List<String> tokens = metadata.texts(TOKENS).orElse(List.of());
    if (tokens.isEmpty()) {
      throw new GgufException(TOKENS + " is missing; convert the model to GGUF anew");
    }
    List<Integer> types =
        metadata
            .wholes(TYPES)
            .map(wholes -> wholes.stream().map(Math::toIntExact).toList())
            .orElse(Collections.nCopies(tokens.size(), SentencePieces.ORDINARY));
    requireAsMany(TYPES, types.size(), tokens);
    Map<String, Integer> vocabulary = vocabulary(tokens, types, pieces);
    ObjectNode file =
        pieces ? pieces(metadata, tokens, types) : bytePairs(metadata, tokens, types, vocabulary);
    return new GgufVocabulary(file, config(metadata, tokens, pieces));
  }

  private static void requireAsMany(String key, int count, List<String> tokens) {
    if (count != tokens.size()) {
      throw new GgufException(
          "%s: %d elements are not as many as the %d of %s"
              .formatted(key, count, tokens.size(), TOKENS));
    }
  }

  private static ObjectNode pieces(
      GgufMetadata metadata, List<String> tokens, List<Integer> types) {
    List<Double> scores = metadata.reals(SCORES).orElse(List.of());
    requireAsMany(SCORES, scores.size(), tokens);
    boolean addsBlank = metadata.flag("tokenizer.ggml.add_space_prefix").orElse(true);
    return new SentencePieces(tokens, types, scores, new Rules(false, true, addsBlank, false, ""))
        .file();
  }

  /** The pieces that text is made of; of SentencePiece's the special ones are among them. */
  private static Map<String, Integer> vocabulary(
      List<String> tokens, List<Integer> types, boolean pieces) {
    Map<String, Integer> vocabulary = new HashMap<>();
    for (int id = 0; id < tokens.size(); id++) {
      int type = types.get(id);
      if (type < SentencePieces.ORDINARY || type > SentencePieces.BYTE) {
        throw new GgufException("%s: %d of token %d is unknown".formatted(TYPES, type, id));
      }
      boolean member =
          pieces
              ? type != SentencePieces.UNUSED
              : type == SentencePieces.ORDINARY || type == SentencePieces.BYTE;
      Integer other = member ? vocabulary.put(tokens.get(id), id) : null;
      if (other != null) {
        throw new GgufException(
            "%s: tokens %d and %d are both '%s'".formatted(TOKENS, other, id, tokens.get(id)));
      }
    }
    return vocabulary;
  }

  private static ObjectNode bytePairs(
      GgufMetadata metadata,
      List<String> tokens,
      List<Integer> types,
      Map<String, Integer> vocabulary) {
    List<String> merges = metadata.texts(MERGES).orElse(List.of());
    for (String merge : merges) {
      int cut = merge.indexOf(' ', 1);
      if (cut < 0) {
        throw new GgufException("%s: '%s' is no pair".formatted(MERGES, merge));
      }
      String whole = merge.substring(0, cut) + merge.substring(cut + 1);
      if (!vocabulary.containsKey(whole)) {
        throw new GgufException(
            "%s: '%s' makes '%s', which is not among the tokens".formatted(MERGES, merge, whole));
      }
    }
    ObjectNode file = wordRule(metadata).file(vocabulary, merges);
    ((ObjectNode) file.path("model")).put("ignore_merges", startsTexts(metadata));
    for (int id = 0; id < tokens.size(); id++) {
      SentencePieces.addToken(file.withArray("added_tokens"), id, tokens.get(id), types.get(id));
    }
    return file;
  }

  private static WordRule wordRule(GgufMetadata metadata) {
    return switch (metadata.optionalText(PRE).orElse("")) {
      case "gpt-2" -> WordRule.GPT_2;
      case "smollm" -> WordRule.SMOLLM;
      case "llama-bpe", "llama3", "llama-v3" -> WordRule.LLAMA_3;
      case "qwen2", "deepseek-r1-qwen" -> WordRule.QWEN_2;
      default ->
          metadata.refuse(
              PRE, "is no way to cut text that is known; gpt-2, llama-bpe, qwen2 and smollm are");
    };
  }

  /** Llama 3's tokenizer takes words that are tokens whole, and begins every text. */
  private static boolean startsTexts(GgufMetadata metadata) {
    return metadata.optionalText(PRE).orElse("").startsWith("llama");
  }

  private static ObjectNode config(GgufMetadata metadata, List<String> tokens, boolean pieces) {
    ObjectNode config = object();
    config.put("tokenizer_class", "PreTrainedTokenizerFast");
    for (String name : List.of("bos", "eos", "unknown", "padding")) {
      String key = "tokenizer.ggml." + name + "_token_id";
      Optional<Integer> id = metadata.count(key);
      if (id.isPresent() && id.get() >= tokens.size()) {
        metadata.refuse(key, "is no token; there are " + tokens.size());
      }
      String field =
          switch (name) {
            case "unknown" -> "unk_token";
            case "padding" -> "pad_token";
            default -> name + "_token";
          };
      id.ifPresent(present -> config.put(field, tokens.get(present)));
    }
    boolean begins = config.has("bos_token") && addsBeginning(metadata, pieces);
    config.put("add_bos_token", begins);
    if (metadata.flag("tokenizer.ggml.add_eos_token").orElse(false)) {
      metadata.refuse("tokenizer.ggml.add_eos_token", "is not supported; false is");
    }
    metadata
        .optionalText("tokenizer.chat_template")
        .ifPresent(template -> config.put("chat_template", template));
    return config.put("clean_up_tokenization_spaces", false);
  }

  private static boolean addsBeginning(GgufMetadata metadata, boolean pieces) {
    return metadata
        .flag("tokenizer.ggml.add_bos_token")
        .orElse(pieces || startsTexts(metadata)); // llama.cpp's own assumptions
  }
}
