package org.eellm.config;

import java.util.stream.IntStream;

/**
 * The work of a token's way forward, in multiply-adds; backward is twice that everywhere. Layers
 * are dealt out by it, and a training step's operations are counted by it.
 *
 * @param layer a layer's, on average: its matrices and attention's two products
 * @param exit an exit's head: branch MLP, block and output matrix as far as it has them
 * @param output the final head's matrix
 */
public record ForwardWork(double layer, double exit, double output) {

  /** The work at a sequence length. */
  public static ForwardWork of(Architecture architecture, int sequenceLength) {
    ModelConfig model = architecture.model();
    ExitLayout exits = architecture.exits();
    double layer =
        IntStream.range(0, model.numLayers())
            .mapToDouble(index -> layer(model, index, sequenceLength))
            .average()
            .orElseThrow();
    double output = (double) model.vocabSize() * model.hiddenSize();
    double exit =
        output
            + (exits.mlp() ? mlp(model, model.numLayers()) : 0)
            + (exits.block() ? layer(model, model.numLayers(), sequenceLength) : 0);
    return new ForwardWork(layer, exit, output);
  }

  /** That of so many layers and heads. */
  public double slice(int layers, int exits, boolean hasFinalHead) {
    return layers * layer + exits * exit + (hasFinalHead ? output : 0);
  }

  private static double layer(ModelConfig model, int index, int sequenceLength) {
    ModelConfig.Attention attention = model.attention(index);
    double query = attention.queryWidth();
    double keyValue = 2.0 * attention.keyValueWidth();
    double seen = Math.min(sequenceLength, attention.window());
    return model.hiddenSize() * (2 * query + keyValue) + mlp(model, index) + 2 * seen * query;
  }

  /** Of a layer's MLP, or of its router and the experts that a token goes through. */
  private static double mlp(ModelConfig model, int index) {
    double inner = (model.mlp().gated() ? 3.0 : 2.0) * model.ffnHiddenSize();
    if (model.hasExperts(index)) {
      Experts experts = model.experts();
      inner = experts.count() + 3.0 * experts.perToken() * experts.hiddenSize();
    }
    return model.hiddenSize() * inner;
  }
}
