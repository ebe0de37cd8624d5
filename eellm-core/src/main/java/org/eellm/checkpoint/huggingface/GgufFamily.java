package org.eellm.checkpoint.huggingface;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.Experts;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.NormPlacement;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.ModelConfigBuilder;
import org.eellm.config.RopeScaling;

/** A family of models as llama.cpp computes it: what its files say, and what they need not. */
public enum GgufFamily {
  LLAMA,
  QWEN2,
  QWEN3,
  QWEN3MOE,
  GEMMA2,
  GEMMA3,
  PHI3,
  SMOLLM3,
  GRANITE,
  OLMO2,
  OLMOE,
  GPT2,
  GPTNEOX;

  /** Gemma 3's base of frequencies in layers with a window. */
  private static final double GEMMA_SLIDING_THETA = 10_000;

  /**
   * A file's keys and tensors as a model.
   *
   * @param plain sizes, epsilon and rope of a plain Llama
   * @param window positions that sliding layers see, or 0
   * @param residual of GPT-NeoX
   * @param experts how many, and how wide
   */
  record Said(ModelConfig plain, int window, Residual residual, Factors factors, Experts experts) {

    /** A model as far as a file can say it. */
    static Said of(ModelConfig model) {
      ModelConfig plain =
          ModelConfig.builder()
              .vocabSize(model.vocabSize())
              .hiddenSize(model.hiddenSize())
              .numLayers(model.numLayers())
              .numHeads(model.numHeads())
              .numKeyValueHeads(model.numKeyValueHeads())
              .headDim(model.headDim())
              .ffnHiddenSize(model.ffnHiddenSize())
              .maxPositions(model.maxPositions())
              .normEpsilon(model.normEpsilon())
              .ropeTheta(model.ropeTheta())
              .ropeScaling(model.ropeScaling())
              .rotaryFraction(model.rotaryFraction())
              .tieEmbeddings(model.tieEmbeddings())
              .build();
      return new Said(
          plain, model.slidingWindow(), model.residual(), Factors.of(model), model.experts());
    }
  }

  /** Caps that Gemma 2's files have, and scales that Granite's have. */
  record Factors(
      double attentionSoftcap,
      double logitSoftcap,
      double attentionScale,
      double embeddingScale,
      double residualScale,
      double logitScale) {
    static Factors of(ModelConfig model) {
      return new Factors(
          model.attentionSoftcap(),
          model.logitSoftcap(),
          model.attention(0).scale(),
          model.embeddingScale(),
          model.residualScale(),
          model.logitScale());
    }
  }

  /** Its name in files. */
  public String text() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** The family of a name in files. */
  static Optional<GgufFamily> named(String text) {
    return Arrays.stream(values()).filter(family -> family.text().equals(text)).findFirst();
  }

  /** All names. */
  static String names() {
    return String.join(", ", Arrays.stream(values()).map(GgufFamily::text).toList());
  }

  /** The family whose files can say what a model is. */
  public static Optional<GgufFamily> of(ModelConfig model) {
    return Arrays.stream(values()).filter(family -> family.fits(model)).findFirst();
  }

  /** LayerNorm, biases, and queries, keys and values in one matrix. */
  public boolean gpt() {
    return this == GPT2 || this == GPTNEOX;
  }

  /** Files have one in the norms' weights already. */
  public boolean gemma() {
    return this == GEMMA2 || this == GEMMA3;
  }

  /** Queries, keys and values are one matrix. */
  public boolean fused() {
    return gpt() || this == PHI3;
  }

  /** Layers have experts. */
  public boolean routed() {
    return this == QWEN3MOE || this == OLMOE;
  }

  /** Rope may rotate a part of each head, its first rows. */
  boolean partial() {
    return this == PHI3 || this == GPTNEOX;
  }

  /** Rope rotates neighbours among a head's rows. */
  public boolean interleaved() {
    return this == LLAMA || this == SMOLLM3 || this == GRANITE;
  }

  private boolean fits(ModelConfig model) {
    ModelConfig stored =
        model.toBuilder()
            .vocabMultiple(1)
            .hiddenDropout(0)
            .attentionDropout(0)
            .initStd(0.02)
            .zeroCenteredNorm(model.zeroCenteredNorm() && !gemma())
            .dtype(DataType.FLOAT32)
            .build();
    boolean computed =
        switch (model.ropeScaling()) {
          case RopeScaling.None _, RopeScaling.Linear _ -> true;
          case RopeScaling.Llama3 _ -> this == LLAMA || this == QWEN2 || this == QWEN3;
          case RopeScaling.Yarn yarn -> !gpt() && !gemma() && isUsual(yarn);
          case RopeScaling.LongRope _ -> this == LLAMA || this == GRANITE || this == PHI3;
        };
    // llama.cpp takes no notice of Phi-3's window, and has heads as wide as the stream in these.
    boolean whole = model.numHeads() * model.headDim() == model.hiddenSize();
    boolean narrow =
        (this == PHI3 && (model.slidingWindow() > 0 || !whole))
            || (this == OLMO2 && !whole)
            || (this == OLMOE
                && !(whole
                    && model.numKeyValueHeads() == model.numHeads()
                    && model.ffnHiddenSize() == model.experts().hiddenSize()));
    boolean tied = (this == OLMO2 || this == OLMOE) && model.tieEmbeddings();
    try {
      return computed
          && (partial() || model.rotaryFraction() == 1)
          && !narrow
          && !tied
          && (!gemma() || model.zeroCenteredNorm())
          && eachLayer(model(Said.of(model))).equals(eachLayer(stored));
    } catch (ConfigException cannotSay) {
      return false;
    }
  }

