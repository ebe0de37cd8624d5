package org.eellm.decode.precedent;

import org.eellm.decode.token.Tokens;

/** A text as far as it is known, and the tokens that are expected behind it. */
public final class Outlook {
  private final Tokens tokens;
  private final int[] expected;
  private int known;
  private int ahead;

  /**
   * @param most tokens that may be expected at once
   */
  public Outlook(Tokens tokens, int most) {
    this.tokens = tokens;
    expected = new int[most];
  }

  /** Whether the text has got tokens since. */
  boolean isBehind() {
    return known < tokens.size();
  }

  /** Knows one token more. */
  int advance() {
    return tokens.get(known++);
  }

  void expect(int id) {
    expected[ahead++] = id;
  }

  void forget() {
    ahead = 0;
  }

  int promptSize() {
    return tokens.promptSize();
  }

  /** Whether all the prompt is known, so that what follows is the model's. */
  boolean hasPrompt() {
    return known >= tokens.promptSize();
  }

  int known() {
    return known;
  }

  /** Tokens that are expected behind these. */
  int ahead() {
    return ahead;
  }

  int capacity() {
    return tokens.capacity();
  }

  /** The token at a position, known or expected. */
  int at(int position) {
    return position < known ? tokens.get(position) : expected[position - known];
  }

  /** The token so many places before the end of what is known and expected; 1 is the last. */
  int last(int back) {
    return at(known + ahead - back);
  }

  boolean has(int count) {
    return known + ahead >= count;
  }
}
