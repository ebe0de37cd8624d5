package org.eellm.data.tokenizer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.eellm.data.DataException;
import org.eellm.file.InputFiles;
import org.eellm.gguf.GgufException;
import org.eellm.gguf.GgufFile;
import org.eellm.gguf.GgufVocabulary;
import org.eellm.gguf.WordRule;

/**
 * Finds the files of a tokenizer. Those of other forms become a {@code tokenizer.json} first, so
 * that there is one way to understand them all.
 */
final class TokenizerFiles {
  private static final String SENTENCE_PIECE = "tokenizer.model";

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

  private TokenizerFiles() {}

  /** See {@link Tokenizer#load}. */
  static Tokenizer read(Path path) {
    if (GgufFile.isOne(path)) {
      return readGguf(path);
    }
    if (Files.exists(path) && !Files.isDirectory(path)) {
      return path.toString().endsWith(".model") ? readPieces(path) : readFile(path);
    }
    if (Files.exists(path.resolve(Tokenizer.FILE))) {
      return readFile(path.resolve(Tokenizer.FILE));
    }
    if (Files.exists(path.resolve(SENTENCE_PIECE))) {
      return readPieces(path.resolve(SENTENCE_PIECE));
    }
    Path vocabulary = path.resolve("vocab.json");
    Path merges = path.resolve("merges.txt");
    if (Files.exists(vocabulary) && Files.exists(merges)) {
      return readPairs(path, vocabulary, merges);
    }
    throw new DataException(
        path
            + ": no tokenizer there; give a folder with tokenizer.json, with tokenizer.model, or"
            + " with vocab.json and merges.txt");
  }

  private static Tokenizer readFile(Path path) {
    String text = readText(path);
    Path configPath = path.resolveSibling(Tokenizer.CONFIG_FILE);
    String configText = Files.exists(configPath) ? readText(configPath) : "{}";
    return TokenizerReader.of(
        parse(text, path), parse(configText, configPath), path.toString(), text, configText);
  }

  private static Tokenizer readGguf(Path path) {
    try {
      GgufVocabulary vocabulary = GgufVocabulary.read(path);
      return TokenizerReader.of(vocabulary.tokenizer(), vocabulary.config(), path.toString());
    } catch (GgufException failure) {
      throw new DataException(String.valueOf(failure.getMessage()), failure);
    }
  }

  private static Tokenizer readPieces(Path path) {
    ObjectNode config = config(path.resolveSibling(""));
    ObjectNode file = SentencePieceModel.read(readBytes(path), config, path.toString());
    TokensBeside.read(path.resolveSibling("")).addTo(file, config);
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
                  TokenizerReader.shown(kind),
                  String.join(", ", PAIR_CLASSES.keySet().stream().sorted().toList())));
    }
    Map<String, Integer> vocabulary = new HashMap<>();
    for (Map.Entry<String, JsonNode> entry : parse(vocabularyPath).properties()) {
      vocabulary.put(
          entry.getKey(), TokenizerReader.id(entry.getValue(), vocabularyPath.toString()));
    }
    List<String> merges =
        readText(mergesPath)
            .lines()
            .filter(line -> !line.startsWith("#version") && !line.isBlank())
            .toList();
    ObjectNode file = rule.file(vocabulary, merges);
    if (config.path("add_prefix_space").asBoolean()) {
      // In GPT-2's rule this is the part that cuts; in Qwen's it is the last of two.
      ((ObjectNode) file.findParent("add_prefix_space")).put("add_prefix_space", true);
    }
    if (vocabulary.containsKey(BytePairEncoding.END_OF_TEXT)) {
      BytePairEncoding.addEndOfText(file);
    }
    TokensBeside.read(folder).addTo(file, config);
    if (!config.hasNonNull("eos_token")) {
      config.put("eos_token", BytePairEncoding.END_OF_TEXT);
    }
    return TokenizerReader.of(file, config, mergesPath.toString());
  }

  private static ObjectNode config(Path folder) {
    Path path = folder.resolve(Tokenizer.CONFIG_FILE);
    return Files.exists(path) ? parse(path) : JSON.createObjectNode();
  }

  private static byte[] readBytes(Path path) {
    try (var in = InputFiles.stream(path)) {
      byte[] bytes = in.readNBytes(SentencePieceModel.MAX_BYTES + 1);
      if (bytes.length > SentencePieceModel.MAX_BYTES) {
        throw new DataException(
            "%s: has more than %d bytes; is it a tokenizer?"
                .formatted(path, SentencePieceModel.MAX_BYTES));
      }
      return bytes;
    } catch (IOException e) {
      throw unreadable(path, e);
    }
  }

  private static String readText(Path path) {
    try {
      return InputFiles.text(path, MAX_BYTES);
    } catch (IOException e) {
      throw unreadable(path, e);
    }
  }

  private static DataException unreadable(Path path, IOException e) {
    return new DataException("%s: cannot be read: %s".formatted(path, DataException.reason(e)), e);
  }

  static ObjectNode parse(Path path) {
    return parse(readText(path), path);
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
