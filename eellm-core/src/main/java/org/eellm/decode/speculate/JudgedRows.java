package org.eellm.decode.speculate;

import org.eellm.decode.token.Tokens;

/** What the full model holds most probable after each of a step's rows: two tokens and a third. */
final class JudgedRows {
  private static final int MOST = DraftPlanner.MOST + 1;

  private final int[] triples = new int[3 * MOST];
  private int count;

  /** Takes what the model holds most probable after a text, which may end with drafts. */
  void add(Tokens text, int best) {
    if (text.size() > 1 && count < MOST) {
      triples[3 * count] = text.get(text.size() - 2);
      triples[3 * count + 1] = text.get(text.size() - 1);
      triples[3 * count + 2] = best;
      count++;
    }
  }

  /** Hands them on, and forgets them. */
  void learn(PrecedentStore memory) {
    for (int i = 0; i < 3 * count; i += 3) {
      memory.learn(triples[i], triples[i + 1], triples[i + 2]);
    }
    count = 0;
  }
}
