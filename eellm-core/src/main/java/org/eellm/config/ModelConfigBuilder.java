package org.eellm.config;

import static java.util.Map.entry;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.NormPlacement;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.setting.RecordCopy;

/**
 * Makes a {@link ModelConfig} from what differs from a plain Llama: RMSNorm, rotary positions,
 * SwiGLU, no biases, an output matrix of its own, float32. Vocabulary, hidden size, layers, heads
 * and positions have to be given.
 */
public final class ModelConfigBuilder {
  private static final Map<String, Object> PLAIN_LLAMA =
      Map.ofEntries(
          entry("vocabSize", 0),
          entry("vocabMultiple", 1),
          entry("hiddenSize", 0),
          entry("numLayers", 0),
          entry("numHeads", 0),
          entry("numKeyValueHeads", 0),
          entry("headDim", 0),
          entry("ffnHiddenSize", 0),
          entry("maxPositions", 0),
          entry("normalization", Normalization.RMSNORM),
          entry("normEpsilon", 1e-5),
          entry("normPlacement", NormPlacement.BEFORE),
          entry("zeroCenteredNorm", false),
          entry("residual", Residual.SEQUENTIAL),
          entry("positionEmbedding", PositionEmbedding.ROPE),
          entry("ropeTheta", 10_000.0),
          entry("ropeScaling", new RopeScaling.None()),
          entry("rotaryFraction", 1.0),
          entry("layerTypes", List.of(LayerType.FULL)),
          entry("slidingWindow", 0),
          entry("slidingRopeTheta", 0.0),
          entry("activation", Activation.SWIGLU),
          entry("experts", Experts.none()),
          entry("linearBias", false),
          entry("qkvBias", false),
          entry("attentionBias", false),
          entry("qkNorm", false),
          entry("qkNormWhole", false),
          entry("attentionScale", 0.0),
          entry("attentionSoftcap", 0.0),
          entry("logitSoftcap", 0.0),
          entry("embeddingScale", 1.0),
          entry("residualScale", 1.0),
          entry("logitScale", 1.0),
          entry("tieEmbeddings", false),
          entry("hiddenDropout", 0.0),
          entry("attentionDropout", 0.0),
          entry("initStd", 0.02),
          entry("dtype", DataType.FLOAT32));

  /** By component. */
  private final Map<String, Object> values;

  ModelConfigBuilder() {
    values = new HashMap<>(PLAIN_LLAMA);
  }

  ModelConfigBuilder(ModelConfig config) {
    values = RecordCopy.values(config);
  }

  /**
   * The configuration.
   *
   * @throws ConfigException if a value is missing or cannot be honoured
   */
  public ModelConfig build() {
    return RecordCopy.make(ModelConfig.class, values);
  }

  private ModelConfigBuilder with(String component, Object value) {
    values.put(component, value);
    return this;
  }

  public ModelConfigBuilder vocabSize(int value) {
    return with("vocabSize", value);
  }

  public ModelConfigBuilder vocabMultiple(int value) {
    return with("vocabMultiple", value);
  }

  public ModelConfigBuilder hiddenSize(int value) {
    return with("hiddenSize", value);
  }

  public ModelConfigBuilder numLayers(int value) {
    return with("numLayers", value);
  }

  public ModelConfigBuilder numHeads(int value) {
    return with("numHeads", value);
  }

  public ModelConfigBuilder numKeyValueHeads(int value) {
    return with("numKeyValueHeads", value);
  }

  public ModelConfigBuilder headDim(int value) {
    return with("headDim", value);
  }

  public ModelConfigBuilder ffnHiddenSize(int value) {
    return with("ffnHiddenSize", value);
  }

  public ModelConfigBuilder maxPositions(int value) {
    return with("maxPositions", value);
  }

  public ModelConfigBuilder normalization(Normalization value) {
    return with("normalization", value);
  }

  public ModelConfigBuilder normEpsilon(double value) {
    return with("normEpsilon", value);
  }

  public ModelConfigBuilder normPlacement(NormPlacement value) {
    return with("normPlacement", value);
  }

  public ModelConfigBuilder zeroCenteredNorm(boolean value) {
    return with("zeroCenteredNorm", value);
  }

  public ModelConfigBuilder residual(Residual value) {
    return with("residual", value);
  }

  public ModelConfigBuilder positionEmbedding(PositionEmbedding value) {
    return with("positionEmbedding", value);
  }

  public ModelConfigBuilder ropeTheta(double value) {
    return with("ropeTheta", value);
  }

  public ModelConfigBuilder ropeScaling(RopeScaling value) {
    return with("ropeScaling", value);
  }

  public ModelConfigBuilder rotaryFraction(double value) {
    return with("rotaryFraction", value);
  }

  public ModelConfigBuilder layerTypes(List<LayerType> value) {
    return with("layerTypes", value);
  }

  public ModelConfigBuilder slidingWindow(int value) {
    return with("slidingWindow", value);
  }

  public ModelConfigBuilder slidingRopeTheta(double value) {
    return with("slidingRopeTheta", value);
  }

  public ModelConfigBuilder activation(Activation value) {
    return with("activation", value);
  }

  public ModelConfigBuilder experts(Experts value) {
    return with("experts", value);
  }

  public ModelConfigBuilder linearBias(boolean value) {
    return with("linearBias", value);
  }

  public ModelConfigBuilder qkvBias(boolean value) {
    return with("qkvBias", value);
  }

  public ModelConfigBuilder attentionBias(boolean value) {
    return with("attentionBias", value);
  }

  public ModelConfigBuilder qkNorm(boolean value) {
    return with("qkNorm", value);
  }

  public ModelConfigBuilder qkNormWhole(boolean value) {
    return with("qkNormWhole", value);
  }

  public ModelConfigBuilder attentionScale(double value) {
    return with("attentionScale", value);
  }

  public ModelConfigBuilder attentionSoftcap(double value) {
    return with("attentionSoftcap", value);
  }

  public ModelConfigBuilder logitSoftcap(double value) {
    return with("logitSoftcap", value);
  }

  public ModelConfigBuilder embeddingScale(double value) {
    return with("embeddingScale", value);
  }

  public ModelConfigBuilder residualScale(double value) {
    return with("residualScale", value);
  }

  public ModelConfigBuilder logitScale(double value) {
    return with("logitScale", value);
  }

  public ModelConfigBuilder tieEmbeddings(boolean value) {
    return with("tieEmbeddings", value);
  }

  public ModelConfigBuilder hiddenDropout(double value) {
    return with("hiddenDropout", value);
  }

  public ModelConfigBuilder attentionDropout(double value) {
    return with("attentionDropout", value);
  }

  public ModelConfigBuilder initStd(double value) {
    return with("initStd", value);
  }

  public ModelConfigBuilder dtype(DataType value) {
    return with("dtype", value);
  }
}
