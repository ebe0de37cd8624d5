package org.eellm.cost;

import org.eellm.config.Architecture;
import org.eellm.config.ForwardWork;
import org.eellm.config.Learning;

/**
 * Floating-point operations that training needs for one token, by part of the model.
 *
 * <p>Convention: a multiplication and an addition are two operations. Forward plus backward of a
 * matrix product is three times its forward: {@code 6} operations a matrix entry and token.
 * Attention's two products add {@code 12 s a} a layer and token for sequence length {@code s} and
 * {@code a = heads x head width}; they are not halved for causality, as is the field's habit. Every
 * computed head's output matrix counts. Embedding look-ups, norms, activations, softmax and the
 * optimizer count nothing, nor does anything done twice under recomputation: these are the model's
 * operations, as in PaLM's model FLOPs utilization (arXiv 2204.02311, appendix B).
 *
 * @param trunk the layers
 * @param finalHead the final output matrix
 * @param exit one exit's head: branch MLP, block and output matrix as far as it has them
 */
public record ModelFlops(double trunk, double finalHead, double exit) {
  /** Operations of a pass forward and back, relative to the pass forward. */
  public static final double FORWARD_AND_BACKWARD = 3;

  /** Of a matrix that stays as it is, the share of a matrix that learns. */
  private static final double UNCHANGED = 2 / FORWARD_AND_BACKWARD;

  /** The operations a token takes in training at a sequence length. */
  public static ModelFlops perToken(Architecture architecture, int sequenceLength) {
    ForwardWork work = ForwardWork.of(architecture, sequenceLength); // in multiply-adds
    return new ModelFlops(
        FORWARD_AND_BACKWARD * architecture.model().numLayers() * 2 * work.layer(),
        FORWARD_AND_BACKWARD * 2 * work.output(),
        FORWARD_AND_BACKWARD * 2 * work.exit());
  }

  /**
   * The operations a token takes where only a part learns. Where only heads learn: of the trunk's
   * layers that are there, and of the final head where it teaches, the forward pass. Where low-rank
   * changes learn: all but the gradients of the matrices; the changes' own count nothing.
   */
  public static ModelFlops perToken(
      Architecture architecture, int sequenceLength, Learning learning) {
    ModelFlops all = perToken(architecture, sequenceLength);
    double layers = learning.layers(architecture) / (double) architecture.model().numLayers();
    return switch (learning) {
      case Learning.Part.EVERYTHING -> all;
      case Learning.Adapter _ ->
          new ModelFlops(UNCHANGED * all.trunk, UNCHANGED * all.finalHead, UNCHANGED * all.exit);
      case Learning.Part.EXITS ->
          new ModelFlops(layers * all.trunk / FORWARD_AND_BACKWARD, 0, all.exit);
      case Learning.Part.EXITS_FROM_FINAL_HEAD ->
          new ModelFlops(
              all.trunk / FORWARD_AND_BACKWARD, all.finalHead / FORWARD_AND_BACKWARD, all.exit);
    };
  }

  /** All operations of a token in a step in which so many exits are computed. */
  public double total(int computedExits) {
    return trunk + finalHead + computedExits * exit;
  }
}
