package org.eellm.gguf;

import static org.eellm.gguf.TokenizerNodes.object;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A vocabulary of SentencePiece's, as a GGUF file or its own {@code tokenizer.model} stores it.
 *
 * @param texts the pieces by id; {@code U+2581} stands for a blank
 * @param types by id, {@link #ORDINARY} to {@link #BYTE}
 * @param scores by id: the pair whose piece has the highest is joined first; of a unigram model,
 *     the logarithms of probabilities
 */
public record SentencePieces(
    List<String> texts, List<Integer> types, List<Double> scores, Rules rules) {
  public static final int ORDINARY = 1;
  public static final int UNKNOWN = 2;
  public static final int CONTROL = 3;
  public static final int USERS = 4;
  public static final int UNUSED = 5;
  public static final int BYTE = 6;

  private static final String BLANK = "\u2581";

  /**
   * What is done to a text.
   *
   * @param unigram whether the most probable pieces are taken, rather than pairs joined
   * @param byteFallback whether a character without a piece becomes its bytes, or is unknown
   * @param addsBlank whether a blank is put before a text
   * @param trims whether blanks go at a text's ends, and all but one of several
   * @param compiledMap of the characters that are replaced before all else; empty if none are
   */
  public record Rules(
      boolean unigram,
      boolean byteFallback,
      boolean addsBlank,
      boolean trims,
      String compiledMap) {}

  public SentencePieces {
    texts = List.copyOf(texts);
    types = List.copyOf(types);
    scores = List.copyOf(scores);
  }

  /**
   * What would be in {@code tokenizer.json}.
   *
   * @throws GgufException if no such file says the same
   */
  public ObjectNode file() {
    ObjectNode file = object().put("version", "1.0").putNull("truncation").putNull("padding");
    ArrayNode added = file.putArray("added_tokens");
    boolean usersOwn = false;
    for (int id = 0; id < texts.size(); id++) {
      if (types.get(id) == USERS && texts.get(id).contains(BLANK)) {
        requireBlanks(id);
      } else {
        addToken(added, id, texts.get(id), types.get(id));
        usersOwn |= types.get(id) == USERS;
      }
    }
    // Behind a user's piece there is no beginning of a text, which Prepend would take it for. As in
    // transformers' files, no blank goes before a text that begins with a blank or such a piece;
    // SentencePiece itself puts one there.
    boolean prepends = rules.addsBlank && !usersOwn;
    List<ObjectNode> normalizers = new ArrayList<>();
    if (!rules.compiledMap.isEmpty()) {
      normalizers.add(
          object().put("type", "Precompiled").put("precompiled_charsmap", rules.compiledMap));
    }
    if (rules.trims) {
      normalizers.add(replace("Regex", " {2,}", " "));
      normalizers.add(replace("Regex", "\\A ", ""));
      normalizers.add(replace("Regex", " \\z", ""));
    }
    if (prepends) {
      normalizers.add(object().put("type", "Prepend").put("prepend", BLANK));
    }
    normalizers.add(replace("String", " ", BLANK));
    file.set(
        "normalizer",
        normalizers.size() == 1 ? normalizers.getFirst() : sequence("normalizers", normalizers));
    if (rules.addsBlank && usersOwn) {
      file.putObject("pre_tokenizer")
          .put("type", "Metaspace")
          .put("replacement", BLANK)
          .put("prepend_scheme", "first")
          .put("split", false);
    } else {
      file.putNull("pre_tokenizer");
    }
    file.putNull("post_processor");
    List<ObjectNode> decoders = new ArrayList<>();
    decoders.add(replace("String", BLANK, " "));
    decoders.add(object().put("type", "ByteFallback"));
    decoders.add(object().put("type", "Fuse"));
    if (rules.addsBlank) {
      decoders.add(
          object().put("type", "Strip").put("content", " ").put("start", 1).put("stop", 0));
    }
    file.set("decoder", sequence("decoders", decoders));
    file.set("model", rules.unigram ? unigram() : bytePairs());
    return file;
  }

  /** A user's piece of blanks is found by joining them, where others are found in the text. */
  private void requireBlanks(int id) {
    if (rules.unigram || !isBlanks(texts.get(id))) {
      throw new GgufException(
          "the user-defined piece '%s' has blanks in it, which is not supported; save the tokenizer as tokenizer.json"
              .formatted(texts.get(id)));
    }
  }

  private static boolean isBlanks(String piece) {
    return piece.replace(BLANK, "").isEmpty();
  }

  /** Puts a token among the added ones if it is no piece of ordinary text. */
  static void addToken(ArrayNode added, int id, String content, int type) {
    if (type == CONTROL || type == USERS || type == UNKNOWN) {
      added.add(TokenizerNodes.addedToken(id, content, type != USERS));
    }
  }

  private ObjectNode unigram() {
    ObjectNode model = object().put("type", "Unigram");
    int unknown = types.indexOf(UNKNOWN);
    if (unknown < 0) {
      model.putNull("unk_id");
    } else {
      model.put("unk_id", unknown);
    }
    model.put("byte_fallback", rules.byteFallback);
    ArrayNode vocabulary = model.putArray("vocab");
    for (int id = 0; id < texts.size(); id++) {
      vocabulary.addArray().add(texts.get(id)).add(scores.get(id));
    }
    return model;
  }

  private ObjectNode bytePairs() {
    ObjectNode model = TokenizerNodes.bytePairs(rules.byteFallback, true);
    ObjectNode vocabulary = model.putObject("vocab");
    Map<String, Integer> joined = new HashMap<>();
    for (int id = 0; id < texts.size(); id++) {
      String piece = texts.get(id);
      int type = types.get(id);
      if (type != UNUSED) {
        vocabulary.put(piece, id);
      }
      if (type == UNKNOWN) {
        model.put("unk_token", piece);
      }
      if (type == ORDINARY || (type == USERS && isBlanks(piece))) {
        joined.put(piece, id);
      }
    }
    ArrayNode merges = model.putArray("merges");
    merges(joined).forEach(merge -> merges.add(merge.left + " " + merge.right));
    return model;
  }

  /** A way to make a piece of two others. */
  private record Merge(String left, String right, double score) {}

  private List<Merge> merges(Map<String, Integer> pieces) {
    List<Merge> merges = new ArrayList<>();
    for (int id = 0; id < texts.size(); id++) {
      String piece = texts.get(id);
      if (pieces.containsKey(piece)) {
        for (int cut = 1; cut < piece.length(); cut++) {
          String left = piece.substring(0, cut);
          String right = piece.substring(cut);
          if (pieces.containsKey(left) && pieces.containsKey(right)) {
            merges.add(new Merge(left, right, scores.get(id)));
          }
        }
      }
    }
    // Of runs of blanks, which have one score, the longest grows first.
    merges.sort(
        Comparator.comparingDouble(Merge::score)
            .thenComparingInt(merge -> merge.left.length())
            .reversed());
    return merges;
  }

  private static ObjectNode replace(String kind, String from, String to) {
    ObjectNode replace = object().put("type", "Replace");
    replace.putObject("pattern").put(kind, from);
    return replace.put("content", to);
  }

  private static ObjectNode sequence(String name, List<ObjectNode> parts) {
    ObjectNode sequence = object().put("type", "Sequence");
    sequence.putArray(name).addAll(parts);
    return sequence;
  }
}
