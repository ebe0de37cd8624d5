package org.eellm.data.tokenizer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.eellm.data.DataException;
import org.eellm.file.InputFiles;
import org.eellm.gguf.GgufException;
import org.eellm.gguf.GgufFile;
import org.eellm.gguf.GgufVocabulary;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reads the files of a tokenizer. GPT-2's two files become a {@code tokenizer.json} first, so that
 * there is one way to understand them all.
 */
final class TokenizerReader {
  private static final Logger LOG = LoggerFactory.getLogger(TokenizerReader.class);

  /** The largest known files have a third of this, and a fifth of its values. */
  private static final int MAX_BYTES = 100_000_000;

  private static final ObjectMapper JSON =
      new ObjectMapper(
          JsonFactory.builder()
              .streamReadConstraints(
                  StreamReadConstraints.builder()
                      .maxNestingDepth(100)
                      .maxTokenCount(20_000_000)
                      .build())
              .build());

  /** Names of the token that ends a text, where {@code tokenizer_config.json} gives none. */
  private static final List<String> END_NAMES =
      List.of(BytePairEncoding.END_OF_TEXT, "</s>", "<|end_of_text|>", "<eos>");

  /** Classes of Hugging Face that {@code vocab.json} and {@code merges.txt} say all of. */
  private static final List<String> GPT2_CLASSES = List.of("GPT2Tokenizer", "GPT2TokenizerFast");

  private static final int MAX_VOCABULARY = 1 << 24;
  private static final int MAX_HOLES = 1 << 10;

  private final ObjectNode file;
  private final ObjectNode config;
  private final String place;
  private final Map<String, Integer> vocabulary;
  private final Map<String, JsonNode> addedTokens = new LinkedHashMap<>();
  private final PieceDecoder decoder;

  private TokenizerReader(ObjectNode file, ObjectNode config, String place) {
    this.file = file;
    this.config = config;
    this.place = place;
    vocabulary = vocabulary(file.path("model").path("vocab"));
    addTokens();
    requireNamedTokens();
    decoder = PieceDecoder.of(file.path("decoder"), place);
  }

  /** See {@link Tokenizer#load}. */
  static Tokenizer read(Path path) {
    if (GgufFile.isOne(path)) {
      return readGguf(path);
    }
    if (Files.exists(path) && !Files.isDirectory(path)) {
      return readFile(path);
    }
    if (Files.exists(path.resolve(Tokenizer.FILE))) {
      return readFile(path.resolve(Tokenizer.FILE));
    }
    Path vocabulary = path.resolve("vocab.json");
    Path merges = path.resolve("merges.txt");
    if (Files.exists(vocabulary) && Files.exists(merges)) {
      return readPairs(path, vocabulary, merges);
    }
    throw new DataException(
        path
            + ": no tokenizer there; give a folder with tokenizer.json, or with vocab.json and"
            + " merges.txt");
  }

  private static Tokenizer readFile(Path path) {
    String text = readText(path);
    Path configPath = path.resolveSibling(Tokenizer.CONFIG_FILE);
    String configText = Files.exists(configPath) ? readText(configPath) : "{}";
    return new TokenizerReader(parse(text, path), parse(configText, configPath), path.toString())
        .tokenizer(text, configText);
  }

  private static Tokenizer readGguf(Path path) {
    try {
      GgufVocabulary vocabulary = GgufVocabulary.read(path);
      return of(vocabulary.tokenizer(), vocabulary.config(), path.toString());
    } catch (GgufException failure) {
      throw new DataException(String.valueOf(failure.getMessage()), failure);
    }
  }

  private static Tokenizer readPairs(Path folder, Path vocabularyPath, Path mergesPath) {
    Map<String, Integer> vocabulary = new HashMap<>();
    for (Map.Entry<String, JsonNode> entry :
        parse(readText(vocabularyPath), vocabularyPath).properties()) {
      vocabulary.put(entry.getKey(), id(entry.getValue(), vocabularyPath.toString()));
    }
    if (!vocabulary.containsKey(BytePairEncoding.END_OF_TEXT)) {
      throw new DataException(
          "%s: has no %s, which ends documents; add it with the next free id"
              .formatted(vocabularyPath, BytePairEncoding.END_OF_TEXT));
    }
    requirePlainPairs(folder, vocabulary);
    List<String> merges =
        readText(mergesPath)
            .lines()
            .filter(line -> !line.startsWith("#version") && !line.isBlank())
            .toList();
    return of(
        BytePairEncoding.file(vocabulary, merges),
        BytePairEncoding.configFile(),
        mergesPath.toString());
  }

