package org.eellm.decode.speculate;

import org.eellm.model.Head;

/** What the parts of steps cost, in a unit that is the same for all of them. */
public interface StepCosts {
  /** Of a step beside layers and heads. */
  double overhead();

  /** Of all layers and the final head's prediction, with what samplers take of each row. */
  double full(Head finalHead, int rows);

  /** Of the layers below an exit, which rows of drafts pass one after the other. */
  double below(Head exit, int rows);

  /** Of the layers above an exit and the final head's prediction. */
  double above(Head exit, Head finalHead, int rows);

  /** Of an exit's draft. */
  double draft(Head exit, int rows);

  /** Whether clocks may be asked what steps take. */
  boolean learns();
}