  private static boolean isUsual(RopeScaling.Yarn yarn) {
    return yarn.equals(
        new RopeScaling.Yarn(yarn.factor(), yarn.originalMaxPositions(), 32, 1, 0, true));
  }

  private static ModelConfig eachLayer(ModelConfig model) {
    return model.toBuilder()
        .layerTypes(model.eachLayerType())
        .attentionScale(model.attention(0).scale())
        .build();
  }

  /** The model of which a file of this family says so much. */
  ModelConfig model(Said said) {
    ModelConfig plain = said.plain();
    ModelConfigBuilder model = plain.toBuilder();
    return switch (this) {
      case LLAMA -> model.build();
      case QWEN2 -> model.qkvBias(true).build();
      case QWEN3 -> model.qkNorm(true).build();
      case QWEN3MOE -> model.qkNorm(true).experts(experts(said, true)).build();
      case GEMMA2 ->
          gemma(plain, 46)
              .attentionSoftcap(said.factors().attentionSoftcap())
              .logitSoftcap(said.factors().logitSoftcap())
              .layerTypes(period(2, LayerType.SLIDING, LayerType.FULL, plain))
              .slidingWindow(said.window())
              .build();
      case GEMMA3 ->
          gemma(plain, 62)
              .qkNorm(true)
              .layerTypes(period(6, LayerType.SLIDING, LayerType.FULL, plain))
              .slidingWindow(said.window())
              .slidingRopeTheta(GEMMA_SLIDING_THETA)
              .build();
      case PHI3 ->
          said.window() == 0
              ? model.build()
              : model.layerTypes(List.of(LayerType.SLIDING)).slidingWindow(said.window()).build();
      case SMOLLM3 ->
          model.layerTypes(period(4, LayerType.FULL, LayerType.NO_POSITIONS, plain)).build();
      case GRANITE ->
          model
              .attentionScale(said.factors().attentionScale())
              .embeddingScale(said.factors().embeddingScale())
              .residualScale(said.factors().residualScale())
              .logitScale(said.factors().logitScale())
              .build();
      case OLMO2 -> olmo(plain, said.window());
      case OLMOE -> model.qkNormWhole(true).experts(experts(said, false)).build();
      case GPT2 ->
          gpt(plain)
              .positionEmbedding(PositionEmbedding.LEARNED)
              .activation(Activation.GELU_TANH)
              .build();
      case GPTNEOX -> gpt(plain).activation(Activation.GELU).residual(said.residual()).build();
    };
  }

  /** The largest model, told by its layers, scales scores by the stream's share of a head. */
  private static ModelConfigBuilder gemma(ModelConfig plain, int layersOfLargest) {
    int width =
        plain.numLayers() == layersOfLargest
            ? plain.hiddenSize() / plain.numHeads()
            : plain.headDim();
    return plain.toBuilder()
        .activation(Activation.GEGLU_TANH)
        .normPlacement(NormPlacement.AROUND)
        .attentionScale(1 / Math.sqrt(width))
        .embeddingScale(Math.sqrt(plain.hiddenSize()))
        .tieEmbeddings(true);
  }

  /** All layers have them. */
  private static Experts experts(Said said, boolean normWeights) {
    Experts of = said.experts();
    return of.count() == 0
        ? of
        : new Experts(of.count(), of.perToken(), of.hiddenSize(), normWeights, List.of());
  }

  private static ModelConfig olmo(ModelConfig plain, int window) {
    ModelConfigBuilder model =
        plain.toBuilder().normPlacement(NormPlacement.AFTER).qkNormWhole(true);
    if (window == 0) {
      return model.build();
    }
    boolean scaled = !(plain.ropeScaling() instanceof RopeScaling.None);
    return model
        .layerTypes(period(4, LayerType.SLIDING, LayerType.FULL, plain))
        .slidingWindow(window)
        .slidingRopeTheta(scaled ? plain.ropeTheta() : 0)
        .build();
  }

  private static ModelConfigBuilder gpt(ModelConfig plain) {
    return plain.toBuilder().normalization(Normalization.LAYERNORM).linearBias(true);
  }

  /** All but the last of so many layers are of one type, as far as the model goes. */
  private static List<LayerType> period(
      int layers, LayerType most, LayerType last, ModelConfig plain) {
    List<LayerType> types = new ArrayList<>(Collections.nCopies(layers, most));
    types.set(layers - 1, last);
    return types.subList(0, Math.min(layers, plain.numLayers()));
  }
}