  /**
   * Refuses what the files beside say of a tokenizer that is more than GPT-2's: its words, its
   * tokens and where it puts them are in the program of another class, not in these two files.
   */
  private static void requirePlainPairs(Path folder, Map<String, Integer> vocabulary) {
    Path path = folder.resolve(Tokenizer.CONFIG_FILE);
    ObjectNode config = Files.exists(path) ? parse(readText(path), path) : JSON.createObjectNode();
    String kind = config.path("tokenizer_class").asText(GPT2_CLASSES.getFirst());
    if (!GPT2_CLASSES.contains(kind)) {
      throw notPlain(path, "tokenizer_class: " + shown(kind));
    }
    for (String key : List.of("add_prefix_space", "add_bos_token")) {
      if (config.path(key).asBoolean()) {
        throw notPlain(path, key + ": true");
      }
    }
    JsonNode end = config.path("eos_token");
    String endName = (end.isObject() ? end.path("content") : end).asText("");
    if (!endName.isEmpty() && !endName.equals(BytePairEncoding.END_OF_TEXT)) {
      throw notPlain(path, "eos_token: " + shown(endName));
    }
    config
        .path("added_tokens_decoder")
        .properties()
        .forEach(
            entry -> {
              String name = entry.getValue().path("content").asText();
              if (!entry.getKey().equals(String.valueOf(vocabulary.get(name)))) {
                throw notPlain(
                    path,
                    "added_tokens_decoder: %s: '%s'".formatted(shown(entry.getKey()), shown(name)));
              }
            });
    Path added = folder.resolve("added_tokens.json");
    if (Files.exists(added)) {
      parse(readText(added), added)
          .properties()
          .forEach(
              entry -> {
                if (id(entry.getValue(), added.toString())
                    != vocabulary.getOrDefault(entry.getKey(), -1)) {
                  throw notPlain(added, "'%s'".formatted(shown(entry.getKey())));
                }
              });
    }
  }

  private static DataException notPlain(Path path, String what) {
    return new DataException(
        "%s: %s is not GPT-2's, as which vocab.json and merges.txt are read; save the tokenizer as tokenizer.json, as save_pretrained of a fast tokenizer does"
            .formatted(path, what));
  }

  /**
   * The tokenizer that two files describe.
   *
   * @param place what messages call the file
   */
  static Tokenizer of(ObjectNode file, ObjectNode config, String place) {
    return new TokenizerReader(file, config, place)
        .tokenizer(file.toPrettyString(), config.toPrettyString());
  }

  private Tokenizer tokenizer(String fileText, String configText) {
    Tokenizer.Vocabulary understood =
        new Tokenizer.Vocabulary(
            tokens(), endOfDocument(), beginningOfSequence(), decoder.dropsLeadingBlank());
    Tokenizer.TextEncoder encoder =
        bytePairs()
            .map(BytePairEncoding::encoder)
            .orElseGet(() -> HuggingFaceEncoder.of(file, vocabulary.keySet(), place));
    return new Tokenizer(understood, encoder, fileText, configText);
  }

  private Map<String, Integer> vocabulary(JsonNode pieces) {
    Map<String, Integer> ids = new HashMap<>();
    if (pieces.isArray()) { // a unigram model: pairs of piece and score
      for (JsonNode piece : pieces) {
        if (!piece.path(0).isTextual() || !Double.isFinite(piece.path(1).asDouble(Double.NaN))) {
          throw new DataException(
              "%s: model.vocab: %s is no pair of a piece and its score"
                  .formatted(place, shown(piece)));
        }
        if (ids.put(piece.path(0).asText(), ids.size()) != null) {
          throw new DataException(
              "%s: model.vocab: %s is there twice".formatted(place, shown(piece)));
        }
      }
    } else {
      for (Map.Entry<String, JsonNode> entry : pieces.properties()) {
        ids.put(entry.getKey(), id(entry.getValue(), place));
      }
    }
    if (ids.isEmpty()) {
      throw new DataException(place + ": has no model.vocab; is it a tokenizer.json?");
    }
    return ids;
  }

