package org.eellm.model;

import org.bytedeco.pytorch.Tensor;
import org.eellm.model.parameter.Gradients;
import org.eellm.tensor.RetainedTensors;

/**
 * A residual branch: {@code body(norm(x))}, which the caller adds to the stream by way of {@link
 * #path}. Forward and backward are written out, so that memory, and the collectives of tensor
 * parallelism, stand in plain sight.
 *
 * <p>In training the stream has [b s] rows: whole sequences. In generation it has [n]: rows of any
 * sequences. It is [rows, hidden], but [rows, 2 hidden] between parallel branches, see {@link
 * ResidualPath}.
 */
public sealed interface Branch permits AttentionBranch, MlpBranch, ExpertsBranch {

  /** The tensors that a forward pass keeps for the backward pass. */
  sealed interface Tape permits AttentionBranch.Saved, MlpBranch.Saved, ExpertsBranch.Nothing {}

  /** How the output joins the stream. */
  ResidualPath path();

  /**
   * {@code body(norm(x))}, [b s, hidden], and its tape.
   *
   * @param stream before the branch
   * @param retained owns the tape's tensors
   */
  Output forward(Tensor stream, ForwardContext context, RetainedTensors retained);

  /**
   * The gradient of x through the body alone, [b s, hidden].
   *
   * @param g gradient of the stream after the branch
   */
  Tensor backward(Tape tape, Tensor g, ForwardContext context, Gradients gradients);

  /** {@link #backward} where nobody needs the gradient of x: it is not computed if it need not. */
  void backwardWeights(Tape tape, Tensor g, ForwardContext context, Gradients gradients);

  /**
   * {@code body(norm(x))} of rows whose earlier keys and values lie in {@code cache}, [n, hidden].
   *
   * @param stream before the branch
   */
  Tensor generate(Tensor stream, DecodeContext rows, KeyValueCache cache);

  record Output(Tensor delta, Tape tape) {}
}
