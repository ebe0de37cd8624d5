package org.eellm.config;

import java.util.List;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.NormPlacement;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;

/**
 * Makes a {@link ModelConfig} from what differs from a plain Llama: RMSNorm, rotary positions,
 * SwiGLU, no biases, an output matrix of its own, float32. Vocabulary, hidden size, layers, heads
 * and positions have to be given.
 */
public final class ModelConfigBuilder {
  private int vocabSize;
  private int vocabMultiple = 1;
  private int hiddenSize;
  private int numLayers;
  private int numHeads;
  private int numKeyValueHeads;
  private int headDim;
  private int ffnHiddenSize;
  private int maxPositions;
  private Normalization normalization = Normalization.RMSNORM;
  private double normEpsilon = 1e-5;
  private NormPlacement normPlacement = NormPlacement.BEFORE;
  private boolean zeroCenteredNorm;
  private Residual residual = Residual.SEQUENTIAL;
  private PositionEmbedding positionEmbedding = PositionEmbedding.ROPE;
  private double ropeTheta = 10_000;
  private RopeScaling ropeScaling = new RopeScaling.None();
  private double rotaryFraction = 1;
  private List<LayerType> layerTypes = List.of(LayerType.FULL);
  private int slidingWindow;
  private double slidingRopeTheta;
  private Activation activation = Activation.SWIGLU;
  private Experts experts = Experts.none();
  private boolean linearBias;
  private boolean qkvBias;
  private boolean attentionBias;
  private boolean qkNorm;
  private boolean qkNormWhole;
  private double attentionScale;
  private double attentionSoftcap;
  private double logitSoftcap;
  private double embeddingScale = 1;
  private double residualScale = 1;
  private double logitScale = 1;
  private boolean tieEmbeddings;
  private double hiddenDropout;
  private double attentionDropout;
  private double initStd = 0.02;
  private DataType dtype = DataType.FLOAT32;

  ModelConfigBuilder() {}

  ModelConfigBuilder(ModelConfig config) {
    vocabSize = config.vocabSize();
    vocabMultiple = config.vocabMultiple();
    hiddenSize = config.hiddenSize();
    numLayers = config.numLayers();
    numHeads = config.numHeads();
    numKeyValueHeads = config.numKeyValueHeads();
    headDim = config.headDim();
    ffnHiddenSize = config.ffnHiddenSize();
    maxPositions = config.maxPositions();
    normalization = config.normalization();
    normEpsilon = config.normEpsilon();
    normPlacement = config.normPlacement();
    zeroCenteredNorm = config.zeroCenteredNorm();
    residual = config.residual();
    positionEmbedding = config.positionEmbedding();
    ropeTheta = config.ropeTheta();
    ropeScaling = config.ropeScaling();
    rotaryFraction = config.rotaryFraction();
    layerTypes = config.layerTypes();
    slidingWindow = config.slidingWindow();
    slidingRopeTheta = config.slidingRopeTheta();
    activation = config.activation();
    experts = config.experts();
    linearBias = config.linearBias();
    qkvBias = config.qkvBias();
    attentionBias = config.attentionBias();
    qkNorm = config.qkNorm();
    qkNormWhole = config.qkNormWhole();
    attentionScale = config.attentionScale();
    attentionSoftcap = config.attentionSoftcap();
    logitSoftcap = config.logitSoftcap();
    embeddingScale = config.embeddingScale();
    residualScale = config.residualScale();
    logitScale = config.logitScale();
    tieEmbeddings = config.tieEmbeddings();
    hiddenDropout = config.hiddenDropout();
    attentionDropout = config.attentionDropout();
    initStd = config.initStd();
    dtype = config.dtype();
  }

  /**
   * The configuration.
   *
   * @throws ConfigException if a value is missing or cannot be honoured
   */
  public ModelConfig build() {
    return new ModelConfig(
        vocabSize,
        vocabMultiple,
        hiddenSize,
        numLayers,
        numHeads,
        numKeyValueHeads,
        headDim,
        ffnHiddenSize,
        maxPositions,
        normalization,
        normEpsilon,
        normPlacement,
        zeroCenteredNorm,
        residual,
        positionEmbedding,
        ropeTheta,
        ropeScaling,
        rotaryFraction,
        layerTypes,
        slidingWindow,
        slidingRopeTheta,
        activation,
        experts,
        linearBias,
        qkvBias,
        attentionBias,
        qkNorm,
        qkNormWhole,
        attentionScale,
        attentionSoftcap,
        logitSoftcap,
        embeddingScale,
        residualScale,
        logitScale,
        tieEmbeddings,
        hiddenDropout,
        attentionDropout,
        initStd,
        dtype);
  }