  private void addTokens() {
    Map<Integer, String> names = new HashMap<>();
    vocabulary.forEach(
        (piece, id) -> {
          String other = names.put(id, piece);
          if (other != null) {
            throw sharedId(id, other, piece);
          }
        });
    for (JsonNode token : file.path("added_tokens")) {
      String name = token.path("content").asText();
      int id = id(token.path("id"), place + ": added_tokens");
      if (name.isEmpty()) {
        throw new DataException(
            "%s: added_tokens: %d has no content; remove it".formatted(place, id));
      }
      String other = names.put(id, name);
      if (other != null && !other.equals(name)) {
        throw sharedId(id, other, name);
      }
      Integer ownId = vocabulary.get(name);
      if ((ownId != null && ownId != id) || addedTokens.put(name, token) != null) {
        throw new DataException(
            "%s: added_tokens: '%s' is there twice, with ids of its own; keep one"
                .formatted(place, shown(name)));
      }
    }
  }

  private DataException sharedId(int id, String one, String other) {
    return new DataException(
        "%s: '%s' and '%s' have the same id %d; give each its own"
            .formatted(place, shown(one), shown(other), id));
  }

  /** Refuses names of tokens that there are not. */
  private void requireNamedTokens() {
    JsonNode model = file.path("model");
    JsonNode unknown = model.path("unk_token");
    if (unknown.isTextual() && id(unknown.asText()).isEmpty()) {
      throw absent("model.unk_token", unknown.asText());
    }
    JsonNode unknownId = model.path("unk_id");
    if (!unknownId.isNull() && unknownId.asLong() >= vocabulary.size()) {
      throw absent("model.unk_id", unknownId.toString());
    }
    List<JsonNode> processors = parts(file.path("post_processor"), "processors");
    for (JsonNode processor : processors) {
      for (JsonNode part : processor.path("single")) {
        JsonNode name = part.path("SpecialToken").path("id");
        if (name.isTextual() && id(name.asText()).isEmpty()) {
          throw absent("post_processor", name.asText());
        }
      }
    }
  }

  private DataException absent(String key, String name) {
    return new DataException(
        "%s: %s: '%s' is no token of the vocabulary".formatted(place, key, shown(name)));
  }

  private List<Tokenizer.Token> tokens() {
    Map<Integer, Tokenizer.Token> byId = new HashMap<>();
    vocabulary.forEach((piece, id) -> byId.put(id, Tokenizer.Token.ordinary(decoder.bytes(piece))));
    addedTokens.forEach(
        (name, token) ->
            byId.put(
                id(token.path("id"), place),
                token.path("special").asBoolean()
                    ? Tokenizer.Token.special(name)
                    : Tokenizer.Token.ordinary(name.getBytes(StandardCharsets.UTF_8))));
    int size = byId.keySet().stream().mapToInt(Integer::intValue).max().orElseThrow() + 1;
    int holes = size - byId.size();
    if (holes > byId.size() + MAX_HOLES) {
      throw new DataException(
          "%s: ids go to %d, but there are %d tokens; is the file whole?"
              .formatted(place, size - 1, byId.size()));
    }
    if (holes > 0) {
      LOG.warn("{}: {} of {} ids have no token; they are written as nothing", place, holes, size);
    }
    Tokenizer.Token[] tokens = new Tokenizer.Token[size];
    Arrays.fill(tokens, Tokenizer.Token.special(""));
    byId.forEach((id, token) -> tokens[id] = token);
    return List.of(tokens);
  }

  private int endOfDocument() {
    Optional<String> named = name("eos_token");
    if (named.isPresent()) {
      return id(named.get(), "eos_token");
    }
    for (String name : END_NAMES) {
      OptionalInt id = id(name);
      if (id.isPresent()) {
        return id.getAsInt();
      }
    }
    throw new DataException(
        "%s: no token ends a text; name it as eos_token in %s beside it"
            .formatted(place, Tokenizer.CONFIG_FILE));
  }

  private OptionalInt beginningOfSequence() {
    List<JsonNode> processors = parts(file.path("post_processor"), "processors");
    Optional<String> templateName =
        processors.stream()
            .map(processor -> processor.path("single").path(0).path("SpecialToken").path("id"))
            .filter(JsonNode::isTextual)
            .map(JsonNode::asText)
            .findFirst();
    if (!config.path("add_bos_token").asBoolean(templateName.isPresent())) {
      return OptionalInt.empty();
    }
    Optional<String> name = name("bos_token").or(() -> templateName);
    return name.isPresent() ? OptionalInt.of(id(name.get(), "bos_token")) : OptionalInt.empty();
  }

  /** A special token's name in the configuration, written as text or as an object. */
  private Optional<String> name(String key) {
    JsonNode value = config.path(key);
    JsonNode name = value.isObject() ? value.path("content") : value;
    return name.isTextual() ? Optional.of(name.asText()) : Optional.empty();
  }

