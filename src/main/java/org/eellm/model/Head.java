package org.eellm.model;

import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * An output head: [branch MLP] -> [block] -> [norm] -> output matrix. The final head is norm and
 * output matrix.
 *
 * @param index among all heads of the model by depth, from 0
 * @param name {@code exit_6} or {@code final}, as metrics have it
 * @param layer the layer it belongs to, from 1; numLayers for the final head
 * @param tap number of trunk branches whose output it reads: {@code 2 layer}, or {@code 2 layer -
 *     1} where a branch MLP takes the place of the layer's own
 * @param branches residual branches before the norm
 * @param norm absent in heads without one
 * @param output the output matrix, [vocabulary, hidden], or this rank's rows of it
 * @param parallel the ranks that share the output matrix
 */
public record Head(
    int index,
    String name,
    int layer,
    int tap,
    List<Branch> branches,
    Optional<Norm> norm,
    Weight output,
    TensorParallel parallel) {

  /** Whether it is an exit's, as opposed to the final one. */
  public boolean isExit() {
    return !name.equals("final");
  }

  /** Whether its block has keys and values of its own. */
  public boolean hasAttention() {
    return branches.stream().anyMatch(AttentionBranch.class::isInstance);
  }

  /** Normed hidden state, [n, hidden], of the stream after the head's branches. */
  public Tensor normed(Tensor x) {
    return norm.map(present -> present.forward(x)).orElse(x);
  }

  /** Logits [n, vocabulary] of the stream after the head's branches. */
  public Tensor logits(Tensor x) {
    return torch.linear(normed(x), output.value());
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
