package org.eellm.cost;

import java.util.List;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.Experts;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.StageLayout.Slice;

/**
 * How many parameters a model has, by part; a matrix that several share counts once.
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
    return new ParameterCount(
        vocabularyMatrix(model) + positions(model),
        layers(model, 0, model.numLayers(), 1),
        norm(model) + (model.tieEmbeddings() ? 0 : vocabularyMatrix(model)),
        layout.layers().size() * exit(architecture, 1));
  }

  /**
   * The parameters that one rank holds: a tied matrix stands on every rank that multiplies with it.
   *
   * @param slices of the model that the rank has
   * @param ranks that share each matrix (tensor parallelism); norms and the biases of summed
   *     outputs stand on all of them
   * @param learning the final head also stands where it teaches exits
   */
  public static long held(
      Architecture architecture, List<Slice> slices, int ranks, Learning learning) {
    ModelConfig model = architecture.model();
    boolean embeds = slices.stream().anyMatch(Slice::hasEmbedding);
    boolean teaches =
        learning == Learning.EXITS_FROM_FINAL_HEAD
            && slices.stream().anyMatch(slice -> !slice.exits().isEmpty());
    boolean hasFinalHead = teaches || slices.stream().anyMatch(Slice::hasFinalHead);
    long matrix = vocabularyMatrix(model) / ranks;
    boolean multiplies = teaches || slices.stream().anyMatch(architecture::usesOutputMatrix);
    boolean hasEmbedding = embeds || (multiplies && model.tieEmbeddings());
    boolean hasOutput = multiplies && !model.tieEmbeddings();
    return (hasEmbedding ? matrix : 0)
        + (embeds ? positions(model) : 0)
        + slices.stream()
            .mapToLong(slice -> layers(model, slice.firstLayer(), slice.endLayer(), ranks))
            .sum()
        + (hasFinalHead ? norm(model) : 0)
        + (hasOutput ? matrix : 0)
        + exits(architecture, slices, ranks)
        + (learning == Learning.DRAFT_HEAD ? draftHead(model) : 0)
        + changes(architecture, slices, ranks, learning);
  }

  /** Those that a token's pass to the final head multiplies with, and norms: not all experts. */
  public static long active(ModelConfig model) {
    Experts experts = model.experts();
    long left = (long) (experts.count() - experts.perToken()) * expert(model);
    return layers(model, 0, model.numLayers(), 1)
        - model.layersWithExperts(0, model.numLayers()) * left
        + norm(model)
        + vocabularyMatrix(model);
  }

  /** Those of {@link #held} that learn. */
  public static long learned(
      Architecture architecture, List<Slice> slices, int ranks, Learning learning) {
    return switch (learning) {
      case Learning.Part.EVERYTHING -> held(architecture, slices, ranks, learning);
      case Learning.Part.EXITS, Learning.Part.EXITS_FROM_FINAL_HEAD ->
          exits(architecture, slices, ranks);
      case Learning.Part.DRAFT_HEAD -> draftHead(architecture.model());
      case Learning.Adapter _ -> changes(architecture, slices, ranks, learning);
    };
  }

  /** Those of a draft head: three norms, a projection and a layer. */
  private static long draftHead(ModelConfig model) {
    long hidden = model.hiddenSize();
    return 3 * norm(model) + 2 * hidden * hidden + layer(model, 1);
  }

  /** The factors of low-rank changes; of each map one is whole on all ranks. */
  private static long changes(
      Architecture architecture, List<Slice> slices, int ranks, Learning learning) {
    long layer =
        LowRankMaps.of(architecture.model(), learning, ranks).stream()
            .mapToLong(LowRankMaps::parameters)
            .sum();
    return slices.stream().mapToLong(Slice::layers).sum() * layer;
  }

  /** Those of {@link #held} that belong to exits' heads. */
  public static long exits(Architecture architecture, List<Slice> slices, int ranks) {
    int exits = slices.stream().mapToInt(slice -> slice.exits().size()).sum();
    return exits * exit(architecture, ranks);
  }

  /** All parameters. */
  public long total() {
    return embeddings + trunk + finalHead + exits;
  }

  private static long vocabularyMatrix(ModelConfig model) {
    return (long) model.vocabSize() * model.hiddenSize();
  }

  private static long positions(ModelConfig model) {
    return model.positionEmbedding() == PositionEmbedding.LEARNED
        ? (long) model.maxPositions() * model.hiddenSize()
        : 0;
  }

  /** One exit's head, as one of so many tensor-parallel ranks has it. */
  private static long exit(Architecture architecture, int ranks) {
    ModelConfig model = architecture.model();
    ExitLayout layout = architecture.exits();
    return (layout.mlp() ? mlpMatrices(model) / ranks + mlpBiases(model, ranks) : 0)
        + (layout.block() ? layer(model, ranks) : 0)
        + (layout.norm() ? norm(model) : 0)
        + (layout.tieOutput() ? 0 : vocabularyMatrix(model) / ranks);
  }

  /** Entries of the matrices of an exit's head, its own or shared. */
  static long exitMatrices(Architecture architecture) {
    ModelConfig model = architecture.model();
    ExitLayout layout = architecture.exits();
    return vocabularyMatrix(model)
        + (layout.mlp() ? mlpMatrices(model) : 0)
        + (layout.block() ? layerMatrices(model) : 0);
  }

  /** Entries of a layer's matrices, which are what its matrix products cost. */
  static long layerMatrices(ModelConfig model) {
    long query = (long) model.numHeads() * model.headDim();
    long keyValue = 2L * model.numKeyValueHeads() * model.headDim();
    return model.hiddenSize() * (query + keyValue + query) + mlpMatrices(model);
  }

  /** Layers, of which some may have experts, on one of so many tensor-parallel ranks. */
  private static long layers(ModelConfig model, int first, int end, int ranks) {
    long router = (long) model.experts().count() * model.hiddenSize();
    long experts = model.experts().count() * expert(model) / ranks;
    return (end - first) * layer(model, ranks)
        + model.layersWithExperts(first, end) * (router + experts - mlpMatrices(model) / ranks);
  }

  /** Entries of an expert's matrices. */
  private static long expert(ModelConfig model) {
    return 3L * model.hiddenSize() * model.experts().hiddenSize();
  }

  /** Entries of an MLP's matrices. */
  private static long mlpMatrices(ModelConfig model) {
    return (model.activation().gated() ? 3L : 2L) * model.hiddenSize() * model.ffnHiddenSize();
  }

  private static long layer(ModelConfig model, int ranks) {
    long headWidths = (model.numHeads() + 2L * model.numKeyValueHeads()) * model.headDim();
    return layerMatrices(model) / ranks
        + (model.hasQkvBias() ? headWidths / ranks : 0)
        + (model.hasOutputBias() ? model.hiddenSize() : 0)
        + (model.qkNorm() ? 2L * model.headDim() : 0)
        + (model.qkNormWhole()
            ? ((long) model.numHeads() + model.numKeyValueHeads()) * model.headDim() / ranks
            : 0)
        + mlpBiases(model, ranks)
        + 2 * model.normPlacement().norms() * norm(model);
  }

  private static long mlpBiases(ModelConfig model, int ranks) {
    if (!model.linearBias()) {
      return 0;
    }
    long inner = model.activation().gated() ? 2L : 1L;
    return inner * model.ffnHiddenSize() / ranks + model.hiddenSize();
  }

  private static long norm(ModelConfig model) {
    return (model.normalization() == Normalization.LAYERNORM ? 2L : 1L) * model.hiddenSize();
  }
}
