package org.eellm.checkpoint.huggingface;

import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.Experts;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.RopeScaling;
import org.eellm.gguf.GgufException;
import org.eellm.gguf.GgufFile;
import org.eellm.gguf.GgufMetadata;
import org.eellm.gguf.GgufTensor;
import org.eellm.gguf.GgufType;
import org.eellm.gguf.GgufValue;

/**
 * The model's configuration in the header of a GGUF file. Fields that would change the mathematics
 * and cannot be honoured are refused.
 */
final class GgufConfig {
  static final String ROPE_FACTORS = "rope_freqs.weight";
  static final String SHORT_FACTORS = "rope_factors_short.weight";
  static final String LONG_FACTORS = "rope_factors_long.weight";
  static final Set<String> FACTORS_OF_ROPE = Set.of(ROPE_FACTORS, SHORT_FACTORS, LONG_FACTORS);
  private static final String ORIGINAL = "rope.scaling.original_context_length";
  private static final String ATTENTION_FACTOR = "rope.scaling.attn_factor";
  private static final String WINDOW = "attention.sliding_window";
  private static final String PATTERN = "attention.sliding_window_pattern";

  /** Parts of variants that we do not compute; absent, false and 0 switch them off. */
  private static final List<String> PARTS =
      List.of(
          "attention.clamp_kqv",
          "attention.max_alibi_bias",
          "expert_group_count",
          "expert_group_used_count",
          "expert_shared_count",
          "expert_shared_feed_forward_length",
          "leading_dense_block_count",
          "nextn_predict_layers",
          "pooling_type",
          "rope.dimension_sections");

  /** Factors of variants that we do not compute; absent, 0 and 1 leave the model as it is. */
  private static final List<String> FACTORS =
      List.of(
          "attention.temperature_scale",
          "rope.scaling.yarn_attn_factor",
          "expert_weights_scale",
          "rope.scaling.yarn_log_multiplier");

  /** Caps and scales, and the families that have them. */
  private static final Map<String, GgufFamily> OWN =
      Map.of(
          "attn_logit_softcapping", GgufFamily.GEMMA2,
          "final_logit_softcapping", GgufFamily.GEMMA2,
          "embedding_scale", GgufFamily.GRANITE,
          "logit_scale", GgufFamily.GRANITE,
          "residual_scale", GgufFamily.GRANITE);

  private final GgufFile file;
  private final GgufMetadata metadata;
  private final GgufFamily family;
  private final String prefix;

  GgufConfig(GgufFile file) {
    this.file = file;
    this.metadata = file.metadata();
    String name = metadata.text("general.architecture");
    this.prefix = name + ".";
    this.family =
        GgufFamily.named(name)
            .orElseGet(
                () ->
                    metadata.refuse(
                        "general.architecture",
                        "is not supported; %s are".formatted(GgufFamily.names())));
  }

  GgufFamily family() {
    return family;
  }

  /**
   * The model's shape and the tokens that begin and end texts.
   *
   * @throws GgufException if a value is missing or cannot be honoured
   */
  HuggingFaceConfig config() {
    refuseVariants();
    List<Integer> ends =
        Stream.of("eos", "eot", "eom")
            .flatMap(name -> metadata.count("tokenizer.ggml." + name + "_token_id").stream())
            .distinct()
            .toList();
    Optional<Integer> begin = metadata.count("tokenizer.ggml.bos_token_id");
    return new HuggingFaceConfig(
        new Architecture(model(), ExitLayout.none()),
        begin.isPresent() ? OptionalInt.of(begin.get()) : OptionalInt.empty(),
        ends);
  }

