package org.eellm.decode.precedent;

import java.util.Arrays;

/**
 * Something that came before and tells what follows a text. How often it holds needs no trial: each
 * token shows what the precedent would have been worth, told apart by how good a match it was.
 */
public abstract sealed class Precedent
    permits PromptLookup, ReplyLookup, TableLookup, RecycledLookup {
  /** No token is expected. */
  static final int NONE = -1;

  /** Match length from which on matches are not told apart. */
  static final int MAX_MATCH = 16;

  /** Kinds of matches by their length, of {@link #ofLength}; the first two never come. */
  static final int LENGTHS = 7;

  /** Tokens that what is assumed at first counts for. */
  private static final double PRIOR = 2;

  /** The factor on the weight of older tokens with each new one. */
  private static final double DECAY = 0.97;

  /** How far what is assumed of the next text moves with a token. */
  private static final double TYPICAL_RATE = 0.02;

  final Outlook outlook;
  private final double[] typical; // shares that held in earlier texts, by kind
  private final double[] held; // tokens, with a weight
  private final double[] trials; // the same, with those that did not hold
  private int first = NONE; // that was expected to come next
  private int firstKind;

  /**
   * @param typical shares assumed to hold, by kind, which texts update
   */
  Precedent(Outlook outlook, double[] typical) {
    this.outlook = outlook;
    this.typical = typical;
    held = new double[typical.length];
    trials = new double[typical.length];
    Arrays.fill(trials, PRIOR);
    Arrays.setAll(held, kind -> PRIOR * typical[kind]);
  }

  /** Shares of matches assumed to hold before the first text, by the kind of their length. */
  public static double[] typicalByLength() {
    double[] shares = new double[LENGTHS];
    Arrays.setAll(shares, kind -> 0.5 * kind / LENGTHS);
    return shares;
  }

  /**
   * The kind of a match, by its length: those of 2, of 3, of 4 to 7, of 8 to 15 and of more tokens.
   */
  static int ofLength(int length) {
    return length < 4 ? length : 33 - Integer.numberOfLeadingZeros(Math.min(length, MAX_MATCH));
  }

  /** Takes the text's newest token, with which the outlook ends. */
  final void take(int id) {
    boolean holds = first == id;
    if (first != NONE) {
      held[firstKind] = DECAY * held[firstKind] + (holds ? 1 : 0);
      trials[firstKind] = DECAY * trials[firstKind] + 1;
      if (outlook.known() > outlook.promptSize()) {
        typical[firstKind] += TYPICAL_RATE * ((holds ? 1 : 0) - typical[firstKind]);
      }
    }
    follow(holds);
    first = next();
    firstKind = first == NONE ? 0 : kind();
  }

  /** The probability that the token comes which {@link #next} has just given. */
  final double chance() {
    return held[kind()] / trials[kind()];
  }

  /**
   * Goes on behind the text's newest token.
   *
   * @param holds whether that is what was expected
   */
  abstract void follow(boolean holds);

  /** The token expected behind the outlook, where all that is expected in it is of this. */
  abstract int next();

  /** The kind of what {@link #next} has just given. */
  abstract int kind();
}
