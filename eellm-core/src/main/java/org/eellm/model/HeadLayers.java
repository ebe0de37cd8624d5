package org.eellm.model;

import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.HeadId;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Weight;

/**
 * The layers of an output head: [branch MLP] -> [block] -> [norm] -> output matrix. The final
 * head's are norm and output matrix.
 *
 * @param head where it stands
 * @param branches residual branches before the norm
 * @param norm absent in heads without one
 * @param output the output matrix, [vocabulary, hidden], or this rank's rows of it
 * @param parallel the ranks that share the output matrix
 */
public record HeadLayers(
    Head head, List<Branch> branches, Optional<Norm> norm, Weight output, TensorParallel parallel) {

  /** The head's place among all of the model by depth, from 0. */
  public int index() {
    return head.index();
  }

  /** Which head it is. */
  public HeadId id() {
    return head.id();
  }

  /** Number of trunk branches whose output the head reads. */
  public int tap() {
    return head.tap();
  }

  /** Normed hidden state, [n, hidden], of the stream after the head's branches. */
  public Tensor normed(Tensor x) {
    return norm.map(present -> present.forward(x)).orElse(x);
  }

  /** Logits [n, vocabulary] of the stream after the head's branches, whole on every rank. */
  public Tensor logits(Tensor x) {
    return logitsOfNormed(normed(x));
  }

  /** Logits [n, vocabulary] of the {@link #normed} hidden state, whole on every rank. */
  public Tensor logitsOfNormed(Tensor normed) {
    return parallel.gatherColumns(output.times(normed));
  }

  /**
   * The gradient of the stream from that of the normed hidden state, both [n, hidden].
   *
   * @param x the stream after the head's branches
   */
  public Tensor normBackward(Tensor x, Tensor g, Gradients gradients) {
    return norm.map(present -> present.backward(x, g, gradients)).orElse(g);
  }
}
