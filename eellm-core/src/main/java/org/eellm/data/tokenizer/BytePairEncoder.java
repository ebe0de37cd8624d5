package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.eellm.data.tokenizer.word.LeadingBlank;
import org.eellm.data.tokenizer.word.WordCutter;

/**
 * Byte-pair encoding: a text is cut into words, a word into the tokens of its bytes or characters,
 * and the neighbours that were joined first in training are joined first.
 */
final class BytePairEncoder implements Tokenizer.TextEncoder {
  /** Turns a word into the tokens that pairs are made of. */
  private sealed interface WordStart {
    /** The tokens of a word, in an array of their number. */
    int[] tokens(String word);

    /** How the vocabulary spells a word. */
    String piece(String word);

    /**
     * A token for each byte.
     *
     * @param ids by byte
     */
    @SuppressWarnings("ArrayRecordComponent") // compared by nobody
    record Bytes(int[] ids) implements WordStart {
      /** Of a vocabulary; empty if it lacks a byte. */
      static Optional<WordStart> of(Pieces pieces) {
        int[] ids = new int[256];
        for (int value = 0; value < ids.length; value++) {
          ids[value] = pieces.id(String.valueOf(ByteAlphabet.character(value)));
          if (ids[value] == Pieces.NONE) {
            return Optional.empty();
          }
        }
        return Optional.of(new Bytes(ids));
      }

      @Override
      public int[] tokens(String word) {
        byte[] bytes = word.getBytes(StandardCharsets.UTF_8);
        int[] tokens = new int[bytes.length];
        for (int i = 0; i < tokens.length; i++) {
          tokens[i] = ids[bytes[i] & 0xFF];
        }
        return tokens;
      }

      @Override
      public String piece(String word) {
        return ByteAlphabet.piece(word.getBytes(StandardCharsets.UTF_8));
      }
    }

    /**
     * A token for each character; for one that has none, those of its bytes, or the unknown one.
     *
     * @param unknown absent leaves such characters out
     * @param fuses whether several unknown characters after each other are one token
     * @param byteIds by byte, {@link Pieces#NONE} where it has none
     */
    @SuppressWarnings("ArrayRecordComponent") // compared by nobody
    record Characters(Pieces pieces, OptionalInt unknown, boolean fuses, int[] byteIds)
        implements WordStart {

      @Override
      public int[] tokens(String word) {
        int[] tokens = new int[4 * word.length()];
        int count = 0;
        boolean behindUnknown = false;
        for (int at = 0; at < word.length(); at += Character.charCount(word.codePointAt(at))) {
          String character = Character.toString(word.codePointAt(at));
          int id = pieces.id(character);
          if (id != Pieces.NONE) {
            tokens[count++] = id;
          }
          int bytes = id == Pieces.NONE ? bytes(character, tokens, count) : 0;
          count += bytes;
          boolean isUnknown = id == Pieces.NONE && bytes == 0;
          if (isUnknown && unknown.isPresent() && !(fuses && behindUnknown)) {
            tokens[count++] = unknown.getAsInt();
          }
          behindUnknown = isUnknown;
        }
        return Arrays.copyOf(tokens, count);
      }

      /** Writes the tokens of a character's bytes, and gives their number; 0 if one is missing. */
      private int bytes(String character, int[] tokens, int from) {
        byte[] bytes = character.getBytes(StandardCharsets.UTF_8);
        for (int i = 0; i < bytes.length; i++) {
          tokens[from + i] = byteIds[bytes[i] & 0xFF];
          if (tokens[from + i] == Pieces.NONE) {
            return 0;
          }
        }
        return bytes.length;
      }

      @Override
      public String piece(String word) {
        return word;
      }
    }
  }

  private final AddedTokens added;
  private final WordCutter cutter;
  private final WordCutter behindText;
  private final WordStart start;
  private final Pairs pairs;
  private final KnownWords known = new KnownWords();

  private BytePairEncoder(
      AddedTokens added, WordCutter cutter, WordCutter behindText, WordStart start, Pairs pairs) {
    this.added = added;
    this.cutter = cutter;
    this.behindText = behindText;
    this.start = start;
    this.pairs = pairs;
  }

  /**
   * What becomes one token.
   *
   * @param words those that do as they are; none of most tokenizers
   */
  private record Pairs(PairTable table, Optional<Pieces> words, Set<Integer> specials) {}