  private ModelConfig model() {
    GgufTensor embedding = file.tensors().get("token_embd.weight");
    if (embedding == null) {
      throw new GgufException("has no token_embd.weight; it is no whole model");
    }
    int layers = metadata.positive(prefix + "block_count");
    if (layers > file.tensors().size()) { // before anything is made for each layer
      metadata.refuse(
          prefix + "block_count", "layers, but %d tensors".formatted(file.tensors().size()));
    }
    int hidden = metadata.positive(prefix + "embedding_length");
    int heads = metadata.positive(prefix + "attention.head_count");
    int width = metadata.positive(prefix + "attention.key_length", Math.max(1, hidden / heads));
    requireEqual("attention.value_length", width);
    int rotary = metadata.positive(prefix + "rope.dimension_count", width);
    boolean partial = family.partial();
    if (!partial && family != GgufFamily.GPT2) {
      requireEqual("rope.dimension_count", width);
    }
    String epsilon =
        prefix
            + (family.gpt() ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon");
    RopeScaling scaling = ropeScaling(rotary);
    int context = metadata.positive(prefix + "context_length");
    ModelConfig plain =
        ModelConfig.builder()
            .vocabSize(Math.toIntExact(Math.min(Integer.MAX_VALUE, embedding.shape().getFirst())))
            .hiddenSize(hidden)
            .numLayers(layers)
            .numHeads(heads)
            .numKeyValueHeads(metadata.positive(prefix + "attention.head_count_kv", heads))
            .headDim(width)
            .ffnHiddenSize(metadata.positive(prefix + "feed_forward_length"))
            .maxPositions(
                scaling instanceof RopeScaling.LongRope scaled // at its best with short texts
                    ? Math.min(context, scaled.originalMaxPositions())
                    : context)
            .normEpsilon(
                metadata
                    .real(epsilon)
                    .orElseThrow(() -> new GgufException(epsilon + " is missing")))
            .ropeTheta(metadata.real(prefix + "rope.freq_base").orElse(10_000.0))
            .ropeScaling(scaling)
            .rotaryFraction(partial ? (double) rotary / width : 1)
            .tieEmbeddings(isTied(embedding))
            .build();
    Residual residual = parallel() ? Residual.PARALLEL : Residual.SEQUENTIAL;
    ModelConfig model =
        family.model(new GgufFamily.Said(plain, window(context), residual, factors(), experts()));
    requirePattern(model);
    return model.withDtype(
        embedding.type() == GgufType.BF16 ? DataType.BFLOAT16 : DataType.FLOAT32);
  }

  private Experts experts() {
    if (!family.routed()) {
      return Experts.none();
    }
    int inner = metadata.positive(prefix + "feed_forward_length");
    int used = metadata.positive(prefix + "expert_used_count");
    return new Experts(
        metadata.positive(prefix + "expert_count"),
        used,
        family == GgufFamily.OLMOE
            ? inner
            : metadata.positive(prefix + "expert_feed_forward_length", Math.max(1, inner / used)),
        false,
        List.of());
  }

  private GgufFamily.Factors factors() {
    double score = metadata.real(prefix + "attention.scale").orElse(0.0);
    double divisor = metadata.real(prefix + "logit_scale").orElse(1.0);
    return new GgufFamily.Factors(
        metadata.real(prefix + "attn_logit_softcapping").orElse(50.0),
        metadata.real(prefix + "final_logit_softcapping").orElse(30.0),
        score,
        metadata.real(prefix + "embedding_scale").filter(scale -> scale != 0).orElse(1.0),
        metadata.real(prefix + "residual_scale").filter(scale -> scale != 0).orElse(1.0),
        divisor == 0 ? 1 : 1 / divisor);
  }

  // Windows

  private int window(int context) {
    int usual = family == GgufFamily.GEMMA2 ? 4096 : 0;
    int window = metadata.count(prefix + WINDOW).orElse(usual);
    boolean everywhere = family == GgufFamily.PHI3;
    boolean patterned = family.gemma() || family == GgufFamily.OLMO2;
    if (window > 0 && window < context && !everywhere && !patterned) {
      metadata.refuse(
          prefix + WINDOW,
          "is not supported with architecture %s, which attends to all positions"
              .formatted(family.text()));
    }
    return patterned || (everywhere && window < context) ? window : 0;
  }

  /** Refuses another pattern of windows than the family's own. */
  private void requirePattern(ModelConfig model) {
    Optional<GgufValue> pattern = metadata.find(prefix + PATTERN);
    if (pattern.isEmpty()) {
      return;
    }
    boolean same = true;
    List<LayerType> types = model.eachLayerType();
    for (int i = 0; i < types.size(); i++) {
      boolean slides = types.get(i) == LayerType.SLIDING;
      same &=
          switch (pattern.get()) {
            case GgufValue.Whole(long period) -> slides == (period == 0 || i % period < period - 1);
            case GgufValue.Flags(List<Boolean> all) -> i < all.size() && all.get(i) == slides;
            case GgufValue.Wholes(List<Long> all) ->
                i < all.size() && all.get(i) == (slides ? 1 : 0);
            default -> false;
          };
    }
    if (!same && model.slidingWindow() > 0) {
      metadata.refuse(prefix + PATTERN, "is not supported; the family's own pattern is");
    }
  }

  private boolean parallel() {
    return family == GgufFamily.GPTNEOX
        && metadata.flag(prefix + "use_parallel_residual").orElse(true);
  }

  /** Some converters store the output matrix though it is the embedding. */
  private boolean isTied(GgufTensor embedding) {
    GgufTensor output = file.tensors().get("output.weight");
    return output == null
        || (output.type() == embedding.type()
            && output.shape().equals(embedding.shape())
            && output.bytes().mismatch(embedding.bytes()) == -1);
  }

  private void requireEqual(String name, int expected) {
    if (metadata.positive(prefix + name, expected) != expected) {
      metadata.refuse(
          prefix + name, "is not supported; the width of a head, %d, is".formatted(expected));
    }
  }

  // Rope

  private RopeScaling ropeScaling(int width) {
    if (file.tensors().containsKey(LONG_FACTORS) || file.tensors().containsKey(SHORT_FACTORS)) {
      return longRope(width / 2);
    }
    String key = prefix + "rope.scaling.type";
    double factor =
        metadata
            .real(prefix + "rope.scaling.factor")
            .or(() -> metadata.real(prefix + "rope.scale_linear"))
            .orElse(1.0);
    String type =
        metadata.optionalText(key).orElse(metadata.has(key) || factor == 1 ? "none" : "linear");
    boolean factors = file.tensors().containsKey(ROPE_FACTORS);
    return switch (type) {
      case "none" -> factors ? llama3(width) : new RopeScaling.None();
      case "linear" -> {
        if (factors) {
          metadata.refuse(key, "is there though the file has %s too".formatted(ROPE_FACTORS));
        }
        yield factor == 1 || factor == 0 ? new RopeScaling.None() : new RopeScaling.Linear(factor);
      }
      case "yarn" -> yarn(factor);
      default -> metadata.refuse(key, "is not supported; none, linear, yarn and longrope are");
    };
  }

  private RopeScaling yarn(double factor) {
    int original = metadata.positive(prefix + ORIGINAL);
    RopeScaling.Yarn usual = new RopeScaling.Yarn(factor, original, 32, 1, 0, true);
    double times = metadata.real(prefix + ATTENTION_FACTOR).orElse(1.0);
    return new RopeScaling.Yarn(
        factor,
        original,
        metadata.real(prefix + "rope.scaling.yarn_beta_fast").orElse(usual.betaFast()),
        metadata.real(prefix + "rope.scaling.yarn_beta_slow").orElse(usual.betaSlow()),
        times * usual.attentionFactor(),
        true);
  }

  private RopeScaling longRope(int pairs) {
    return new RopeScaling.LongRope(
        listed(factors(SHORT_FACTORS, pairs)),
        listed(factors(LONG_FACTORS, pairs)),
        metadata.positive(prefix + ORIGINAL),
        metadata.real(prefix + ATTENTION_FACTOR).orElse(1.0));
  }

  private static List<Double> listed(float[] values) {
    return IntStream.range(0, values.length)
        .mapToObj(i -> GgufMetadata.shortest(values[i]))
        .toList();
  }

  /** Llama 3's scaling, of which the file has what each pair's frequency is divided by. */
  private RopeScaling llama3(int width) {
    double theta = metadata.real(prefix + "rope.freq_base").orElse(10_000.0);
    return RopeDivisors.scaling(
            factors(ROPE_FACTORS, width / 2), theta, metadata.count(prefix + ORIGINAL).orElse(8192))
        .orElseThrow(
            () ->
                new GgufException(
                    "tensor %s: these divisors of frequencies are not Llama 3's, which are supported"
                        .formatted(ROPE_FACTORS)));
  }

  private float[] factors(String name, int pairs) {
    GgufTensor tensor = file.tensors().get(name);
    if (tensor == null) {
      throw new GgufException("has no %s beside its other factors".formatted(name));
    }
    if (tensor.type() != GgufType.F32 || !tensor.shape().equals(List.of((long) pairs))) {
      throw new GgufException(
          "tensor %s has shape %s in %s, but [%d] in F32 follows from the width of a head"
              .formatted(name, tensor.shape(), tensor.type(), pairs));
    }
    return tensor
        .bytes()
        .toArray(ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN));
  }

