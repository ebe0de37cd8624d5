package org.eellm.decode.speculate;

import java.util.Arrays;
import org.eellm.checkpoint.DraftTable;
import org.eellm.decode.token.Tokens;

/**
 * Drafts from a text's own words: what followed its last tokens where they came before (prompt
 * lookup, also known as n-gram drafts; arXiv 2411.03786). Of places that match, the one with most
 * matching tokens counts, and of several the newest. Where none matches, what a table has after the
 * last two tokens is expected.
 *
 * <p>How often such drafts hold needs no trial: each token of prompt and text shows what the last
 * place would have been worth, told apart by how many tokens matched, and the table by how often
 * its token followed where it was counted.
 */
final class PromptLookup {
  /** Match length from which on matches are not told apart. */
  private static final int MAX_MATCH = 16;

  /** Kinds of matches, of {@link #kind}; the first two never come. */
  private static final int MATCHES = 7;

  /** Kinds of expected tokens, told apart by how they match, or else by the table's share. */
  private static final int KINDS = MATCHES + 4;

  /** The table's shares above which another kind begins, in per cent. */
  private static final int FIRST_SHARE = 40;

  private static final int SHARES = 20;

  /** Places that are compared; a text of one pair alone would have as many as it has tokens. */
  private static final int PLACES = 16;

  /** Tokens that what is assumed at first counts for. */
  private static final double PRIOR = 2;

  /** The factor on the weight of older tokens with each new one. */
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
  private final DraftTable table;
  private final int[] expected = new int[DraftPlanner.MOST];
  private int count; // of expected tokens
  private double chance; // of the last of these
  private int known; // tokens
  private int source; // position of the token that is expected next
  private int matchLength; // tokens before it that are the text's last; 0 where nothing matches
  private int place; // in the table where nothing matches; below 0 if it has nothing either

  /**
   * @param typical what {@link #typical} made, and other lookups have updated since
   */
  PromptLookup(Tokens tokens, double[] typical, DraftTable table) {
    this.tokens = tokens;
    this.typical = typical;
    this.table = table;
    place = -1;
    int capacity = tokens.capacity();
    newest = new int[2 * Integer.highestOneBit(capacity)];
    older = new int[capacity + 1];
    Arrays.fill(trials, PRIOR);
    Arrays.setAll(accepted, kind -> PRIOR * typical[kind]);
  }

  /** Acceptance rates assumed before the first text, by kind. */
  static double[] typical() {
    double[] shares = new double[KINDS];
    Arrays.setAll(
        shares,
        kind ->
            kind < MATCHES
                ? 0.5 * kind / MATCHES
                : (FIRST_SHARE + SHARES * (kind - MATCHES - 0.5)) / 100);
    return shares;
  }

  /** Takes what the text has got since; none of it may be a draft. */
  void follow() {
    while (known < tokens.size()) {
      take(tokens.get(known));
    }
    count = 0;
  }

  private void take(int id) {
    if (matchLength > 0) {
      boolean holds = tokens.get(source) == id;
      learn(kind(matchLength), holds);
      source++;
      matchLength = holds ? matchLength + 1 : 0;
    } else if (place >= 0) {
      learn(kindAt(place), table.follower(place) == id);
    }
    known++;
    if (known > 1) {
      int pair = hash(tokens.get(known - 2), id);
      older[known] = newest[pair];
      newest[pair] = known;
      if (matchLength == 0) {
        search();
      }
      place = matchLength == 0 ? table.find(tokens.get(known - 2), id) : -1;
    }
  }

  private void learn(int kind, boolean holds) {
    accepted[kind] = DECAY * accepted[kind] + (holds ? 1 : 0);
    trials[kind] = DECAY * trials[kind] + 1;
    if (known >= tokens.promptSize()) {
      typical[kind] += TYPICAL_RATE * ((holds ? 1 : 0) - typical[kind]);
    }
  }

  private int hash(int first, int second) {
    int mixed = (first * GOLDEN ^ second) * GOLDEN;
    return mixed >>> Integer.numberOfLeadingZeros(newest.length - 1);
  }

  private void search() {
    int before = older[known];
    for (int tried = 0; before > 0 && tried < PLACES; tried++) {
      int length = matchLengthAt(before);
      if (length > 1 && length > matchLength) { // two of other pairs may have one hash
        matchLength = length;
        source = before;
      }
      before = older[before];
    }
  }

  private int matchLengthAt(int position) {
    int length = 0;
    while (length < Math.min(position, MAX_MATCH)
        && tokens.get(position - 1 - length) == tokens.get(known - 1 - length)) {
      length++;
    }
    return length;
  }

  /**
   * The kind of a match, by its length: those of 2, of 3, of 4 to 7, of 8 to 15 and of more tokens.
   */
  private static int kind(int matchLength) {
    return matchLength < 4
        ? matchLength
        : 33 - Integer.numberOfLeadingZeros(Math.min(matchLength, MAX_MATCH));
  }

  /** The kind of what the table has at a place. */
  private int kindAt(int place) {
    int above = table.share(place) - FIRST_SHARE;
    return above < 0 ? MATCHES : Math.min(KINDS - 1, MATCHES + 1 + above / SHARES);
  }

  /** Expects one more token after the text and those expected; false if nothing is known of it. */
  boolean expectsFurther() {
    int kind;
    if (matchLength > 0) {
      kind = kind(matchLength + count);
      expected[count] = at(source + count);
    } else {
      int next = count == 0 ? place : table.find(at(known - 2 + count), at(known - 1 + count));
      if (next < 0) {
        return false;
      }
      kind = kindAt(next);
      expected[count] = table.follower(next);
    }
    count++;
    chance = accepted[kind] / trials[kind];
    return true;
  }

  /** The token at a position of the text, or of what is expected after it. */
  private int at(int position) {
    return position < known ? tokens.get(position) : expected[position - known];
  }

  /** The probability that the newest of the expected tokens comes, given that the others did. */
  double chance() {
    return chance;
  }

  /** The token that is expected after the text and {@code ahead} of those expected. */
  int expected(int ahead) {
    return expected[ahead];
  }
}
