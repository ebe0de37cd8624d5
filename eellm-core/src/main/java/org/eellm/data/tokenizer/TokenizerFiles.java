package org.eellm.data.tokenizer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.data.DataException;
import org.eellm.file.InputFiles;
import org.eellm.file.Shown;
import org.eellm.gguf.GgufException;
import org.eellm.gguf.GgufFile;
import org.eellm.gguf.GgufVocabulary;
import org.eellm.gguf.WordRule;

/**
 * Finds the files of a tokenizer. Those of other forms become a {@code tokenizer.json} first, so
 * that there is one way to understand them all.
 */
final class TokenizerFiles {
  /** SentencePiece's pieces or tiktoken's ranks. */
  private static final List<String> MODELS =
      List.of("tokenizer.model", "spiece.model", "qwen.tiktoken");

  /** Files of tokenizers that are not read. */
  private static final Map<String, String> OTHERS =
      Map.of("tekken.json", "Mistral's tekken", "vocab.txt", "WordPiece's list of words");

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

  /** Hugging Face's classes of {@code vocab.json} and {@code merges.txt}. */
  private static final Map<String, WordRule> PAIR_CLASSES =
      Map.of(
          "GPT2Tokenizer", WordRule.GPT_2,
          "CodeGenTokenizer", WordRule.GPT_2,
          "Qwen2Tokenizer", WordRule.QWEN_2);

  private static final byte[] NO_FIELDS = {'{', '}'};

  private TokenizerFiles() {}

  /** See {@link Tokenizer#load}. */
  static Tokenizer read(Path path) {
    if (GgufFile.isOne(path)) {
      return readGguf(path);
    }
    boolean isFile = Files.exists(path) && !Files.isDirectory(path);
    Tokenizer tokenizer = isFile ? readOne(path) : readFolder(path);
    Path template = (isFile ? path.resolveSibling("") : path).resolve(Tokenizer.TEMPLATE_FILE);
    try {
      return Files.exists(template)
          ? tokenizer.withChatTemplate(InputFiles.text(template, MAX_BYTES))
          : tokenizer;
    } catch (IOException e) {
      throw DataException.unreadable(template, e);
    }
  }

  private static Tokenizer readOne(Path path) {
    return path.toString().matches(".*\\.(model|tiktoken)") ? readModel(path) : readFile(path);
  }

  private static Tokenizer readFolder(Path path) {
    if (Files.exists(path.resolve(Tokenizer.FILE))) {
      return readFile(path.resolve(Tokenizer.FILE));
    }
    for (String name : MODELS) {
      if (Files.exists(path.resolve(name))) {
        return readModel(path.resolve(name));
      }
    }
    Path vocabulary = path.resolve("vocab.json");
    Path merges = path.resolve("merges.txt");
    if (Files.exists(vocabulary) && Files.exists(merges)) {
      return readPairs(path, vocabulary, merges);
    }
    for (Map.Entry<String, String> other : OTHERS.entrySet()) {
      if (Files.exists(path.resolve(other.getKey()))) {
        throw new DataException(
            "%s: is %s, which is not read; save the tokenizer as tokenizer.json, as save_pretrained of a fast tokenizer does"
                .formatted(path.resolve(other.getKey()), other.getValue()));
      }
    }
    throw new DataException(
        path
            + ": no tokenizer there; give a folder with tokenizer.json, with tokenizer.model,"
            + " spiece.model or qwen.tiktoken, or with vocab.json and merges.txt");
  }

  private static Tokenizer readFile(Path path) {
    Path configPath = path.resolveSibling(Tokenizer.CONFIG_FILE);
    byte[] config = Files.exists(configPath) ? read(configPath, MAX_BYTES) : NO_FIELDS;
    return TokenizerReader.of(
        TokenizerJson.of(read(path, MAX_BYTES), path.toString()),
        parse(config, configPath.toString()),
        path.toString(),
        new String(config, StandardCharsets.UTF_8));
  }

  private static Tokenizer readGguf(Path path) {
    try {
      GgufVocabulary vocabulary = GgufVocabulary.read(path);
      return TokenizerReader.of(vocabulary.tokenizer(), vocabulary.config(), path.toString());
    } catch (GgufException failure) {
      throw new DataException(String.valueOf(failure.getMessage()), failure);
    }
  }

