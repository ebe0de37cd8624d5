package org.eellm.checkpoint.huggingface;

import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
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

  /** Parts of variants that we do not compute; absent, false and 0 switch them off. */
  private static final List<String> PARTS =
      List.of(
          "attention.clamp_kqv",
          "attention.max_alibi_bias",
          "attention.sliding_window_pattern",
          "attn_logit_softcapping",
          "expert_count",
          "expert_used_count",
          "final_logit_softcapping",
          "nextn_predict_layers",
          "pooling_type",
          "rope.dimension_sections");

  /** Factors of variants that we do not compute; absent, 0 and 1 leave the model as it is. */
  private static final List<String> FACTORS =
      List.of(
          "attention.temperature_scale",
          "embedding_scale",
          "logit_scale",
          "residual_scale",
          "rope.scaling.attn_factor");

  /** The families, by the names that llama.cpp has for them. */
  enum Family {
    LLAMA,
    QWEN2,
    QWEN3,
    GPT2,
    GPTNEOX;

    boolean gpt() {
      return this == GPT2 || this == GPTNEOX;
    }
  }

  private final GgufFile file;
  private final GgufMetadata metadata;
  private final Family family;
  private final String prefix;

  GgufConfig(GgufFile file) {
    this.file = file;
    this.metadata = file.metadata();
    String name = metadata.text("general.architecture");
    this.prefix = name + ".";
    this.family =
        switch (name) {
          case "llama" -> Family.LLAMA;
          case "qwen2" -> Family.QWEN2;
          case "qwen3" -> Family.QWEN3;
          case "gpt2" -> Family.GPT2;
          case "gptneox" -> Family.GPTNEOX;
          default ->
              metadata.refuse(
                  "general.architecture",
                  "is not supported; llama, qwen2, qwen3, gpt2 and gptneox are");
        };
  }

  Family family() {
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
    if (!family.gpt()) {
      requireEqual("rope.dimension_count", width);
    }
    String epsilon =
        prefix
            + (family.gpt() ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon");
    return ModelConfig.builder()
        .vocabSize(Math.toIntExact(Math.min(Integer.MAX_VALUE, embedding.shape().getFirst())))
        .hiddenSize(hidden)
        .numLayers(layers)
        .numHeads(heads)
        .numKeyValueHeads(metadata.positive(prefix + "attention.head_count_kv", heads))
        .headDim(width)
        .ffnHiddenSize(metadata.positive(prefix + "feed_forward_length"))
        .maxPositions(metadata.positive(prefix + "context_length"))
        .normalization(family.gpt() ? Normalization.LAYERNORM : Normalization.RMSNORM)
        .normEpsilon(
            metadata.real(epsilon).orElseThrow(() -> new GgufException(epsilon + " is missing")))
        .residual(parallel() ? Residual.PARALLEL : Residual.SEQUENTIAL)
        .positionEmbedding(
            family == Family.GPT2 ? PositionEmbedding.LEARNED : PositionEmbedding.ROPE)
        .ropeTheta(metadata.real(prefix + "rope.freq_base").orElse(10_000.0))
        .ropeScaling(ropeScaling(width))
        .rotaryFraction(family == Family.GPTNEOX ? (double) rotary / width : 1)
        .activation(
            switch (family) {
              case LLAMA, QWEN2, QWEN3 -> Activation.SWIGLU;
              case GPT2 -> Activation.GELU_TANH;
              case GPTNEOX -> Activation.GELU;
            })
        .linearBias(family.gpt())
        .qkvBias(family == Family.QWEN2)
        .qkNorm(family == Family.QWEN3)
        .tieEmbeddings(isTied(embedding))
        .dtype(embedding.type() == GgufType.BF16 ? DataType.BFLOAT16 : DataType.FLOAT32)
        .build();
  }

  private boolean parallel() {
    return family == Family.GPTNEOX && metadata.flag(prefix + "use_parallel_residual").orElse(true);
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
      default -> metadata.refuse(key, "is not supported; none and linear are");
    };
  }

  /** Llama 3's scaling, of which the file has what each pair's frequency is divided by. */
  private RopeScaling llama3(int width) {
    double theta = metadata.real(prefix + "rope.freq_base").orElse(10_000.0);
    return RopeDivisors.scaling(
            factors(width / 2),
            theta,
            metadata.count(prefix + "rope.scaling.original_context_length").orElse(8192))
        .orElseThrow(
            () ->
                new GgufException(
                    "tensor %s: these divisors of frequencies are not Llama 3's, which are supported"
                        .formatted(ROPE_FACTORS)));
  }

  private float[] factors(int pairs) {
    GgufTensor tensor = Objects.requireNonNull(file.tensors().get(ROPE_FACTORS));
    if (tensor.type() != GgufType.F32 || !tensor.shape().equals(List.of((long) pairs))) {
      throw new GgufException(
          "tensor %s has shape %s in %s, but [%d] in F32 follows from the width of a head"
              .formatted(ROPE_FACTORS, tensor.shape(), tensor.type(), pairs));
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
    for (String name : FACTORS) {
      refuseUnless(name, value -> isZero(value) || value.equals(new GgufValue.Real(1)));
    }
    refuseUnless("attention.causal", new GgufValue.Flag(true)::equals);
    refuseUnless("tensor_data_layout", value -> false);
    Optional<Integer> window = metadata.count(prefix + "attention.sliding_window");
    if (window.orElse(0) > 0 && window.orElse(0) < metadata.positive(prefix + "context_length")) {
      metadata.refuse(
          prefix + "attention.sliding_window",
          "is not supported; this version attends to all positions");
    }
    if (metadata.has(prefix + "attention.scale")) {
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
