package org.eellm.config;

import static org.eellm.config.ConfigException.require;

import org.eellm.config.setting.NoEffectWith;
import org.eellm.config.setting.NoEffectWith.Choice;

/**
 * The backbone: a pre-norm decoder.
 *
 * @param vocabSize size of the vocabulary; 0: the tokenizer's, rounded up to a multiple of {@code
 *     vocabMultiple}
 * @param vocabMultiple what {@code vocabSize} 0 rounds up to
 * @param hiddenSize width of the residual stream
 * @param numLayers layers
 * @param numHeads query heads
 * @param numKeyValueHeads key/value heads; 0: as many as query heads
 * @param headDim width of a head; 0: {@code hiddenSize / numHeads}
 * @param ffnHiddenSize inner width of the MLP; 0: {@code 4 x hiddenSize} with GELU, and with SwiGLU
 *     two thirds of that, rounded down to a multiple of 64
 * @param maxPositions longest sequence; also the size of a learned position table
 * @param normalization the kind of every norm
 * @param normEpsilon added to the mean square (RMSNorm) or variance (LayerNorm)
 * @param residual what a layer's MLP reads
 * @param positionEmbedding rotary embedding, or a learned table of positions
 * @param ropeTheta base of the rotary frequencies
 * @param ropeScaling stretches the rotary frequencies for longer contexts
 * @param rotaryFraction share of each head's width that rope rotates
 * @param activation activation of the MLP
 * @param linearBias biases on the linear maps of attention and MLP
 * @param qkvBias biases on the maps to queries, keys and values alone (Qwen2)
 * @param qkNorm an RMSNorm over the width of each head's query and key, before rope (Qwen3)
 * @param tieEmbeddings the final head's output matrix is the embedding
 * @param hiddenDropout dropout of the outputs of embedding, attention and MLP
 * @param attentionDropout dropout of attention probabilities
 * @param initStd standard deviation of initial weights; output projections of attention and MLP use
 *     {@code initStd / sqrt(2 x numLayers)}
 * @param dtype number format of compute; {@code bfloat16} trains with float32 master weights and
 *     gradients
 */
