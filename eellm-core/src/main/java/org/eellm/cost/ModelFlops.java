package org.eellm.cost;

import java.util.List;
import org.eellm.config.Architecture;
import org.eellm.config.ForwardWork;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;

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
 * @param trunk the layers that are there
 * @param trunkForward those of them that the pass forward takes
 * @param finalHead the final output matrix
 * @param exit one exit's head: branch MLP, block and output matrix as far as it has them
 */
public record ModelFlops(double trunk, double trunkForward, double finalHead, double exit) {

  /** Tokens ahead that a draft head learns at least. */
  private static final int LEAST_DRAFT_DEPTHS = 2;

  /** The operations a token takes in training at a sequence length. */
  public static ModelFlops perToken(Architecture architecture, int sequenceLength) {
    return perToken(architecture, sequenceLength, Learning.EVERYTHING);
  }

  /**
   * The operations a token takes where only a part learns. Where only heads learn: of the trunk's
   * layers that are there, and of the final head where it teaches, the forward pass. Where low-rank
   * changes learn: all but the gradients of the matrices, and the products with the factors.
   */
  public static ModelFlops perToken(
      Architecture architecture, int sequenceLength, Learning learning) {
    ForwardWork work = ForwardWork.of(architecture, sequenceLength); // in multiply-adds
    double trunk = 2 * learning.layers(architecture) * work.layer();
    double output = 2 * work.output();
    double exit = 3 * 2 * work.exit();
    return switch (learning) {
      case Learning.Part.EVERYTHING -> new ModelFlops(3 * trunk, trunk, 3 * output, exit);
      case Learning.Part.EXITS -> new ModelFlops(trunk, trunk, 0, exit);
      case Learning.Part.EXITS_FROM_FINAL_HEAD -> new ModelFlops(trunk, trunk, output, exit);
      case Learning.Part.DRAFT_HEAD -> {
        ModelConfig model = architecture.model();
        double projection = 2.0 * model.hiddenSize() * model.hiddenSize();
        double depth = 3 * 2 * (work.layer() + projection + work.output());
        yield new ModelFlops(trunk, trunk, LEAST_DRAFT_DEPTHS * (output + depth), exit);
      }
      case Learning.Adapter _ -> {
        ModelConfig model = architecture.model();
        List<Slice> slices = StageLayout.whole(architecture).slices();
        double changes = 2.0 * ParameterCount.learned(architecture, slices, 1, learning);
        double gradients = 2.0 * model.numLayers() * ParameterCount.layerMatrices(model);
        yield new ModelFlops(
            3 * (trunk + changes) - gradients,
            trunk + changes,
            2 * output,
            exit - 2.0 * ParameterCount.exitMatrices(architecture));
      }
    };
  }

  /** All operations of a token in a step in which so many exits are computed. */
  public double total(int computedExits) {
    return trunk + finalHead + computedExits * exit;
  }
}
