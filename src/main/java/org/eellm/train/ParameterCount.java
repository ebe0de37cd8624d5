package org.eellm.train;

import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;

/**
 * How many parameters a model has, by part; a tied matrix counts once, with the embeddings.
 *
 * @param embeddings token embedding and learned positions
 * @param trunk the layers
 * @param finalHead the final norm and, unless tied, its output matrix
 * @param exits all exits' heads
 */
public record ParameterCount(long embeddings, long trunk, long finalHead, long exits) {

  /** Counts a model's parameters. */
  public static ParameterCount of(Architecture architecture) {
    ModelConfig model = architecture.model();
    ExitLayout layout = architecture.exits();
    long vocabularyMatrix = (long) model.vocabSize() * model.hiddenSize();
    long positions =
        model.positionEmbedding() == PositionEmbedding.LEARNED
            ? (long) model.maxPositions() * model.hiddenSize()
            : 0;
    long exit =
        (layout.mlp() ? mlpMatrices(model) + mlpBiases(model) : 0)
            + (layout.block() ? layer(model) : 0)
            + (layout.norm() ? norm(model) : 0)
            + (layout.tieOutput() ? 0 : vocabularyMatrix);
    return new ParameterCount(
        vocabularyMatrix + positions,
        model.numLayers() * layer(model),
        norm(model) + (model.tieEmbeddings() ? 0 : vocabularyMatrix),
        layout.layers().size() * exit);
  }

  /** All parameters. */
  public long total() {
    return embeddings + trunk + finalHead + exits;
  }

  /** Entries of a layer's matrices, which are what its matrix products cost. */
  static long layerMatrices(ModelConfig model) {
    long query = (long) model.numHeads() * model.headDim();
    long keyValue = 2L * model.numKeyValueHeads() * model.headDim();
    return model.hiddenSize() * (query + keyValue + query) + mlpMatrices(model);
  }

  /** Entries of an MLP's matrices. */
  static long mlpMatrices(ModelConfig model) {
    return (model.activation() == Activation.SWIGLU ? 3L : 2L)
        * model.hiddenSize()
        * model.ffnHiddenSize();
  }

  private static long layer(ModelConfig model) {
    long headWidths = (long) (model.numHeads() + 2 * model.numKeyValueHeads()) * model.headDim();
    return layerMatrices(model)
        + (model.linearBias() || model.qkvBias() ? headWidths : 0)
        + (model.linearBias() ? model.hiddenSize() : 0)
        + (model.qkNorm() ? 2L * model.headDim() : 0)
        + mlpBiases(model)
        + 2 * norm(model);
  }

  private static long mlpBiases(ModelConfig model) {
    if (!model.linearBias()) {
      return 0;
    }
    long inner = model.activation() == Activation.SWIGLU ? 2L : 1L;
    return inner * model.ffnHiddenSize() + model.hiddenSize();
  }

  private static long norm(ModelConfig model) {
    return (model.normalization() == Normalization.LAYERNORM ? 2L : 1L) * model.hiddenSize();
  }
}