  public ModelConfigBuilder vocabSize(int value) {
    vocabSize = value;
    return this;
  }

  public ModelConfigBuilder vocabMultiple(int value) {
    vocabMultiple = value;
    return this;
  }

  public ModelConfigBuilder hiddenSize(int value) {
    hiddenSize = value;
    return this;
  }

  public ModelConfigBuilder numLayers(int value) {
    numLayers = value;
    return this;
  }

  public ModelConfigBuilder numHeads(int value) {
    numHeads = value;
    return this;
  }

  public ModelConfigBuilder numKeyValueHeads(int value) {
    numKeyValueHeads = value;
    return this;
  }

  public ModelConfigBuilder headDim(int value) {
    headDim = value;
    return this;
  }

  public ModelConfigBuilder ffnHiddenSize(int value) {
    ffnHiddenSize = value;
    return this;
  }

  public ModelConfigBuilder maxPositions(int value) {
    maxPositions = value;
    return this;
  }

  public ModelConfigBuilder normalization(Normalization value) {
    normalization = value;
    return this;
  }

  public ModelConfigBuilder normEpsilon(double value) {
    normEpsilon = value;
    return this;
  }

  public ModelConfigBuilder normPlacement(NormPlacement value) {
    normPlacement = value;
    return this;
  }

  public ModelConfigBuilder zeroCenteredNorm(boolean value) {
    zeroCenteredNorm = value;
    return this;
  }

  public ModelConfigBuilder residual(Residual value) {
    residual = value;
    return this;
  }

  public ModelConfigBuilder positionEmbedding(PositionEmbedding value) {
    positionEmbedding = value;
    return this;
  }

  public ModelConfigBuilder ropeTheta(double value) {
    ropeTheta = value;
    return this;
  }

  public ModelConfigBuilder ropeScaling(RopeScaling value) {
    ropeScaling = value;
    return this;
  }

  public ModelConfigBuilder rotaryFraction(double value) {
    rotaryFraction = value;
    return this;
  }

  public ModelConfigBuilder layerTypes(List<LayerType> value) {
    layerTypes = value;
    return this;
  }

  public ModelConfigBuilder slidingWindow(int value) {
    slidingWindow = value;
    return this;
  }

  public ModelConfigBuilder slidingRopeTheta(double value) {
    slidingRopeTheta = value;
    return this;
  }

  public ModelConfigBuilder activation(Activation value) {
    activation = value;
    return this;
  }

  public ModelConfigBuilder experts(Experts value) {
    experts = value;
    return this;
  }

  public ModelConfigBuilder linearBias(boolean value) {
    linearBias = value;
    return this;
  }

  public ModelConfigBuilder qkvBias(boolean value) {
    qkvBias = value;
    return this;
  }

  public ModelConfigBuilder attentionBias(boolean value) {
    attentionBias = value;
    return this;
  }

  public ModelConfigBuilder qkNorm(boolean value) {
    qkNorm = value;
    return this;
  }

  public ModelConfigBuilder qkNormWhole(boolean value) {
    qkNormWhole = value;
    return this;
  }

  public ModelConfigBuilder attentionScale(double value) {
    attentionScale = value;
    return this;
  }

  public ModelConfigBuilder attentionSoftcap(double value) {
    attentionSoftcap = value;
    return this;
  }

  public ModelConfigBuilder logitSoftcap(double value) {
    logitSoftcap = value;
    return this;
  }

  public ModelConfigBuilder embeddingScale(double value) {
    embeddingScale = value;
    return this;
  }

  public ModelConfigBuilder residualScale(double value) {
    residualScale = value;
    return this;
  }

  public ModelConfigBuilder logitScale(double value) {
    logitScale = value;
    return this;
  }

  public ModelConfigBuilder tieEmbeddings(boolean value) {
    tieEmbeddings = value;
    return this;
  }

  public ModelConfigBuilder hiddenDropout(double value) {
    hiddenDropout = value;
    return this;
  }

  public ModelConfigBuilder attentionDropout(double value) {
    attentionDropout = value;
    return this;
  }

  public ModelConfigBuilder initStd(double value) {
    initStd = value;
    return this;
  }

  public ModelConfigBuilder dtype(DataType value) {
    dtype = value;
    return this;
  }
}
