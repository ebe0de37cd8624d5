package org.eellm.model;

import org.bytedeco.pytorch.Tensor;
import org.eellm.tensor.Kept;

/**
 * A residual branch: {@code x + body(norm(x))}; the caller adds the residual. Forward and backward
 * are written out, so that memory, and the collectives of tensor parallelism, stand in plain sight.
 *
 * <p>In training x is [b s, hidden]: whole sequences. In generation it is [n, hidden]: rows of any
 * sequences.
 */
public sealed interface Branch permits AttentionBranch, MlpBranch {

  /** What a forward pass left for the backward pass. */
  sealed interface Tape permits AttentionBranch.Saved, MlpBranch.Saved {}

  /**
   * {@code body(norm(x))} and its tape.
   *
   * @param kept owns the tape's tensors
   */
  Output forward(Tensor x, Pass pass, Kept kept);

  /** The gradient of x through the body alone, from that of the output, g, both [b s, hidden]. */
  Tensor backward(Tape tape, Tensor g, Pass pass, Gradients gradients);

  /** {@link #backward} where nobody needs the gradient of x: it is not computed if it need not. */
  void learn(Tape tape, Tensor g, Pass pass, Gradients gradients);

  /**
   * {@code body(norm(x))} of rows whose earlier keys and values lie in {@code cache}, [n, hidden].
   */
  Tensor generate(Tensor x, Rows rows, KeyValues cache);

  record Output(Tensor delta, Tape tape) {}
}
