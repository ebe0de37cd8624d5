package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Base64;
import java.util.Set;
import org.eellm.data.DataException;
import org.eellm.data.tokenizer.CompiledMap.MapException;
import org.eellm.data.tokenizer.word.BoundedPattern;
import org.eellm.data.tokenizer.word.BoundedPattern.PatternException;
import org.eellm.file.Shown;

/**
 * The input of the tokenizers library, held to forms whose time and memory are in proportion to a
 * text's length. The library is native: where it does not end, or ends the process, nobody can stop
 * it. Whatever is not known to be harmless is refused before the library sees it.
 */
final class TokenizerBounds {
  private static final Set<String> NORMALIZERS =
      Set.of(
          "BertNormalizer",
          "ByteLevel",
          "Lowercase",
          "NFC",
          "NFD",
          "NFKC",
          "NFKD",
          "Nmt",
          "Precompiled",
          "Prepend",
          "Replace",
          "Sequence",
          "Strip",
          "StripAccents");

  private static final Set<String> PRE_TOKENIZERS =
      Set.of(
          "BertPreTokenizer",
          "ByteLevel",
          "CharDelimiterSplit",
          "Digits",
          "Metaspace",
          "Punctuation",
          "Sequence",
          "Split",
          "UnicodeScripts",
          "Whitespace",
          "WhitespaceSplit");

  private static final Set<String> MODELS = Set.of("BPE", "Unigram", "WordLevel", "WordPiece");

  private static final String COMPILED_MAP = "precompiled_charsmap";
  private static final int MAX_PARTS = 32;
  private static final int MAX_WAYS = 300;

  /** Characters of a text that is searched for as it is, and of one that is put before others. */
  private static final int MAX_LITERAL = 64;

  /** How many times as long normalizers may make a text, all together. */
  private static final int MAX_GROWTH = 4;

  /** Characters of a unigram model's piece, each of which is tried at each place of a text. */
  private static final int MAX_PIECE = 256;

  private final String place;
  private int parts;
  private int ways;
  private double growth = 1;
  private boolean hasMap;

  private TokenizerBounds(String place) {
    this.place = place;
  }

  /**
   * Checks a file, and rewrites the expressions that have an equal one which is faster.
   *
   * @param file the content of a {@code tokenizer.json}
   * @param place its name for messages
   * @throws DataException if there is more in it than is known to be harmless
   */
  static void apply(ObjectNode file, String place) {
    TokenizerBounds bounds = new TokenizerBounds(place);
    bounds.normalizer(file.path("normalizer"));
    bounds.preTokenizer(file.path("pre_tokenizer"));
    bounds.model(file.path("model"));
  }

  private void normalizer(JsonNode normalizer) {
    if (normalizer.isNull() || normalizer.isMissingNode()) {
      return;
    }
    switch (type("normalizer", normalizer, NORMALIZERS)) {
      case "Sequence" -> normalizer.path("normalizers").forEach(this::normalizer);
      case "Prepend" -> {
        if (normalizer.path("prepend").asText().length() > MAX_LITERAL) {
          throw refusal("normalizer Prepend: has more than %d characters".formatted(MAX_LITERAL));
        }
      }
      case "Precompiled" -> compiledMap((ObjectNode) normalizer);
      case "Replace" -> {
        int least = pattern("normalizer Replace", normalizer);
        String content = normalizer.path("content").asText();
        growth *= Math.max(1, (double) content.codePointCount(0, content.length()) / least);
        if (growth > MAX_GROWTH) {
          throw refusal(
              "normalizer Replace: makes a text more than %d times as long".formatted(MAX_GROWTH));
        }
      }
      default -> {}
    }
  }

  private void compiledMap(ObjectNode normalizer) {
    try {
      byte[] content = Base64.getDecoder().decode(normalizer.path(COMPILED_MAP).asText());
      CompiledMap.requireBounded(content);
      normalizer.put(COMPILED_MAP, Base64.getEncoder().encodeToString(content));
    } catch (IllegalArgumentException | MapException failure) {
      throw new DataException(
          "%s: normalizer Precompiled: %s: %s".formatted(place, COMPILED_MAP, failure.getMessage()),
          failure);
    }
    if (hasMap) {
      throw refusal("normalizer Precompiled: is there twice");
    }
    hasMap = true;
  }

