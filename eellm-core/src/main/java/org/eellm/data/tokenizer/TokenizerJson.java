package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntUnaryOperator;
import org.eellm.data.DataException;
import org.eellm.file.Shown;

/**
 * The content of a {@code tokenizer.json}. Of byte pairs, vocabulary and merges are nearly all of
 * it, and a command that writes one token should not wait for objects of them: they are read from
 * the file's bytes. Whatever this does not understand, the JSON library reads, and says what is
 * wrong with it.
 */
final class TokenizerJson {
  /** Told of merges. */
  @FunctionalInterface
  interface Merges {
    void merge(int left, int right, int whole);
  }

  private static final int EXPECTED = 1 << 10;
  private static final byte[] NOTHING = {};

  private final String place;
  private final byte[] content;
  private final ObjectNode tree;
  private final Pieces pieces;
  private final Triples merges;

  /**
   * @param tree without vocabulary and merges if {@code merges} has any
   */
  private TokenizerJson(
      String place, byte[] content, ObjectNode tree, Pieces pieces, Triples merges) {
    this.place = place;
    this.content = content;
    this.tree = tree;
    this.pieces = pieces;
    this.merges = merges;
  }

  /**
   * Reads a file's content.
   *
   * @param place its name for messages
   * @throws DataException if it is not valid
   */
  static TokenizerJson of(byte[] content, String place) {
    return new Scanner(content).scan(place).orElseGet(() -> ofWhole(content, place));
  }

  private static TokenizerJson ofWhole(byte[] content, String place) {
    ObjectNode tree = TokenizerFiles.parse(content, place);
    return new TokenizerJson(place, content, tree, pieces(tree, place), new Triples(0));
  }

  /** Content that was made. */
  static TokenizerJson of(ObjectNode tree, String place) {
    return new TokenizerJson(place, NOTHING, tree, pieces(tree, place), new Triples(0));
  }

  private static Pieces pieces(ObjectNode tree, String place) {
    JsonNode vocabulary = tree.path("model").path("vocab");
    Pieces pieces = new Pieces(EXPECTED);
    if (vocabulary.isArray()) { // a unigram model: pairs of piece and score
      for (JsonNode piece : vocabulary) {
        if (!piece.path(0).isTextual() || !Double.isFinite(piece.path(1).asDouble(Double.NaN))) {
          throw new DataException(
              "%s: model.vocab: %s is no pair of a piece and its score"
                  .formatted(place, Shown.of(piece)));
        }
        add(pieces, piece.path(0).asText(), pieces.size(), place);
      }
    } else {
      for (Map.Entry<String, JsonNode> entry : vocabulary.properties()) {
        add(pieces, entry.getKey(), TokenizerReader.id(entry.getValue(), place), place);
      }
    }
    if (pieces.size() == 0) {
      throw new DataException(place + ": has no model.vocab; is it a tokenizer.json?");
    }
    return pieces;
  }

  private static void add(Pieces pieces, String piece, int id, String place) {
    byte[] bytes = piece.getBytes(StandardCharsets.UTF_8);
    if (!pieces.add(bytes, 0, bytes.length, id)) {
      throw pieces.contains(piece)
          ? new DataException(
              "%s: model.vocab: '%s' is there twice".formatted(place, Shown.of(piece)))
          : TokenizerReader.sharedId(id, pieces.piece(id), piece, place);
    }
  }

  /** All but vocabulary and merges. */
  ObjectNode rest() {
    return tree;
  }

  Pieces pieces() {
    return pieces;
  }

  /** All of it, whatever that takes. */
  ObjectNode whole() {
    return merges.count == 0 ? tree : TokenizerFiles.parse(content, place);
  }

  /** As a file has it. */
  String text() {
    return content.length == 0
        ? tree.toPrettyString()
        : new String(content, StandardCharsets.UTF_8);
  }

  /**
   * Tells all merges in their order, as the ids of both pieces and of what they make.
   *
   * @throws DataException if they are no list of pairs, or not of pieces of the vocabulary
   */
  void forEachMerge(Merges listener) {
    if (merges.count > 0) {
      merges.forEach(listener);
      return;
    }
    JsonNode list = tree.path("model").path("merges");
    if (!list.isArray()) {
      throw noPairs("null");
    }
    for (JsonNode merge : list) {
      String both = merge.asText();
      int blank = both.indexOf(' ', 1);
      boolean pair = merge.isArray() && merge.size() == 2;
      if (!pair && blank < 0) {
        throw noPairs(Shown.of(merge));
      }
      String left = pair ? merge.path(0).asText() : both.substring(0, blank);
      String right = pair ? merge.path(1).asText() : both.substring(blank + 1);
      listener.merge(member(left, merge), member(right, merge), member(left + right, merge));
    }
  }