  // Refusals

  private void refuseVariants() {
    if (metadata.count("split.count").orElse(1) > 1) {
      metadata.refuse("split.count", "files are one model; join them by llama-gguf-split --merge");
    }
    for (String name : PARTS) {
      refuseUnless(name, value -> isZero(value));
    }
    if (!family.routed()) {
      refuseUnless("expert_count", value -> isZero(value));
      refuseUnless("expert_used_count", value -> isZero(value));
    }
    for (String name : FACTORS) {
      refuseUnless(name, value -> isZero(value) || value.equals(new GgufValue.Real(1)));
    }
    refuseUnless("attention.causal", new GgufValue.Flag(true)::equals);
    refuseUnless("tensor_data_layout", value -> false);
    OWN.forEach(
        (name, of) -> {
          if (family != of) {
            refuseUnless(name, value -> isZero(value) || value.equals(new GgufValue.Real(1)));
          }
        });
    if (!hasScaledScores()) {
      refuseUnless(ATTENTION_FACTOR, value -> isZero(value) || value.equals(new GgufValue.Real(1)));
    }
    if (metadata.has(prefix + "attention.scale") && family != GgufFamily.GRANITE) {
      int hidden = metadata.positive(prefix + "embedding_length");
      int heads = metadata.positive(prefix + "attention.head_count");
      int width = metadata.positive(prefix + "attention.key_length", Math.max(1, hidden / heads));
      double usual = 1 / Math.sqrt(width);
      double scale = metadata.real(prefix + "attention.scale").orElse(usual);
      if (scale != 0 && Math.abs(scale - usual) > 1e-6 * usual) {
        metadata.refuse(prefix + "attention.scale", "is not supported; %s is".formatted(usual));
      }
    }
  }

  /** Whether the scaling of rope has a factor for scores. */
  private boolean hasScaledScores() {
    String type = metadata.optionalText(prefix + "rope.scaling.type").orElse("none");
    return type.equals("yarn") || file.tensors().containsKey(LONG_FACTORS);
  }

  private static boolean isZero(GgufValue value) {
    return switch (value) {
      case GgufValue.Whole(long whole) -> whole == 0;
      case GgufValue.Real(double real) -> real == 0;
      case GgufValue.Flag(boolean flag) -> !flag;
      default -> false;
    };
  }

  private void refuseUnless(String name, Predicate<GgufValue> fine) {
    Optional<GgufValue> value = metadata.find(prefix + name);
    if (value.isPresent() && !fine.test(value.get())) {
      metadata.refuse(prefix + name, "is not supported; this version computes without");
    }
  }
}