  /**
   * An encoder; empty if a file asks for more than is done here.
   *
   * @param addedTokens by their names
   * @param place the file's name for messages
   * @throws org.eellm.data.DataException if the file contradicts itself, or may take time without
   *     end
   */
  static Optional<Tokenizer.TextEncoder> of(
      TokenizerJson json, Map<String, JsonNode> addedTokens, String place) {
    ObjectNode file = json.rest();
    requireBounded(file, place); // before any of it is applied to a name
    JsonNode model = file.path("model");
    List<JsonNode> words = TokenizerReader.parts(file.path("pre_tokenizer"), "pretokenizers");
    Optional<WordCutter> cutter = cutter(file);
    boolean byteLevel =
        !words.isEmpty() && words.getLast().path("type").asText().equals("ByteLevel");
    boolean plain =
        model.path("type").asText("BPE").equals("BPE")
            && model.path("dropout").asDouble() == 0
            && model.path("continuing_subword_prefix").asText("").isEmpty()
            && model.path("end_of_word_suffix").asText("").isEmpty()
            && cutter.isPresent()
            && addedTokens.entrySet().stream()
                .allMatch(token -> isPlain(token.getKey(), token.getValue(), cutter.get()));
    if (!plain) {
      return Optional.empty();
    }
    Optional<WordStart> start =
        byteLevel
            ? WordStart.Bytes.of(json.pieces())
            : Optional.of(characters(model, json.pieces(), addedTokens));
    if (start.isEmpty()) {
      return Optional.empty();
    }
    WordCutter behindText = cutter(LeadingBlank.removed(file)).orElseThrow();
    Set<Integer> specials =
        addedTokens.values().stream()
            .filter(token -> token.path("special").asBoolean())
            .map(token -> token.path("id").asInt())
            .collect(Collectors.toSet());
    boolean takesWords = model.path("ignore_merges").asBoolean();
    // Where no piece goes on behind a word, words are joined for themselves: what was met is known.
    boolean alone =
        !byteLevel
            && !takesWords
            && json.pieces().contains(WordCutter.BLANK)
            && !json.pieces().haveInside(WordCutter.BLANK);
    return Optional.of(
        new BytePairEncoder(
            new AddedTokens(addedTokens),
            alone ? cutter.get().orBeforeBlanks() : cutter.get(),
            alone ? behindText.orBeforeBlanks() : behindText,
            start.get(),
            new Pairs(
                table(json, specials),
                takesWords ? Optional.of(json.pieces()) : Optional.empty(),
                specials)));
  }

  private static Optional<WordCutter> cutter(ObjectNode file) {
    return WordCutter.of(
        TokenizerReader.parts(file.path("normalizer"), "normalizers"),
        TokenizerReader.parts(file.path("pre_tokenizer"), "pretokenizers"));
  }

  /** Whether a token is found in a text as well before as after its changes. */
  private static boolean isPlain(String name, JsonNode token, WordCutter cutter) {
    boolean kept =
        cutter.changesNothing() || (name.isBlank() && cutter.changed(name, false).equals(name));
    return token.path("special").asBoolean()
        || (!token.path("single_word").asBoolean()
            && (kept || !token.path("normalized").asBoolean()));
  }

  private static WordStart characters(
      JsonNode model, Pieces pieces, Map<String, JsonNode> addedTokens) {
    String unknown = model.path("unk_token").asText("");
    JsonNode token = addedTokens.get(unknown);
    int id = token == null ? pieces.id(unknown) : token.path("id").asInt();
    boolean byBytes = model.path("byte_fallback").asBoolean();
    return new WordStart.Characters(
        pieces,
        id == Pieces.NONE ? OptionalInt.empty() : OptionalInt.of(id),
        model.path("fuse_unk").asBoolean(),
        IntStream.range(0, 256)
            .map(value -> byBytes ? pieces.id("<0x%02X>".formatted(value)) : Pieces.NONE)
            .toArray());
  }

  private static void requireBounded(ObjectNode file, String place) {
    ObjectNode parts = JsonNodeFactory.instance.objectNode();
    parts.set("normalizer", file.path("normalizer").deepCopy());
    parts.set("pre_tokenizer", file.path("pre_tokenizer").deepCopy());
    parts.set("model", file.path("model"));
    TokenizerBounds.apply(parts, place);
  }

  private static PairTable table(TokenizerJson json, Set<Integer> specials) {
    PairTable table = new PairTable(json.pieces().size());
    json.forEachMerge(
        (left, right, whole) -> {
          if (!specials.contains(whole)) { // the name of a special token is letters in a text
            table.add(left, right, whole);
          }
        });
    return table;
  }

  @Override
  public int[] encode(String text) {
    return encode(text, cutter);
  }

  @Override
  public int[] encodeContinuation(String text) {
    return encode(text, behindText);
  }

  /**
   * @param start of the part that begins the text
   */
  private int[] encode(String text, WordCutter start) {
    Ids ids = new Ids(text.length() / 3 + 1);
    added.divide(
        Tokenizer.TextEncoder.wellFormed(text),
        (part, first) ->
            (first ? start : cutter)
                .cut(part, first, (all, from, to) -> addWord(all, from, to, ids)),
        ids::add);
    return ids.toArray();
  }

  private void addWord(String text, int from, int to, Ids ids) {
    boolean isShort = to - from <= KnownWords.LONGEST;
    if (isShort && known.addTokens(text, from, to, ids)) {
      return;
    }
    String word = text.substring(from, to);
    int[] tokens = joined(word);
    ids.add(tokens, 0, tokens.length);
    if (isShort) {
      known.put(word, tokens);
    }
  }

  private int[] joined(String word) {
    if (pairs.words.isPresent()) {
      int whole = pairs.words.get().id(start.piece(word));
      if (whole != Pieces.NONE && !pairs.specials.contains(whole)) {
        return new int[] {whole};
      }
    }
    int[] tokens = start.tokens(word);
    return Arrays.copyOf(tokens, pairs.table.join(tokens, tokens.length));
  }

  /** A list that grows. */
  static final class Ids {
    private int[] values;
    private int count;

    /**
     * @param expected how many will not let it grow
     */
    Ids(int expected) {
      values = new int[expected];
    }

    void add(int id) {
      reserve(1);
      values[count++] = id;
    }

    /** Adds a part of some. */
    void add(int[] ids, int from, int to) {
      reserve(to - from);
      for (int i = from; i < to; i++) { // mostly one
        values[count++] = ids[i];
      }
    }

    private void reserve(int more) {
      if (count + more > values.length) {
        values = Arrays.copyOf(values, Math.max(2 * values.length, count + more));
      }
    }

    int[] toArray() {
      return Arrays.copyOf(values, count);
    }
  }
}