  private int member(String piece, JsonNode merge) {
    int id = pieces.id(piece);
    if (id == Pieces.NONE) {
      throw new DataException(
          "%s: model.merges: '%s', of the merge %s, is not in the vocabulary"
              .formatted(place, Shown.of(piece), Shown.of(merge)));
    }
    return id;
  }

  private DataException noPairs(String what) {
    return new DataException(
        "%s: model.merges: %s is no list of pairs of pieces; is the file whole?"
            .formatted(place, what));
  }

  /** Merges as three ids each. */
  private static final class Triples {
    private int[] ids;
    private int count;

    Triples(int expected) {
      ids = new int[3 * expected];
    }

    void add(int left, int right, int whole) {
      if (count + 3 > ids.length) {
        ids = Arrays.copyOf(ids, 2 * ids.length);
      }
      ids[count++] = left;
      ids[count++] = right;
      ids[count++] = whole;
    }

    void forEach(Merges listener) {
      for (int i = 0; i < count; i += 3) {
        listener.merge(ids[i], ids[i + 1], ids[i + 2]);
      }
    }
  }

  /** Reads the parts of JSON that are large. */
  private static final class Scanner {
    private static final int FAILED = -1;

    /** Of a piece in a file, with its id, its merge and what is between. */
    private static final int BYTES_OF_PIECE = 40;

    private final byte[] content;
    private final Pieces pieces;
    private final Triples merges = new Triples(EXPECTED);
    private final ByteArrayOutputStream rest = new ByteArrayOutputStream();
    private int restFrom; // what of the content is still to be written to the rest
    private byte[] text = new byte[256];
    private int length; // of the text that was read last

    Scanner(byte[] content) {
      this.content = content;
      pieces = new Pieces(EXPECTED + content.length / BYTES_OF_PIECE);
    }

    /** Reads all; empty if anything is not as tokenizers have it. */
    Optional<TokenizerJson> scan(String place) {
      int end =
          members(blanks(0), at -> isText("model") ? members(at, this::memberOfModel) : value(at));
      if (end == FAILED || pieces.size() == 0 || merges.count == 0) {
        return Optional.empty();
      }
      keepTo(content.length);
      return TokenizerFiles.tryParse(rest.toByteArray())
          .map(tree -> new TokenizerJson(place, content, tree, pieces, merges));
    }

    private int memberOfModel(int from) {
      boolean vocabulary = isText("vocab") && byteAt(from) == '{' && pieces.size() == 0;
      boolean pairs = isText("merges") && byteAt(from) == '[' && pieces.size() > 0;
      if (!vocabulary && !pairs) {
        return value(from);
      }
      keepTo(from + 1); // with the bracket that opens, and the one that closes
      int end = vocabulary ? members(from, this::piece) : merges(from);
      restFrom = end - 1;
      return end;
    }

    private void keepTo(int to) {
      rest.write(content, restFrom, to - restFrom);
    }

    private boolean isText(String name) {
      byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
      return Arrays.equals(text, 0, length, bytes, 0, bytes.length);
    }

    /** Reads an object, its values as somebody says, and gives its end. */
    private int members(int from, IntUnaryOperator value) {
      if (byteAt(from) != '{') {
        return FAILED;
      }
      int at = from;
      do {
        at = string(blanks(at + 1));
        at = at == FAILED ? FAILED : blanks(at);
        if (at == FAILED || byteAt(at) != ':') {
          return FAILED;
        }
        at = value.applyAsInt(blanks(at + 1));
        if (at == FAILED) {
          return FAILED;
        }
        at = blanks(at);
      } while (byteAt(at) == ',');
      return byteAt(at) == '}' ? at + 1 : FAILED;
    }

    private byte byteAt(int at) {
      return at < content.length ? content[at] : 0;
    }

    private int blanks(int from) {
      int at = from;
      while (byteAt(at) == ' ' || byteAt(at) == '\n' || byteAt(at) == '\r' || byteAt(at) == '\t') {
        at++;
      }
      return at;
    }

    /** The end of a value. */
    private int value(int from) {
      int depth = 0;
      for (int at = from; at < content.length; at++) {
        switch (content[at]) {
          case '"' -> {
            at = afterString(at) - 1;
            if (at < 0) {
              return FAILED;
            }
          }
          case '{', '[' -> depth++;
          case '}', ']' -> depth--;
          case ',' -> {
            if (depth == 0) {
              return at;
            }
          }
          default -> {
            continue;
          }
        }
        if (depth == 0) {
          return at + 1;
        }
        if (depth < 0) {
          return at;
        }
      }
      return FAILED;
    }