  private void preTokenizer(JsonNode words) {
    if (words.isNull() || words.isMissingNode()) {
      return;
    }
    switch (type("pre_tokenizer", words, PRE_TOKENIZERS)) {
      case "Sequence" -> words.path("pretokenizers").forEach(this::preTokenizer);
      case "Split" -> pattern("pre_tokenizer Split", words);
      default -> {}
    }
  }

  private void model(JsonNode model) {
    if (!MODELS.contains(model.path("type").asText("BPE"))) {
      throw refusal(
          "model %s: is not supported; BPE, Unigram, WordLevel and WordPiece are"
              .formatted(shown(model.path("type"))));
    }
    boolean wordPiece = model.path("type").asText().equals("WordPiece");
    for (String key : new String[] {"continuing_subword_prefix", "end_of_word_suffix"}) {
      String affix = model.path(key).asText("");
      boolean prefix = wordPiece && key.startsWith("continuing") && affix.length() <= MAX_LITERAL;
      if (!prefix && !affix.isEmpty()) {
        throw refusal("model.%s: is not supported; \"\" is".formatted(key));
      }
    }
    // A word is tried from each of its places to each of its ends.
    if (wordPiece && model.path("max_input_chars_per_word").asLong() > MAX_PIECE) {
      throw refusal(
          "model.max_input_chars_per_word: %s is more than %d"
              .formatted(shown(model.path("max_input_chars_per_word")), MAX_PIECE));
    }
    if (model.path("vocab") instanceof ArrayNode pieces) {
      for (JsonNode piece : pieces) {
        int length = piece.path(0).asText().length();
        if (length == 0 || length > MAX_PIECE) {
          throw refusal(
              "model.vocab: %s has %d characters; a piece has 1 to %d"
                  .formatted(shown(piece.path(0)), length, MAX_PIECE));
        }
      }
    }
  }

  private String type(String what, JsonNode part, Set<String> known) {
    String type = part.path("type").asText();
    if (!known.contains(type)) {
      throw refusal(
          "%s %s: is not supported; %s are"
              .formatted(
                  what,
                  shown(part.path("type")),
                  String.join(", ", known.stream().sorted().toList())));
    }
    if (++parts > MAX_PARTS) {
      throw refusal("more than %d normalizers and pre-tokenizers".formatted(MAX_PARTS));
    }
    return type;
  }

  /** Checks what a part searches for, and gives the least number of characters that it finds. */
  private int pattern(String what, JsonNode part) {
    JsonNode pattern = part.path("pattern");
    JsonNode literal = pattern.path("String");
    if (pattern.size() == 1 && literal.isTextual()) {
      int length = literal.asText().codePointCount(0, literal.asText().length());
      if (length == 0 || length > MAX_LITERAL) {
        throw refusal(
            "%s: a text of %d characters; 1 to %d are allowed"
                .formatted(what, length, MAX_LITERAL));
      }
      return length;
    }
    JsonNode expression = pattern.path("Regex");
    if (pattern.size() != 1 || !expression.isTextual()) {
      throw refusal("%s: pattern is neither a String nor a Regex".formatted(what));
    }
    try {
      BoundedPattern bounded = BoundedPattern.of(expression.asText());
      ways += bounded.ways();
      if (ways > MAX_WAYS) {
        throw refusal("all patterns can match in more than %d ways".formatted(MAX_WAYS));
      }
      ((ObjectNode) pattern).put("Regex", bounded.expression());
      return 1;
    } catch (PatternException failure) {
      throw new DataException(
          "%s: %s: the pattern %s %s"
              .formatted(place, what, shown(expression), failure.getMessage()),
          failure);
    }
  }

  private DataException refusal(String problem) {
    return new DataException(place + ": " + problem);
  }

  private static String shown(JsonNode value) {
    return Shown.of(value.isMissingNode() ? "without a type" : value);
  }
}