public record ModelConfig(
    int vocabSize,
    int vocabMultiple,
    int hiddenSize,
    int numLayers,
    int numHeads,
    int numKeyValueHeads,
    int headDim,
    int ffnHiddenSize,
    int maxPositions,
    Normalization normalization,
    double normEpsilon,
    Residual residual,
    PositionEmbedding positionEmbedding,
    @NoEffectWith(Choice.LEARNED_POSITIONS) double ropeTheta,
    @NoEffectWith(Choice.LEARNED_POSITIONS) RopeScaling ropeScaling,
    @NoEffectWith(Choice.LEARNED_POSITIONS) double rotaryFraction,
    Activation activation,
    boolean linearBias,
    boolean qkvBias,
    boolean qkNorm,
    boolean tieEmbeddings,
    double hiddenDropout,
    double attentionDropout,
    double initStd,
    DataType dtype) {

  /** More than any known model has; what is made for each position has room for so many. */
  public static final int MAX_POSITIONS = 1 << 24;

  public enum Normalization {
    RMSNORM,
    LAYERNORM
  }

  /**
   * SEQUENTIAL: {@code u = x + attention(norm(x))}, then {@code u + mlp(norm(u))}. PARALLEL: {@code
   * x + attention(norm1(x)) + mlp(norm2(x))} (GPT-NeoX, arXiv 2204.06745, section 2.1).
   */
  public enum Residual {
    SEQUENTIAL,
    PARALLEL
  }

  public enum PositionEmbedding {
    ROPE,
    LEARNED
  }

  /**
   * SWIGLU: {@code down(silu(gate(x)) * up(x))}. GELU: {@code down(gelu(up(x)))}, the exact erf
   * form. GELU_TANH: the same in GPT-2's approximation by tanh.
   */
  public enum Activation {
    SWIGLU,
    GELU,
    GELU_TANH
  }

  /** More than any model has; a plan lists them one by one. */
  private static final int MAX_LAYERS = 10_000;

  public ModelConfig {
    require(
        vocabSize >= 0,
        "model.vocab_size",
        vocabSize + " is negative; use 0 for the tokenizer's size");
    require(
        vocabMultiple >= 1, "model.vocab_multiple", vocabMultiple + " is below 1; use 1 or more");
    require(hiddenSize >= 1, "model.hidden_size", hiddenSize + " is below 1; use 1 or more");
    require(
        numLayers >= 1 && numLayers <= MAX_LAYERS,
        "model.num_layers",
        "%d is outside 1..%d".formatted(numLayers, MAX_LAYERS));
    require(numHeads >= 1, "model.num_heads", numHeads + " is below 1; use 1 or more");
    require(
        numKeyValueHeads >= 0,
        "model.num_key_value_heads",
        numKeyValueHeads + " is negative; use 0 for num_heads");
    if (numKeyValueHeads == 0) {
      numKeyValueHeads = numHeads;
    }
    require(
        numHeads % numKeyValueHeads == 0,
        "model.num_key_value_heads",
        numKeyValueHeads + " does not divide num_heads " + numHeads + "; use a divisor");
    require(
        headDim >= 0,
        "model.head_dim",
        headDim + " is negative; use 0 for hidden_size / num_heads");
    if (headDim == 0) {
      require(
          hiddenSize % numHeads == 0,
          "model.num_heads",
          numHeads
              + " does not divide hidden_size "
              + hiddenSize
              + "; use a divisor or set model.head_dim");
      headDim = hiddenSize / numHeads;
    }
    require(
        positionEmbedding != PositionEmbedding.ROPE || headDim % 2 == 0,
        "model.head_dim",
        headDim + " is odd, but rope rotates pairs; use an even head_dim");
    require(
        ffnHiddenSize >= 0,
        "model.ffn_hidden_size",
        ffnHiddenSize + " is negative; use 0 for the default");
    if (ffnHiddenSize == 0) {
      long usual =
          activation == Activation.SWIGLU
              ? Math.max(64, hiddenSize * 8L / 3 / 64 * 64)
              : 4L * hiddenSize;
      require(
          usual <= Integer.MAX_VALUE,
          "model.hidden_size",
          "%d makes an MLP of %d; make it smaller".formatted(hiddenSize, usual));
      ffnHiddenSize = (int) usual;
    }
    require(
        maxPositions >= 1 && maxPositions <= MAX_POSITIONS,
        "model.max_positions",
        maxPositions
            + " is not from 1 to "
            + MAX_POSITIONS
            + "; use the longest text there will be");
    require(normEpsilon > 0, "model.norm_epsilon", normEpsilon + " is not positive; 1e-5 is usual");
    require(ropeTheta > 0, "model.rope_theta", ropeTheta + " is not positive; 10000 is usual");
    require(
        rotaryFraction > 0 && rotaryFraction <= 1,
        "model.rotary_fraction",
        rotaryFraction + " is outside (0, 1]; 1 rotates whole heads");
    require(
        rotaryFraction == 1
            || ((int) (headDim * rotaryFraction) % 2 == 0 && headDim * rotaryFraction >= 2),
        "model.rotary_fraction",
        "%s of head_dim %d are %d dimensions, but rope rotates pairs; choose an even number"
            .formatted(rotaryFraction, headDim, (int) (headDim * rotaryFraction)));
    requireProbability(hiddenDropout, "model.hidden_dropout");
    requireProbability(attentionDropout, "model.attention_dropout");
    require(initStd > 0, "model.init_std", initStd + " is not positive; 0.02 is usual");
  }

  private static void requireProbability(double value, String key) {
    require(value >= 0 && value < 1, key, value + " is outside [0, 1); 0 switches dropout off");
  }

  /**
   * The attention of a layer, whole or a tensor-parallel rank's part of it.
   *
   * @param heads query heads
   * @param norms whether each head's query and key are normed
   * @param dropout of probabilities
   * @param outputDropout of what it adds to the residual stream
   */
  public record Attention(
      int heads,
      int keyValueHeads,
      int headDim,
      boolean norms,
      double dropout,
      double outputDropout) {

    /** The part of one of {@code ranks} tensor-parallel ranks. */
    public Attention shard(int ranks) {
      return new Attention(
          heads / ranks, keyValueHeads / ranks, headDim, norms, dropout, outputDropout);
    }

    /** Numbers of a token's queries. */
    public int queryWidth() {
      return heads * headDim;
    }

    /** Numbers of a token's keys, or of its values. */
    public int keyValueWidth() {
      return keyValueHeads * headDim;
    }
  }

  /**
   * The MLP of a layer, whole or a tensor-parallel rank's part of it.
   *
   * @param width inner width
   * @param dropout of what it adds to the residual stream
   */
  public record Mlp(int width, Activation activation, double dropout) {

    /** The part of one of {@code ranks} tensor-parallel ranks. */
    public Mlp shard(int ranks) {
      return new Mlp(width / ranks, activation, dropout);
    }

    /** Whether a gate is multiplied with what goes up. */
    public boolean gated() {
      return activation == Activation.SWIGLU;
    }
  }

  /**
   * How the model sees positions.
   *
   * @param count positions there are
   * @param headDim width of a head
   * @param rotaryDim dimensions of a head that rope rotates: an even number
   */
  public record Positions(
      PositionEmbedding embedding,
      int count,
      int headDim,
      int rotaryDim,
      double ropeTheta,
      RopeScaling ropeScaling) {

    /** Whether heads are rotated. */
    public boolean rotary() {
      return embedding == PositionEmbedding.ROPE;
    }
  }

  /** The model's norms: their kind and epsilon. */
  public record Norms(Normalization kind, double epsilon) {}

  /** The attention of every layer. */
  public Attention attention() {
    return new Attention(
        numHeads, numKeyValueHeads, headDim, qkNorm, attentionDropout, hiddenDropout);
  }

  /** The MLP of every layer. */
  public Mlp mlp() {
    return new Mlp(ffnHiddenSize, activation, hiddenDropout);
  }

  /** How positions are seen. */
  public Positions positions() {
    int rotaryDim = rotaryFraction == 1 ? headDim : (int) (headDim * rotaryFraction);
    return new Positions(
        positionEmbedding, maxPositions, headDim, rotaryDim, ropeTheta, ropeScaling);
  }

  /** The model's norms. */
  public Norms norms() {
    return new Norms(normalization, normEpsilon);
  }

  /** One to be made up of what differs from a plain Llama. */
  public static ModelConfigBuilder builder() {
    return new ModelConfigBuilder();
  }

  /** One that has these values until they are changed. */
  public ModelConfigBuilder toBuilder() {
    return new ModelConfigBuilder(this);
  }

  /** This configuration with another vocabulary size. */
  public ModelConfig withVocabSize(int size) {
    return toBuilder().vocabSize(size).build();
  }

  /** This configuration computing in another number format. */
  public ModelConfig withDtype(DataType type) {
    return toBuilder().dtype(type).build();
  }

  /** This configuration without dropout. */
  public ModelConfig withoutDropout() {
    return toBuilder().hiddenDropout(0).attentionDropout(0).build();
  }

  /** The configuration of one of {@code ranks} tensor-parallel ranks: its heads and MLP width. */
  public ModelConfig shard(int ranks) {
    return toBuilder()
        .numHeads(numHeads / ranks)
        .numKeyValueHeads(numKeyValueHeads / ranks)
        .ffnHiddenSize(ffnHiddenSize / ranks)
        .build();
  }
}
