package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.data.DataException;
import org.eellm.file.Shown;
import org.eellm.gguf.TokenizerNodes;
import org.eellm.gguf.WordRule;

/**
 * tiktoken's file of byte pairs: a line for each token, its bytes in base64 and its rank, which is
 * its id. How text is cut, and which tokens are special, is in a program beside it.
 */
final class TiktokenRanks {
  /**
   * What a program does.
   *
   * @param specials names of tokens behind the ranks that no file has
   * @param begins whether a text begins with the token of that part
   */
  private record Program(WordRule rule, List<String> specials, boolean begins) {}

  /** Programs by their names in {@code tokenizer_config.json}: Llama 3's and Qwen's first. */
  private static final Map<String, Program> PROGRAMS =
      Map.of(
          "PreTrainedTokenizerFast",
          new Program(WordRule.LLAMA_3, List.of(), true),
          "QWenTokenizer",
          new Program(
              WordRule.QWEN_2,
              Stream.concat(
                      Stream.of(TokenizerReader.END_OF_TEXT, "<|im_start|>", "<|im_end|>"),
                      IntStream.range(0, 205).mapToObj("<|extra_%d|>"::formatted))
                  .toList(),
              false));

  /** Bytes of a token, which is cut at each place for the pairs that make it. */
  private static final int MAX_TOKEN = 256;

  private TiktokenRanks() {}

  /** Whether this is how such a file begins: a byte in base64, and a rank. */
  static boolean isOne(byte[] content) {
    String start =
        new String(content, 0, Math.min(content.length, 64), StandardCharsets.ISO_8859_1);
    return start.lines().findFirst().orElse("").matches("[A-Za-z0-9+/]{2,}={0,2} [0-9]+");
  }

  /**
   * Reads ranks.
   *
   * @param config the content of {@code tokenizer_config.json}
   * @param place the file's name for messages
   * @return what would be in {@code tokenizer.json}
   * @throws DataException if the file is damaged, or how it cuts text is not known
   */
  static ObjectNode read(byte[] content, ObjectNode config, String place) {
    String kind = kind(config);
    Program program = PROGRAMS.get(kind);
    if (program == null) {
      throw new DataException(
          "%s: how tiktoken's tokenizer_class '%s' cuts text is not known; %s in %s beside it are, and any as tokenizer.json"
              .formatted(
                  place,
                  Shown.of(kind),
                  String.join(", ", PROGRAMS.keySet().stream().sorted().toList()),
                  Tokenizer.CONFIG_FILE));
    }
    Map<String, Integer> ranks = new HashMap<>();
    int number = 0;
    for (String line : new String(content, StandardCharsets.ISO_8859_1).lines().toList()) {
      number++;
      if (!line.isEmpty() && ranks.putIfAbsent(piece(line, number, place), rank(line)) != null) {
        throw new DataException(
            "%s:%d: the token is there twice; is the file whole?".formatted(place, number));
      }
    }
    List<String> merges =
        ranks.entrySet().stream()
            .sorted(Map.Entry.comparingByValue())
            .flatMap(entry -> merges(entry.getKey(), ranks).stream())
            .toList();
    ObjectNode file = program.rule.file(ranks, merges);
    ((ObjectNode) file.path("model")).put("ignore_merges", true); // a word that is a token is one
    if (!config.has("added_tokens_decoder")) {
      ArrayNode added = (ArrayNode) file.path("added_tokens");
      int next = ranks.values().stream().mapToInt(Integer::intValue).max().orElse(-1) + 1;
      for (String name : program.specials) {
        added.add(TokenizerNodes.addedToken(next++, name, true));
      }
    }
    return file;
  }

  /**
   * Lets a text begin with the token that the configuration names for it, if the program does.
   *
   * @param file with all tokens
   */
  static void addBeginning(ObjectNode file, ObjectNode config) {
    String name = TokensBeside.name(config.path("bos_token"));
    Program program = PROGRAMS.get(kind(config));
    if (program == null || !program.begins || name.isEmpty()) {
      return;
    }
    ObjectNode sequence = TokenizerNodes.object().put("type", "Sequence");
    ObjectNode template =
        sequence
            .putArray("processors")
            .add(file.get("post_processor"))
            .addObject()
            .put("type", "TemplateProcessing");
    for (String kind : List.of("single", "pair")) {
      ArrayNode parts = template.putArray(kind);
      for (String text : kind.equals("single") ? List.of("A") : List.of("A", "B")) {
        int type = parts.isEmpty() ? 0 : 1;
        parts.addObject().putObject("SpecialToken").put("id", name).put("type_id", type);
        parts.addObject().putObject("Sequence").put("id", text).put("type_id", type);
      }
    }
    ObjectNode token = template.putObject("special_tokens").putObject(name).put("id", name);
    for (JsonNode added : file.path("added_tokens")) {
      if (added.path("content").asText().equals(name)) {
        token.putArray("ids").add(added.path("id").asInt());
      }
    }
    token.putArray("tokens").add(name);
    file.set("post_processor", sequence);
  }

  private static String kind(ObjectNode config) {
    return config.path("tokenizer_class").asText("");
  }

  private static String piece(String line, int number, String place) {
    int blank = line.indexOf(' ');
    try {
      byte[] bytes = Base64.getDecoder().decode(line.substring(0, Math.max(blank, 0)));
      if (bytes.length > 0
          && bytes.length <= MAX_TOKEN
          && line.substring(blank + 1).matches("[0-9]{1,7}")) {
        return ByteAlphabet.piece(bytes);
      }
    } catch (IllegalArgumentException expected) {
      // said below
    }
    throw new DataException(
        "%s:%d: '%s' is no token of tiktoken's, in base64, with its rank"
            .formatted(place, number, Shown.of(line)));
  }

  private static int rank(String line) {
    return Integer.parseInt(line.substring(line.indexOf(' ') + 1));
  }

  /** All pairs that make a token, the pair of the lowest ranks first. */
  private static List<String> merges(String piece, Map<String, Integer> ranks) {
    List<String[]> pairs = new ArrayList<>();
    for (int cut = 1; cut < piece.length(); cut++) {
      String[] pair = {piece.substring(0, cut), piece.substring(cut)};
      if (Arrays.stream(pair).allMatch(ranks::containsKey)) {
        pairs.add(pair);
      }
    }
    pairs.sort(
        Comparator.<String[]>comparingInt(pair -> ranks.get(pair[0]))
            .thenComparingInt(pair -> ranks.get(pair[1])));
    return pairs.stream().map(pair -> pair[0] + " " + pair[1]).toList();
  }
}
