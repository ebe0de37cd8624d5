package org.eellm.config;

import static org.eellm.config.ConfigException.require;
import static org.eellm.config.ConfigException.requireAtLeast;
import static org.eellm.config.ConfigException.requireNotNegative;
import static org.eellm.config.ConfigException.requirePositive;

import java.util.List;
import java.util.stream.IntStream;
import org.eellm.config.setting.NoEffectWith;
import org.eellm.config.setting.NoEffectWith.Choice;

/**
 * The backbone, a decoder: all that tells the families of models apart.
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
 * @param normPlacement where a layer's norms stand
 * @param zeroCenteredNorm a norm multiplies with one plus its weight (Gemma)
 * @param residual what a layer's MLP reads
 * @param positionEmbedding rotary embedding, or a learned table of positions
 * @param ropeTheta base of the rotary frequencies
 * @param ropeScaling stretches the rotary frequencies for longer contexts
 * @param rotaryFraction share of each head's width that rope rotates
 * @param layerTypes what the attention of the first layers sees; the pattern repeats
 * @param slidingWindow positions that a token sees in layers of type sliding, itself among them; 0
 *     where there are none
 * @param slidingRopeTheta base of the rotary frequencies of these layers, which are not scaled then
 *     (Gemma 3); 0: as in all others
 * @param activation activation of the MLP
 * @param experts MLPs that tokens are routed to; for decoding, and for tuning exits
 * @param linearBias biases on the linear maps of attention and MLP
 * @param qkvBias biases on the maps to queries, keys and values alone (Qwen2)
 * @param attentionBias biases on the maps of attention alone, its output's among them
 * @param qkNorm an RMSNorm over the width of each head's query and key, before rope (Qwen3)
 * @param qkNormWhole an RMSNorm over the width of all queries and one over that of all keys, before
 *     rope (OLMo 2)
 * @param attentionScale what a query's products with keys are multiplied by; 0: one over the root
 *     of {@code headDim}
 * @param attentionSoftcap c of {@code c tanh(score / c)} in attention (Gemma 2); 0: scores as they
 *     are
 * @param logitSoftcap the same for every head's logits
 * @param embeddingScale what token embeddings are multiplied by
 * @param residualScale what the output of attention and MLP is multiplied by before it is added
 * @param logitScale what every head's logits are multiplied by
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
    NormPlacement normPlacement,
    boolean zeroCenteredNorm,
    Residual residual,
    PositionEmbedding positionEmbedding,
    @NoEffectWith(Choice.LEARNED_POSITIONS) double ropeTheta,
    @NoEffectWith(Choice.LEARNED_POSITIONS) RopeScaling ropeScaling,
    @NoEffectWith(Choice.LEARNED_POSITIONS) double rotaryFraction,
    List<LayerType> layerTypes,
    int slidingWindow,
    @NoEffectWith(Choice.LEARNED_POSITIONS) double slidingRopeTheta,
    Activation activation,
    Experts experts,
    boolean linearBias,
    boolean qkvBias,
    boolean attentionBias,
    boolean qkNorm,
    boolean qkNormWhole,
    double attentionScale,
    double attentionSoftcap,
    double logitSoftcap,
    double embeddingScale,
    double residualScale,
    double logitScale,
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

  /**
   * Of a branch f, attention or MLP. BEFORE: {@code x + f(norm(x))}. AFTER: {@code x + norm(f(x))}
   * (OLMo 2). AROUND: {@code x + norm2(f(norm1(x)))} (Gemma).
   */
  public enum NormPlacement {
    BEFORE,
    AFTER,
    AROUND;

    /** Whether a branch's input is normed. */
    public boolean before() {
      return this != AFTER;
    }

    /** Whether a branch's output is normed. */
    public boolean after() {
      return this != BEFORE;
    }

    /** How many norms a branch has. */
    public int norms() {
      return this == AROUND ? 2 : 1;
    }
  }

  /**
   * What the attention of a layer sees. FULL: all positions up to its own. SLIDING: the last {@code
   * slidingWindow} of these. NO_POSITIONS: all, and heads are not rotated (SmolLM 3).
   */
  public enum LayerType {
    FULL,
    SLIDING,
    NO_POSITIONS
  }

  public enum PositionEmbedding {
    ROPE,
    LEARNED
  }

  /**
   * SWIGLU: {@code down(silu(gate(x)) * up(x))}. GELU: {@code down(gelu(up(x)))}, the exact erf
   * form. GELU_TANH: the same in GPT-2's approximation by tanh. GEGLU_TANH: {@code
   * down(gelu(gate(x)) * up(x))} in that approximation.
   */
  public enum Activation {
    SWIGLU,
    GELU,
    GELU_TANH,
    GEGLU_TANH;

    /** Whether a gate is multiplied with what goes up. */
    public boolean gated() {
      return this == SWIGLU || this == GEGLU_TANH;
    }
  }

  /** More than any model has; a plan lists them one by one. */
  public static final int MAX_LAYERS = 10_000;

  public ModelConfig {
    requireNotNegative(vocabSize, "model.vocab_size", "use 0 for the tokenizer's size");
    requireAtLeast(1, vocabMultiple, "model.vocab_multiple");
    requireAtLeast(1, hiddenSize, "model.hidden_size");
    require(
        numLayers >= 1 && numLayers <= MAX_LAYERS,
        "model.num_layers",
        "%d is outside 1..%d",
        numLayers,
        MAX_LAYERS);
    requireAtLeast(1, numHeads, "model.num_heads");
    requireNotNegative(numKeyValueHeads, "model.num_key_value_heads", "use 0 for num_heads");
    if (numKeyValueHeads == 0) {
      numKeyValueHeads = numHeads;
    }
    require(
        numHeads % numKeyValueHeads == 0,
        "model.num_key_value_heads",
        numKeyValueHeads + " does not divide num_heads " + numHeads + "; use a divisor");
    requireNotNegative(headDim, "model.head_dim", "use 0 for hidden_size / num_heads");
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
    requireNotNegative(ffnHiddenSize, "model.ffn_hidden_size", "use 0 for the default");
    if (ffnHiddenSize == 0) {
      long usual =
          activation.gated() ? Math.max(64, hiddenSize * 8L / 3 / 64 * 64) : 4L * hiddenSize;
      require(
          usual <= Integer.MAX_VALUE,
          "model.hidden_size",
          "%d makes an MLP of %d; make it smaller",
          hiddenSize,
          usual);
      ffnHiddenSize = (int) usual;
    }
    require(
        maxPositions >= 1 && maxPositions <= MAX_POSITIONS,
        "model.max_positions",
        maxPositions
            + " is not from 1 to "
            + MAX_POSITIONS
            + "; use the longest text there will be");
    requirePositive(normEpsilon, "model.norm_epsilon", "1e-5 is usual");
    requirePositive(ropeTheta, "model.rope_theta", "10000 is usual");
    require(
        ropeTheta > 1 || !(ropeScaling instanceof RopeScaling.Yarn),
        "model.rope_theta",
        ropeTheta + " gives no falling frequencies, which yarn divides; 10000 is usual");
    require(
        rotaryFraction > 0 && rotaryFraction <= 1,
        "model.rotary_fraction",
        rotaryFraction + " is outside (0, 1]; 1 rotates whole heads");
    require(
        rotaryFraction == 1
            || ((int) (headDim * rotaryFraction) % 2 == 0 && headDim * rotaryFraction >= 2),
        "model.rotary_fraction",
        "%s of head_dim %d are %d dimensions, but rope rotates pairs; choose an even number",
        rotaryFraction,
        headDim,
        (int) (headDim * rotaryFraction));
    if (ropeScaling instanceof RopeScaling.LongRope scaled) {
      int pairs = rotaryDim(headDim, rotaryFraction) / 2;
      require(
          scaled.shortFactors().size() == pairs,
          "model.rope_scaling.short_factors",
          "%d factors beside %d rotated pairs of a head; give one for each",
          scaled.shortFactors().size(),
          pairs);
    }
    requireLayers(layerTypes, slidingWindow, slidingRopeTheta);
    layerTypes = List.copyOf(layerTypes);
    require(
        layerTypes.size() <= numLayers,
        "model.layer_types",
        "%d types are more than num_layers %d; use as many or fewer, which repeat",
        layerTypes.size(),
        numLayers);
    require(
        positionEmbedding == PositionEmbedding.ROPE || !layerTypes.contains(LayerType.NO_POSITIONS),
        "model.layer_types",
        "no_positions is for position_embedding rope, and a learned table is added for all layers;"
            + " use full");
    require(
        normPlacement == NormPlacement.BEFORE || residual == Residual.SEQUENTIAL,
        "model.norm_placement",
        "parallel residuals have norms before their branches alone; use before");
    require(
        !zeroCenteredNorm || normalization == Normalization.RMSNORM,
        "model.zero_centered_norm",
        "true is for normalization rmsnorm alone; use false");
    require(
        !(qkNorm && qkNormWhole),
        "model.qk_norm_whole",
        "true beside qk_norm true would norm twice; set one of them");
    requireExperts(experts, numLayers, activation, linearBias);
    requireNotNegative(
        attentionScale, "model.attention_scale", "0 is one over the root of head_dim");
    requireNotNegative(attentionSoftcap, "model.attention_softcap", "0 is none");
    requireNotNegative(logitSoftcap, "model.logit_softcap", "0 is none");
    requirePositive(embeddingScale, "model.embedding_scale", "1 is usual");
    requirePositive(residualScale, "model.residual_scale", "1 is usual");
    require(
        logitScale > 0 && Double.isFinite(logitScale),
        "model.logit_scale",
        logitScale + " is not a positive number; 1 is usual");
    requireProbability(hiddenDropout, "model.hidden_dropout");
    requireProbability(attentionDropout, "model.attention_dropout");
    requirePositive(initStd, "model.init_std", "0.02 is usual");
  }

  private static void requireLayers(List<LayerType> types, int window, double theta) {
    require(!types.isEmpty(), "model.layer_types", "is empty; [full] is usual");
    boolean sliding = types.contains(LayerType.SLIDING);
    require(
        sliding ? window >= 1 : window == 0,
        "model.sliding_window",
        sliding
            ? window + " is below 1; use 1 or more, or no sliding layers"
            : window + " has no effect without sliding in model.layer_types; use 0");
    require(
        theta >= 0 && (sliding || theta == 0),
        "model.sliding_rope_theta",
        theta + " is negative or has no sliding layers; use 0");
  }

  private static void requireExperts(
      Experts experts, int layers, Activation activation, boolean bias) {
    require(
        (long) experts.count() * layers <= Experts.MAX_IN_ALL,
        "model.experts.count",
        "%d experts in each of %d layers are more than %d in all; use fewer",
        experts.count(),
        layers,
        Experts.MAX_IN_ALL);
    require(
        experts.denseLayers().stream().allMatch(layer -> layer >= 1 && layer <= layers),
        "model.experts.dense_layers",
        "%s are not all from 1 to model.num_layers %d",
        experts.denseLayers(),
        layers);
    require(
        experts.count() == 0 || (activation.gated() && !bias),
        "model.experts.count",
        "experts are gated and have no biases; use swiglu or geglu_tanh, and linear_bias: false");
  }

  private static void requireProbability(double value, String key) {
    require(value >= 0 && value < 1, key, value + " is outside [0, 1); 0 switches dropout off");
  }

  /**
   * The attention of a layer, whole or a tensor-parallel rank's part of it.
   *
   * @param heads query heads
   * @param scale of a query's products with keys
   * @param softcap of these, or 0
   * @param window positions that a token sees; {@link Integer#MAX_VALUE} for all
   * @param dropout of probabilities
   */
  public record Attention(
      int heads,
      int keyValueHeads,
      int headDim,
      double scale,
      double softcap,
      int window,
      double dropout) {

    /** The part of one of {@code ranks} tensor-parallel ranks. */
    public Attention shard(int ranks) {
      return new Attention(
          heads / ranks, keyValueHeads / ranks, headDim, scale, softcap, window, dropout);
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
   */
  public record Mlp(int width, Activation activation) {

    /** The part of one of {@code ranks} tensor-parallel ranks. */
    public Mlp shard(int ranks) {
      return new Mlp(width / ranks, activation);
    }

    /** Whether a gate is multiplied with what goes up. */
    public boolean gated() {
      return activation.gated();
    }
  }

  /**
   * How the model sees positions.
   *
   * @param rotary whether heads are rotated
   * @param count positions there are
   * @param headDim width of a head
   * @param rotaryDim dimensions of a head that rope rotates: an even number
   */
  public record Positions(
      boolean rotary,
      int count,
      int headDim,
      int rotaryDim,
      double ropeTheta,
      RopeScaling ropeScaling) {}

  /**
   * The model's norms.
   *
   * @param epsilon added to what is divided by
   * @param zeroCentered whether one is added to weights
   */
  public record Norms(Normalization kind, double epsilon, boolean zeroCentered) {}

  /**
   * The type of an attention.
   *
   * @param index of its layer; from {@code numLayers} on those of exits' blocks, which are as the
   *     last layer
   */
  public LayerType layerType(int index) {
    return layerTypes.get(Math.min(index, numLayers - 1) % layerTypes.size());
  }

  /** The type of each layer's attention. */
  public List<LayerType> eachLayerType() {
    return IntStream.range(0, numLayers).mapToObj(this::layerType).toList();
  }

  /** An attention, by the index that {@link #layerType} takes. */
  public Attention attention(int index) {
    return new Attention(
        numHeads,
        numKeyValueHeads,
        headDim,
        attentionScale == 0 ? 1 / Math.sqrt(headDim) : attentionScale,
        attentionSoftcap,
        layerType(index) == LayerType.SLIDING ? slidingWindow : Integer.MAX_VALUE,
        attentionDropout);
  }

  /** Whether maps to queries, keys and values have biases. */
  public boolean hasQkvBias() {
    return linearBias || qkvBias || attentionBias;
  }

  /** Whether the maps of attention's outputs have biases. */
  public boolean hasOutputBias() {
    return linearBias || attentionBias;
  }

  /** The MLP of layers without experts, and of exits' heads. */
  public Mlp mlp() {
    return new Mlp(ffnHiddenSize, activation);
  }

  /** The MLP that an expert is. */
  public Mlp expert() {
    return new Mlp(experts.hiddenSize(), activation);
  }

  /**
   * Whether a layer has experts in place of one MLP.
   *
   * @param index as {@link #layerType} takes it; blocks of exits have one MLP
   */
  public boolean hasExperts(int index) {
    return index < numLayers && experts.isIn(index);
  }

  /** How many layers among these have experts; from 0. */
  public long layersWithExperts(int firstLayer, int endLayer) {
    return experts.layers(firstLayer, endLayer);
  }

  /** How positions are seen, but where {@link #positions(LayerType)} says otherwise. */
  public Positions positions() {
    return positions(LayerType.FULL);
  }

  /** How layers of a type see positions. */
  public Positions positions(LayerType type) {
    int rotaryDim = rotaryDim(headDim, rotaryFraction);
    boolean own = type == LayerType.SLIDING && slidingRopeTheta > 0;
    return new Positions(
        positionEmbedding == PositionEmbedding.ROPE && type != LayerType.NO_POSITIONS,
        maxPositions,
        headDim,
        rotaryDim,
        own ? slidingRopeTheta : ropeTheta,
        own ? new RopeScaling.None() : ropeScaling);
  }

  private static int rotaryDim(int headDim, double fraction) {
    return fraction == 1 ? headDim : (int) (headDim * fraction);
  }

  /** The model's norms. */
  public Norms norms() {
    return new Norms(normalization, normEpsilon, zeroCenteredNorm);
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

  /**
   * The configuration of one of {@code ranks} tensor-parallel ranks: its heads, MLP and experts'
   * width.
   */
  public ModelConfig shard(int ranks) {
    return toBuilder()
        .numHeads(numHeads / ranks)
        .numKeyValueHeads(numKeyValueHeads / ranks)
        .ffnHiddenSize(ffnHiddenSize / ranks)
        .experts(experts.shard(ranks))
        .build();
  }
}
