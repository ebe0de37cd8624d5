package org.eellm.decode.speculate;

import java.util.Arrays;
import org.eellm.decode.token.Tokens;

/**
 * Drafts from a text's own words: what followed its last tokens where they came before (prompt
 * lookup, also known as n-gram drafts; arXiv 2411.03786). Of places that match, the one with most
 * matching tokens counts, and of several the newest.
 *
 * <p>How often such drafts hold needs no trial: each token of prompt and text shows what the last
 * place would have been worth, told apart by how many tokens matched.
 */
final class PromptLookup {
  /** Match length from which on matches are not told apart. */
  private static final int MAX_MATCH = 16;

  /** Kinds of matches, of {@link #kind}; the first two never come. */
  private static final int KINDS = 7;

  /** Places that are compared; a text of one pair alone would have as many as it has tokens. */
  private static final int PLACES = 16;

  /** Tokens that what is assumed at first counts for. */
  private static final double PRIOR = 2;

  /** What remains of the weight of older tokens with each new one. */
  private static final double DECAY = 0.97;

  /** How far what is assumed of the next text moves with a token. */
  private static final double TYPICAL_RATE = 0.02;

  private static final int GOLDEN = 0x9E3779B9;

  private final Tokens tokens;
  private final double[] typical; // acceptance rates in earlier texts, by kind
  private final int[] newest; // by a pair's hash: the position after it, 0 for none
  private final int[] older; // by position: the one before with the same hash
  private final double[] accepted = new double[KINDS]; // tokens, with a weight
  private final double[] trials = new double[KINDS]; // the same, with those that did not hold
  private int known; // tokens
  private int source; // position of the token that is expected next
  private int matchLength; // tokens before it that are the text's last; 0 where nothing matches

  /**
   * @param typical what {@link #typical} made, and other lookups have updated since
   */
  PromptLookup(Tokens tokens, double[] typical) {
    this.tokens = tokens;
    this.typical = typical;
    int capacity = tokens.capacity();
    newest = new int[2 * Integer.highestOneBit(capacity)];
    older = new int[capacity + 1];
    Arrays.fill(trials, PRIOR);
    Arrays.setAll(accepted, kind -> PRIOR * typical[kind]);
  }

  /** What is assumed of texts before the first one. */
  static double[] typical() {
    double[] shares = new double[KINDS];
    Arrays.setAll(shares, kind -> 0.5 * kind / KINDS);
    return shares;
  }

  /** Takes what the text has got since; none of it may be a draft. */
  void follow() {
    while (known < tokens.size()) {
      take(tokens.get(known));
    }
  }

  private void take(int id) {
    if (matchLength > 0) {
      boolean holds = tokens.get(source) == id;
      int kind = kind(matchLength);
      accepted[kind] = DECAY * accepted[kind] + (holds ? 1 : 0);
      trials[kind] = DECAY * trials[kind] + 1;
      if (known >= tokens.promptSize()) {
        typical[kind] += TYPICAL_RATE * ((holds ? 1 : 0) - typical[kind]);
      }
      source++;
      matchLength = holds ? matchLength + 1 : 0;
    }
    known++;
    if (known > 1) {
      int pair = hash(tokens.get(known - 2), id);
      older[known] = newest[pair];
      newest[pair] = known;
      if (matchLength == 0) {
        search();
      }
    }
  }

  private int hash(int first, int second) {
    int mixed = (first * GOLDEN ^ second) * GOLDEN;
    return mixed >>> Integer.numberOfLeadingZeros(newest.length - 1);
  }

  private void search() {
    int place = older[known];
    for (int tried = 0; place > 0 && tried < PLACES; tried++) {
      int count = matchLengthAt(place);
      if (count > 1 && count > matchLength) { // two of other pairs may have one hash
        matchLength = count;
        source = place;
      }
      place = older[place];
    }
  }

  private int matchLengthAt(int place) {
    int count = 0;
    while (count < Math.min(place, MAX_MATCH)
        && tokens.get(place - 1 - count) == tokens.get(known - 1 - count)) {
      count++;
    }
    return count;
  }

  /**
   * The kind of a match, by its length: those of 2, of 3, of 4 to 7, of 8 to 15 and of more tokens.
   */
  private static int kind(int matchLength) {
    return matchLength < 4
        ? matchLength
        : 33 - Integer.numberOfLeadingZeros(Math.min(matchLength, MAX_MATCH));
  }

  /** Whether the last tokens came before. */
  boolean matches() {
    return matchLength > 0;
  }

  /**
   * The token that is expected after the text and {@code ahead} of those expected, which have been
   * added to it.
   */
  int expected(int ahead) {
    return tokens.get(source + ahead);
  }

  /** The probability that an expected token comes, given that those before it did. */
  double chance(int ahead) {
    int kind = kind(matchLength + ahead);
    return accepted[kind] / trials[kind];
  }
}
