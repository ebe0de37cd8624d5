package org.eellm.decode.speculate;

import org.eellm.model.Head;

/** What the parts of steps cost, in a unit that is the same for all of them. */
public interface StepCosts {
  /** Of a step beside branches and heads. */
  double overhead();

  /**
   * Of some branches.
   *
   * @param from the first one's number
   * @param to the number after the last one's
   */
  double branches(int from, int to, int rows);

  /** Of a head's prediction, with what samplers take of each row. */
  double head(Head head, int rows);

  /** Of an exit's draft. */
  double draft(Head exit, int rows);

  /** Whether clocks may be asked what steps take. */
  boolean learns();
}