  /** Reads SentencePiece's pieces, or tiktoken's ranks, which some give the same name. */
  private static Tokenizer readModel(Path path) {
    Path folder = path.resolveSibling("");
    ObjectNode config = config(folder);
    byte[] content = read(path, SentencePieceModel.MAX_BYTES);
    boolean isRanks = TiktokenRanks.isOne(content);
    ObjectNode file =
        isRanks
            ? TiktokenRanks.read(content, config, path.toString())
            : SentencePieceModel.read(content, config, path.toString());
    TokensBeside.read(folder).addTo(file, config);
    if (isRanks) {
      TiktokenRanks.addBeginning(file, config);
    }
    return TokenizerReader.of(file, config, path.toString());
  }

  private static Tokenizer readPairs(Path folder, Path vocabularyPath, Path mergesPath) {
    ObjectNode config = config(folder);
    Path configPath = folder.resolve(Tokenizer.CONFIG_FILE);
    String kind = config.path("tokenizer_class").asText("GPT2Tokenizer");
    WordRule rule = PAIR_CLASSES.get(kind.replaceFirst("Fast$", ""));
    if (rule == null) {
      throw new DataException(
          "%s: tokenizer_class: %s is none of %s, as which vocab.json and merges.txt are read; save the tokenizer as tokenizer.json, as save_pretrained of a fast tokenizer does"
              .formatted(
                  configPath,
                  Shown.of(kind),
                  String.join(", ", PAIR_CLASSES.keySet().stream().sorted().toList())));
    }
    Map<String, Integer> vocabulary = new HashMap<>();
    for (Map.Entry<String, JsonNode> entry : parse(vocabularyPath).properties()) {
      vocabulary.put(
          entry.getKey(), TokenizerReader.id(entry.getValue(), vocabularyPath.toString()));
    }
    List<String> merges =
        new String(read(mergesPath, MAX_BYTES), StandardCharsets.UTF_8)
            .lines()
            .filter(line -> !line.startsWith("#version") && !line.isBlank())
            .toList();
    ObjectNode file = rule.file(vocabulary, merges);
    if (config.path("add_prefix_space").asBoolean()) {
      // In GPT-2's rule this is the part that cuts; in Qwen's it is the last of two.
      ((ObjectNode) file.findParent("add_prefix_space")).put("add_prefix_space", true);
    }
    if (vocabulary.containsKey(TokenizerReader.END_OF_TEXT)) {
      BpeTrainer.addEndOfText(file);
    }
    TokensBeside.read(folder).addTo(file, config);
    if (!config.hasNonNull("eos_token")) {
      config.put("eos_token", TokenizerReader.END_OF_TEXT);
    }
    return TokenizerReader.of(file, config, mergesPath.toString());
  }

  private static ObjectNode config(Path folder) {
    Path path = folder.resolve(Tokenizer.CONFIG_FILE);
    return Files.exists(path) ? parse(path) : JSON.createObjectNode();
  }

  private static byte[] read(Path path, int most) {
    try {
      return InputFiles.bytes(path, most);
    } catch (IOException e) {
      throw DataException.unreadable(path, e);
    }
  }

  static ObjectNode parse(Path path) {
    return parse(read(path, MAX_BYTES), path.toString());
  }

  /** The object of a file's content, which has to be UTF-8. */
  static ObjectNode parse(byte[] content, String place) {
    try {
      String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(content)).toString();
      if (JSON.readTree(text) instanceof ObjectNode object) {
        return object;
      }
      throw new DataException(place + ": holds no JSON object");
    } catch (CharacterCodingException e) {
      throw DataException.unreadable(place, e);
    } catch (JsonProcessingException e) {
      throw new DataException(
          "%s%s: not valid JSON: %s"
              .formatted(
                  place,
                  e.getLocation() == null ? "" : ":" + e.getLocation().getLineNr(),
                  DataException.reason(e)),
          e);
    }
  }

  /** The object of JSON; empty if it is none. */
  static Optional<ObjectNode> tryParse(byte[] content) {
    try {
      String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(content)).toString();
      return JSON.readTree(text) instanceof ObjectNode object
          ? Optional.of(object)
          : Optional.empty();
    } catch (CharacterCodingException | JsonProcessingException e) {
      return Optional.empty(); // whoever reads the whole file says why
    }
  }
}