  private OptionalInt id(String name) {
    JsonNode added = addedTokens.get(name);
    if (added != null) {
      return OptionalInt.of(id(added.path("id"), place));
    }
    Integer id = vocabulary.get(name);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }

  private int id(String name, String key) {
    return id(name)
        .orElseThrow(
            () ->
                new DataException(
                    "%s: %s %s of %s is not in the vocabulary"
                        .formatted(place, key, shown(name), Tokenizer.CONFIG_FILE)));
  }

  /**
   * The ids by bytes if {@link BytePairEncoding} encodes as this file says; empty if more is asked
   * for, or if the order of the merges is not that of the ids.
   */
  private Optional<Map<byte[], Integer>> bytePairs() {
    JsonNode model = file.path("model");
    JsonNode words = file.path("pre_tokenizer");
    boolean plain =
        model.path("type").asText("BPE").equals("BPE")
            && model.path("dropout").asDouble() == 0
            && model.path("continuing_subword_prefix").asText("").isEmpty()
            && model.path("end_of_word_suffix").asText("").isEmpty()
            && !model.path("byte_fallback").asBoolean()
            && file.path("normalizer").isEmpty()
            && words.path("type").asText().equals("ByteLevel")
            && !words.path("add_prefix_space").asBoolean(true)
            && words.path("use_regex").asBoolean(true)
            && addedTokens.values().stream().allMatch(token -> token.path("special").asBoolean());
    if (!plain) {
      return Optional.empty();
    }
    Map<byte[], Integer> ids = new IdentityHashMap<>();
    int singleBytes = 0;
    for (Map.Entry<String, Integer> entry : vocabulary.entrySet()) {
      if (!addedTokens.containsKey(entry.getKey())) {
        Optional<byte[]> bytes = ByteAlphabet.bytes(entry.getKey());
        if (bytes.isEmpty() || bytes.get().length == 0) {
          return Optional.empty();
        }
        ids.put(bytes.get(), entry.getValue());
        singleBytes += bytes.get().length == 1 ? 1 : 0;
      }
    }
    return singleBytes == 256 && mergesFollowIds(model.path("merges"), ids.size() - 256)
        ? Optional.of(ids)
        : Optional.empty();
  }

  private boolean mergesFollowIds(JsonNode merges, int expected) {
    int last = -1;
    for (JsonNode merge : merges) {
      String piece =
          merge.isArray()
              ? merge.path(0).asText() + merge.path(1).asText()
              : merge.asText().replace(" ", "");
      Integer id = vocabulary.get(piece);
      if (id == null) {
        throw new DataException(
            "%s: the merge of %s makes %s, which is not in the vocabulary"
                .formatted(place, shown(merge), shown(piece)));
      }
      if (id <= last) {
        return false;
      }
      last = id;
    }
    return merges.size() == expected;
  }

  /** The parts of a normalizer, processor or decoder, sequences of sequences resolved. */
  static List<JsonNode> parts(JsonNode node, String children) {
    if (node.path("type").asText().equals("Sequence")) {
      List<JsonNode> all = new ArrayList<>();
      node.path(children).forEach(child -> all.addAll(parts(child, children)));
      return all;
    }
    return node.isObject() ? List.of(node) : List.of();
  }

  private static int id(JsonNode value, String place) {
    if (!value.canConvertToInt() || value.intValue() < 0 || value.intValue() >= MAX_VOCABULARY) {
      throw new DataException(
          "%s: %s is no token id; ids go from 0 to %d"
              .formatted(place, shown(value), MAX_VOCABULARY - 1));
    }
    return value.intValue();
  }

  /** A hostile value must not fill the screen or break the line. */
  static String shown(Object value) {
    String line = value.toString().replaceAll("\\p{Cntrl}", "?");
    return line.length() <= 80 ? line : line.substring(0, 77) + "...";
  }

  private static String readText(Path path) {
    try {
      return InputFiles.text(path, MAX_BYTES);
    } catch (IOException e) {
      throw new DataException("%s: cannot be read: %s".formatted(path, DataException.reason(e)), e);
    }
  }

  private static ObjectNode parse(String text, Path path) {
    try {
      if (JSON.readTree(text) instanceof ObjectNode object) {
        return object;
      }
      throw new DataException(path + ": holds no JSON object");
    } catch (JsonProcessingException e) {
      throw new DataException(
          "%s%s: not valid JSON: %s"
              .formatted(
                  path,
                  e.getLocation() == null ? "" : ":" + e.getLocation().getLineNr(),
                  DataException.reason(e)),
          e);
    }
  }
}