    private int afterString(int from) {
      for (int at = from + 1; at < content.length; at++) {
        if (content[at] == '"') {
          return at + 1;
        }
        at += content[at] == '\\' ? 1 : 0;
      }
      return FAILED;
    }

    /** Reads a string into {@link #text}, and gives its end. */
    private int string(int from) {
      length = 0;
      return append(from);
    }

    private int append(int from) {
      if (byteAt(from) != '"') {
        return FAILED;
      }
      for (int at = from + 1; at < content.length; ) {
        byte letter = content[at];
        if (letter == '"') {
          return at + 1;
        }
        int end = letter == '\\' ? escape(at) : letters(at);
        if (end == FAILED) {
          return FAILED;
        }
        at = end;
      }
      return FAILED;
    }

    /** Appends what stands for itself, and gives its end. */
    private int letters(int from) {
      int at = from;
      while (at < content.length && content[at] != '"' && content[at] != '\\') {
        byte letter = content[at];
        int after = letter < 0 ? character(at) : letter < ' ' ? FAILED : at + 1;
        if (after == FAILED) {
          return FAILED;
        }
        at = after;
      }
      add(content, from, at);
      return at;
    }

    private void add(byte[] bytes, int from, int to) {
      if (length + to - from > text.length) {
        text = Arrays.copyOf(text, 2 * (length + to - from));
      }
      System.arraycopy(bytes, from, text, length, to - from);
      length += to - from;
    }

    /** The end of a character of several bytes. */
    private int character(int from) {
      int lead = content[from] & 0xFF;
      int after =
          from + (lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0);
      for (int at = from + 1; at < after; at++) {
        if ((byteAt(at) & 0xC0) != 0x80) {
          return FAILED;
        }
      }
      return after == from ? FAILED : after;
    }

    /** Appends what an escape stands for, and gives its end. */
    private int escape(int from) {
      byte kind = byteAt(from + 1);
      int simple = "\"\\/bfnrt".indexOf(kind);
      int unit =
          simple >= 0
              ? "\"\\/\b\f\n\r\t".charAt(simple)
              : kind == 'u' ? hexadecimal(from + 2) : FAILED;
      if (unit == FAILED || Character.isSurrogate((char) unit)) {
        return FAILED; // a pair of them is rare
      }
      byte[] bytes = String.valueOf((char) unit).getBytes(StandardCharsets.UTF_8);
      add(bytes, 0, bytes.length);
      return from + (simple >= 0 ? 2 : 6);
    }

    private int hexadecimal(int from) {
      int value = 0;
      for (int at = from; at < from + 4; at++) {
        int digit = Character.digit(byteAt(at), 16);
        if (digit < 0) {
          return FAILED;
        }
        value = 16 * value + digit;
      }
      return value;
    }

    /** Reads the id of the piece that was read last; refuses one that is not new. */
    private int piece(int from) {
      int at = from;
      int id = 0;
      for (; byteAt(at) >= '0' && byteAt(at) <= '9' && id < TokenizerReader.MAX_VOCABULARY; at++) {
        id = 10 * id + byteAt(at) - '0';
      }
      boolean valid = at > from && id < TokenizerReader.MAX_VOCABULARY;
      return valid && pieces.add(text, 0, length, id) ? at : FAILED;
    }

    /** Reads a list of pairs of pieces, and gives its end. */
    private int merges(int from) {
      int at = from;
      do {
        at = blanks(at + 1);
        int cut;
        if (byteAt(at) == '[') {
          at = string(blanks(at + 1));
          cut = length;
          at = at == FAILED ? FAILED : blanks(at);
          if (at == FAILED || byteAt(at) != ',') {
            return FAILED;
          }
          at = append(blanks(at + 1));
          at = at == FAILED ? FAILED : blanks(at);
          if (at == FAILED || byteAt(at++) != ']') {
            return FAILED;
          }
        } else {
          at = string(at);
          cut = 1;
          while (cut < length && text[cut] != ' ') {
            cut++;
          }
          if (at == FAILED || cut >= length) {
            return FAILED;
          }
          System.arraycopy(text, cut + 1, text, cut, length - cut - 1);
          length--;
        }
        int left = pieces.id(text, 0, cut);
        int right = pieces.id(text, cut, length);
        int whole = pieces.id(text, 0, length);
        if (left == Pieces.NONE || right == Pieces.NONE || whole == Pieces.NONE) {
          return FAILED;
        }
        merges.add(left, right, whole);
        at = blanks(at);
      } while (byteAt(at) == ',');
      return byteAt(at) == ']' ? at + 1 : FAILED;
    }
  }
}
