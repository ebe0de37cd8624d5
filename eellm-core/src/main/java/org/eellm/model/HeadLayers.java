package org.eellm.model;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.HeadId;
import org.eellm.model.parameter.Gradients;

/**
 * The layers of an output head: [branch MLP] -> [block] -> [norm] -> output matrix. The final
 * head's are norm and output matrix.
 *
 * @param branches residual branches before the norm
 */
public record HeadLayers(Head head, List<Branch> branches, Norm norm, OutputMatrix output) {

  /** The head's place among all of the model by depth, from 0. */
  public int index() {
    return head.index();
  }

  public HeadId id() {
    return head.id();
  }

  /** Number of trunk branches whose output the head reads. */
  public int tap() {
    return head.tap();
  }

  /** Normed hidden state, [n, hidden], of the stream after the head's branches. */
  public Tensor normed(Tensor x) {
    return norm.forward(x);
  }

  /** Logits [n, vocabulary] of the stream after the head's branches, whole on every rank. */
  public Tensor logits(Tensor x) {
    return logitsOfNormed(normed(x));
  }

  /** Logits [n, vocabulary] of the {@link #normed} hidden state, whole on every rank. */
  public Tensor logitsOfNormed(Tensor normed) {
    return output.parallel().gatherColumns(output.logits(normed));
  }

  /**
   * The gradient of the stream from that of the normed hidden state, both [n, hidden].
   *
   * @param x the stream after the head's branches
   */
  public Tensor normBackward(Tensor x, Tensor g, Gradients gradients) {
    return norm.backward(x, g, gradients);
  }
}
