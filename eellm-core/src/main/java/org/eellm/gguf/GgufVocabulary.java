package org.eellm.gguf;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

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
  private static final String BLANK = "\u2581";

  private static final int ORDINARY = 1;
  private static final int UNKNOWN = 2;
  private static final int CONTROL = 3;
  private static final int USERS = 4;
  private static final int UNUSED = 5;
  private static final int BYTE = 6;

  /** How Llama 3 cuts text into words. */
  private static final String LLAMA_3 =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
          + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

  /** How Qwen 2 does: every digit is a word. */
  private static final String QWEN_2 = LLAMA_3.replace("{1,3}", "");

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
    List<Long> types =
        metadata.wholes(TYPES).orElse(Collections.nCopies(tokens.size(), (long) ORDINARY));
    requireAsMany(TYPES, types.size(), tokens);
    ObjectNode file = object();
    file.put("version", "1.0").putNull("truncation").putNull("padding");
    addedTokens(file.putArray("added_tokens"), tokens, types);
    Map<String, Integer> vocabulary = vocabulary(tokens, types, pieces);
    if (pieces) {
      pieces(file, metadata, tokens, types, vocabulary);
    } else {
      bytePairs(file, metadata, vocabulary);
    }
    return new GgufVocabulary(file, config(metadata, tokens, pieces));
  }

  private static void requireAsMany(String key, int count, List<String> tokens) {
    if (count != tokens.size()) {
      throw new GgufException(
          "%s: %d elements are not as many as the %d of %s"
              .formatted(key, count, tokens.size(), TOKENS));
    }
  }

  private static void addedTokens(ArrayNode added, List<String> tokens, List<Long> types) {
    for (int id = 0; id < tokens.size(); id++) {
      int type = Math.toIntExact(types.get(id));
      if (type == CONTROL || type == USERS || type == UNKNOWN) {
        added
            .addObject()
            .put("id", id)
            .put("content", tokens.get(id))
            .put("single_word", false)
            .put("lstrip", false)
            .put("rstrip", false)
            .put("normalized", false)
            .put("special", type != USERS);
      }
    }
  }

  /** The pieces that text is made of; of SentencePiece's the special ones are among them. */
  private static Map<String, Integer> vocabulary(
      List<String> tokens, List<Long> types, boolean pieces) {
    Map<String, Integer> vocabulary = new HashMap<>();
    for (int id = 0; id < tokens.size(); id++) {
      int type = Math.toIntExact(types.get(id));
      if (type < ORDINARY || type > BYTE) {
        throw new GgufException("%s: %d of token %d is unknown".formatted(TYPES, type, id));
      }
      boolean member = pieces ? type != UNUSED : type == ORDINARY || type == BYTE;
      Integer other = member ? vocabulary.put(tokens.get(id), id) : null;
      if (other != null) {
        throw new GgufException(
            "%s: tokens %d and %d are both '%s'".formatted(TOKENS, other, id, tokens.get(id)));
      }
    }
    return vocabulary;
  }

  // Byte-level pairs

  private static void bytePairs(
      ObjectNode file, GgufMetadata metadata, Map<String, Integer> vocabulary) {
    ObjectNode words =
        switch (metadata.optionalText(PRE).orElse("")) {
          case "gpt-2" -> byteLevel(true);
          case "smollm" -> {
            ObjectNode digits = object().put("type", "Digits").put("individual_digits", true);
            yield sequence("pretokenizers", digits, byteLevel(true));
          }
          case "llama-bpe", "llama3", "llama-v3" ->
              sequence("pretokenizers", split(LLAMA_3), byteLevel(false));
          case "qwen2", "deepseek-r1-qwen" ->
              sequence("pretokenizers", split(QWEN_2), byteLevel(false));
          default ->
              metadata.refuse(
                  PRE,
                  "is no way to cut text that is known; gpt-2, llama-bpe, qwen2 and smollm are");
        };
    if (metadata.optionalText(PRE).orElse("").contains("qwen")) {
      file.set("normalizer", object().put("type", "NFC"));
    } else {
      file.putNull("normalizer");
    }
    file.set("pre_tokenizer", words);
    file.putNull("post_processor");
    file.set("decoder", byteLevel(true));
    ObjectNode model = model(vocabulary);
    model.put("ignore_merges", startsTexts(metadata));
    ArrayNode merges = model.putArray("merges");
    for (String merge : metadata.texts(MERGES).orElse(List.of())) {
      int cut = merge.indexOf(' ', 1);
      if (cut < 0) {
        throw new GgufException("%s: '%s' is no pair".formatted(MERGES, merge));
      }
      String whole = merge.substring(0, cut) + merge.substring(cut + 1);
      if (!vocabulary.containsKey(whole)) {
        throw new GgufException(
            "%s: '%s' makes '%s', which is not among the tokens".formatted(MERGES, merge, whole));
      }
      merges.add(merge);
    }
    file.set("model", model);
  }

  /** Llama 3's tokenizer takes words that are tokens whole, and begins every text. */
  private static boolean startsTexts(GgufMetadata metadata) {
    return metadata.optionalText(PRE).orElse("").startsWith("llama");
  }

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

  // SentencePiece

  private static void pieces(
      ObjectNode file,
      GgufMetadata metadata,
      List<String> tokens,
      List<Long> types,
      Map<String, Integer> vocabulary) {
    boolean prefix = addsBlank(metadata);
    ObjectNode replace = object().put("type", "Replace");
    replace.putObject("pattern").put("String", " ");
    replace.put("content", BLANK);
    file.set(
        "normalizer",
        prefix
            ? sequence(
                "normalizers", object().put("type", "Prepend").put("prepend", BLANK), replace)
            : replace);
    file.putNull("pre_tokenizer");
    file.putNull("post_processor");
    ObjectNode back = object().put("type", "Replace");
    back.putObject("pattern").put("String", BLANK);
    back.put("content", " ");
    List<ObjectNode> decoders = new ArrayList<>();
    decoders.add(back);
    decoders.add(object().put("type", "ByteFallback"));
    decoders.add(object().put("type", "Fuse"));
    if (prefix) {
      decoders.add(
          object().put("type", "Strip").put("content", " ").put("start", 1).put("stop", 0));
    }
    file.set("decoder", sequence("decoders", decoders.toArray(ObjectNode[]::new)));
    ObjectNode model = model(vocabulary);
    model.put("fuse_unk", true).put("byte_fallback", true);
    unknown(tokens, types).ifPresent(name -> model.put("unk_token", name));
    ArrayNode merges = model.putArray("merges");
    merges(metadata, tokens, types, vocabulary).forEach(merges::add);
    file.set("model", model);
  }

  private static Optional<String> unknown(List<String> tokens, List<Long> types) {
    int id = types.indexOf((long) UNKNOWN);
    return id < 0 ? Optional.empty() : Optional.of(tokens.get(id));
  }

  /** A way to make a piece of two others. */
  private record Merge(String left, String right, double score) {}

  /** SentencePiece joins the pair whose piece has the highest score: the first merge here. */
  private static List<String> merges(
      GgufMetadata metadata,
      List<String> tokens,
      List<Long> types,
      Map<String, Integer> vocabulary) {
    List<Double> scores = metadata.reals(SCORES).orElse(List.of());
    requireAsMany(SCORES, scores.size(), tokens);
    List<Merge> merges = new ArrayList<>();
    for (int id = 0; id < tokens.size(); id++) {
      String piece = tokens.get(id);
      if (types.get(id) == ORDINARY) {
        for (int cut = 1; cut < piece.length(); cut++) {
          String left = piece.substring(0, cut);
          String right = piece.substring(cut);
          if (isOrdinary(left, types, vocabulary) && isOrdinary(right, types, vocabulary)) {
            merges.add(new Merge(left, right, scores.get(id)));
          }
        }
      }
    }
    merges.sort(Comparator.comparingDouble(Merge::score).reversed()); // ties stay by id
    return merges.stream().map(merge -> merge.left + " " + merge.right).toList();
  }

  private static boolean isOrdinary(
      String piece, List<Long> types, Map<String, Integer> vocabulary) {
    Integer id = vocabulary.get(piece);
    return id != null && types.get(id) == ORDINARY;
  }

  // Parts of both

  private static ObjectNode model(Map<String, Integer> vocabulary) {
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
    return model;
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

  private static boolean addsBlank(GgufMetadata metadata) {
    return metadata.flag("tokenizer.ggml.add_space_prefix").orElse(true);
  }

  private static ObjectNode sequence(String name, ObjectNode... parts) {
    ObjectNode sequence = object().put("type", "Sequence");
    ArrayNode all = sequence.putArray(name);
    for (ObjectNode part : parts) {
      all.add(part);
    }
    return sequence;
  }

  private static ObjectNode object() {
    return JsonNodeFactory.instance.objectNode();
  }
}
