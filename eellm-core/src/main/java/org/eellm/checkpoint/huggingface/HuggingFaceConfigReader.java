package org.eellm.checkpoint.huggingface;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.NullNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.RopeScaling;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reads {@code config.json}. What would change the mathematics and cannot be honoured is refused;
 * defaults are those of Hugging Face's Llama, but sizes must be there.
 */
final class HuggingFaceConfigReader {
  private static final Logger LOG = LoggerFactory.getLogger(HuggingFaceConfigReader.class);

  /** Parts of variants that we do not compute; null, false, 0 and empty switch them off. */
  private static final List<String> PARTS =
      List.of(
          "add_cross_attention",
          "alibi",
          "attention_chunk_size",
          "attention_multiplier",
          "attn_logit_softcapping",
          "clip_qkv",
          "final_logit_softcapping",
          "is_encoder_decoder",
          "no_rope_layers",
          "num_experts",
          "num_local_experts",
          "pruned_heads",
          "quantization_config",
          "query_pre_attn_scalar",
          "rope_interleaved",
          "scale_embedding",
          "use_parallel_residual",
          "use_qk_norm",
          "use_sliding_window");

  /** Factors of variants that we do not compute; null and 1 leave the model as it is. */
  private static final List<String> FACTORS =
      List.of(
          "embedding_multiplier",
          "logit_scale",
          "logits_scaling",
          "partial_rotary_factor",
          "residual_multiplier",
          "rotary_pct");

  /** Fields that say nothing about the model's mathematics. */
  private static final Set<String> HARMLESS =
      Set.of(
          "_name_or_path",
          "architectures",
          "output_attentions",
          "output_hidden_states",
          "pad_token_id",
          "pretraining_tp",
          "return_dict",
          "transformers_version",
          "use_cache");

  /** The families whose tensors have the names and shapes of ours. */
  private enum Family {
    EELLM,
    LLAMA,
    MISTRAL,
    QWEN2,
    QWEN3
  }

  private final Path path;
  private final JsonFields fields;

  private HuggingFaceConfigReader(Path path) {
    this.path = path;
    this.fields = new JsonFields(path.toString(), JsonFiles.read(path));
  }

  static HuggingFaceConfig read(Path folder) {
    HuggingFaceConfigReader reader =
        new HuggingFaceConfigReader(folder.resolve(HuggingFaceConfig.CONFIG));
    Architecture architecture = reader.architecture();
    OptionalInt bos = firstToken(reader.fields);
    List<Integer> eos = reader.fields.numbers("eos_token_id");
    reader.reportUnused();

    Path generation = folder.resolve(HuggingFaceConfig.GENERATION_CONFIG);
    if (Files.exists(generation)) {
      // Other tools too let this file's ids prevail when they generate.
      JsonFields overrides = new JsonFields(generation.toString(), JsonFiles.read(generation));
      bos = overrides.has("bos_token_id") ? firstToken(overrides) : bos;
      eos = overrides.has("eos_token_id") ? overrides.numbers("eos_token_id") : eos;
    }
    try {
      return new HuggingFaceConfig(architecture, bos, eos);
    } catch (ConfigException failure) {
      throw new CheckpointException(reader.path + ": " + failure.getMessage(), failure);
    }
  }

  private static OptionalInt firstToken(JsonFields fields) {
    return fields.numbers("bos_token_id").stream().mapToInt(Integer::intValue).findFirst();
  }

  private Architecture architecture() {
    Family family =
        switch (fields.text("model_type")) {
          case "eellm" -> Family.EELLM;
          case "llama" -> Family.LLAMA;
          case "mistral" -> Family.MISTRAL;
          case "qwen2" -> Family.QWEN2;
          case "qwen3" -> Family.QWEN3;
          case String foreign when StateDictAdapter.MODEL_TYPES.contains(foreign) ->
              throw refuse(
                  "model_type", foreign, "has another layout; eellm convert makes a model of it");
          case String other ->
              throw refuse(
                  "model_type",
                  other,
                  "is not supported; eellm, llama, mistral, qwen2 and qwen3 are, and with eellm"
                      + " convert "
                      + String.join(", ", StateDictAdapter.MODEL_TYPES));
        };
    refuseVariants();
    refuseWindow(family);
    try {
      return new Architecture(model(family), exits());
    } catch (ConfigException failure) {
      throw new CheckpointException(path + ": " + failure.getMessage(), failure);
    }
  }

  private ModelConfig model(Family family) {
    boolean llama = family != Family.EELLM;
    int numHeads = fields.positive("num_attention_heads");
    Optional<Boolean> qkvBias = llama ? Optional.empty() : fields.optionalBool("qkv_bias");
    Optional<Boolean> qkNorm = llama ? Optional.empty() : fields.optionalBool("qk_norm");
    return ModelConfig.builder()
        .vocabSize(fields.positive("vocab_size"))
        .hiddenSize(fields.positive("hidden_size"))
        .numLayers(fields.positive("num_hidden_layers"))
        .numHeads(numHeads)
        .numKeyValueHeads(numKeyValueHeads(family, numHeads))
        .headDim(family == Family.QWEN3 || fields.has("head_dim") ? fields.positive("head_dim") : 0)
        .ffnHiddenSize(fields.positive("intermediate_size"))
        .maxPositions(fields.positiveUpTo("max_position_embeddings", ModelConfig.MAX_POSITIONS))
        .normalization(normalization(llama))
        .normEpsilon(fields.number("rms_norm_eps"))
        .residual(residual(llama))
        .positionEmbedding(positionEmbedding(llama))
        .ropeTheta(ropeTheta())
        .ropeScaling(ropeScaling())
        .rotaryFraction(llama ? 1 : fields.number("rotary_fraction", 1))
        .activation(activation(llama))
        .linearBias(linearBias(family))
        .qkvBias(family == Family.QWEN2 || qkvBias.orElse(false))
        .qkNorm(family == Family.QWEN3 || qkNorm.orElse(false))
        .tieEmbeddings(fields.optionalBool("tie_word_embeddings").orElse(false))
        .attentionDropout(fields.number("attention_dropout", 0))
        .initStd(fields.number("initializer_range", 0.02))
        .dtype(dtype(fields))
        .build();
  }

  private Normalization normalization(boolean llama) {
    return oneOf("normalization", "rmsnorm", "layernorm", llama).equals("rmsnorm")
        ? Normalization.RMSNORM
        : Normalization.LAYERNORM;
  }

  private Residual residual(boolean llama) {
    return oneOf("residual", "sequential", "parallel", llama).equals("sequential")
        ? Residual.SEQUENTIAL
        : Residual.PARALLEL;
  }

  private PositionEmbedding positionEmbedding(boolean llama) {
    return oneOf("position_embedding", "rope", "learned", llama).equals("rope")
        ? PositionEmbedding.ROPE
        : PositionEmbedding.LEARNED;
  }

  /** A Llama's {@code gelu} would be a gated GELU, so it is not our plain one. */
  private Activation activation(boolean llama) {
    String name = fields.optionalText("hidden_act").orElse("silu");
    if (!llama && name.equals("gelu_pytorch_tanh")) {
      return Activation.GELU_TANH;
    }
    if (!llama && name.equals("geglu_tanh")) {
      return Activation.GEGLU_TANH;
    }
    return oneOf("hidden_act", "silu", "gelu", llama).equals("silu")
        ? Activation.SWIGLU
        : Activation.GELU;
  }

  /** The families but Llama's have defaults that are no rule, so the number must be there. */
  private int numKeyValueHeads(Family family, int numHeads) {
    return family == Family.LLAMA || family == Family.EELLM
        ? fields.positive("num_key_value_heads", numHeads)
        : fields.positive("num_key_value_heads");
  }

  /** A choice of which {@code model_type} {@code llama} has the first possibility only. */
  private String oneOf(String name, String ofLlama, String other, boolean llama) {
    String value = fields.optionalText(name).orElse(ofLlama);
    if (value.equals(ofLlama) || (!llama && value.equals(other))) {
      return value;
    }
    throw refuse(
        name,
        value,
        llama
            ? "is not supported with model_type llama; %s is".formatted(ofLlama)
            : "is not supported; %s and %s are".formatted(ofLlama, other));
  }

  private boolean linearBias(Family family) {
    if (family != Family.LLAMA && family != Family.EELLM) {
      for (String name : List.of("attention_bias", "mlp_bias")) {
        if (fields.optionalBool(name).orElse(false)) {
          throw refuse(name, true, "is not supported with this model_type; false is");
        }
      }
      return false;
    }
    Optional<Boolean> linear = fields.optionalBool("linear_bias");
    boolean attention = fields.optionalBool("attention_bias").or(() -> linear).orElse(false);
    boolean mlp = fields.optionalBool("mlp_bias").or(() -> linear).orElse(false);
    if (attention != mlp || attention != linear.orElse(attention)) {
      throw new CheckpointException(
          "%s: attention_bias %b, mlp_bias %b%s: biases on a part of the linear maps are not supported; they must be equal"
              .formatted(
                  path, attention, mlp, linear.map(bias -> ", linear_bias " + bias).orElse("")));
    }
    return attention;
  }

  /** The number format that the model computes in. */
  static DataType dtype(JsonFields fields) {
    Optional<String> older = fields.optionalText("torch_dtype");
    String name = fields.optionalText("dtype").or(() -> older).orElse("float32");
    return switch (name) {
      case "bfloat16" -> DataType.BFLOAT16;
      // The wider format holds every value of these exactly, or as nearly as we compute.
      case "float32", "float16", "float64" -> DataType.FLOAT32;
      default ->
          throw new CheckpointException(
              "%s: torch_dtype: %s is not supported; float32, bfloat16, float16 and float64 are"
                  .formatted(fields.place(), name));
    };
  }

  private double ropeTheta() {
    double outside = fields.number("rope_theta", 10_000);
    double theta =
        fields
            .object("rope_parameters")
            .map(inner -> inner.number("rope_theta", outside))
            .orElse(outside);
    if (fields.has("rope_theta") && theta != outside) {
      throw refuse("rope_theta", outside, "differs from rope_parameters.rope_theta " + theta);
    }
    return theta;
  }

  /** Older files say it in {@code rope_scaling}, newer ones in {@code rope_parameters}. */
  private RopeScaling ropeScaling() {
    RopeScaling older =
        fields.object("rope_scaling").map(this::scaling).orElse(new RopeScaling.None());
    RopeScaling newer = fields.object("rope_parameters").map(this::scaling).orElse(older);
    if (fields.has("rope_scaling") && !older.equals(newer)) {
      throw new CheckpointException(
          "%s: rope_scaling and rope_parameters disagree; remove one of them".formatted(path));
    }
    return newer;
  }

  private RopeScaling scaling(JsonFields rope) {
    rope.number("rope_theta", 0);
    Optional<String> older = rope.optionalText("type");
    String type = rope.optionalText("rope_type").or(() -> older).orElse("default");
    if (!older.orElse(type).equals(type)) {
      throw new CheckpointException(
          "%s: rope_type %s and type %s disagree; remove one of them"
              .formatted(rope.place(), type, older.orElseThrow()));
    }
    RopeScaling scaling =
        switch (type) {
          case "default" -> new RopeScaling.None();
          case "linear" -> new RopeScaling.Linear(rope.number("factor"));
          case "llama3" ->
              new RopeScaling.Llama3(
                  rope.number("factor"),
                  rope.number("low_freq_factor"),
                  rope.number("high_freq_factor"),
                  rope.positive("original_max_position_embeddings"));
          default ->
              throw new CheckpointException(
                  "%s: rope_type: %s is not supported; default, linear and llama3 are"
                      .formatted(rope.place(), type));
        };
    rope.find("original_max_position_embeddings");
    for (String name : rope.unasked()) {
      refuseUnlessOne(rope, name);
    }
    return scaling;
  }

  private ExitLayout exits() {
    Optional<JsonFields> within = fields.object(HuggingFaceConfig.EARLY_EXIT);
    Path folder = path.resolveSibling("");
    if (!HeadFiles.isIn(folder)) {
      return within.map(HeadFiles::exits).orElse(ExitLayout.none());
    }
    if (within.isPresent()) {
      throw new CheckpointException(
          "%s: early_exit is there though %s is too; remove one of them"
              .formatted(path, folder.resolve(HeadFiles.LAYOUT)));
    }
    return HeadFiles.read(folder).exits();
  }

  /** Qwen's files name a window that {@code use_sliding_window} then switches off. */
  private void refuseWindow(Family family) {
    boolean named = family != Family.QWEN2 && family != Family.QWEN3;
    JsonNode window = fields.find("sliding_window").orElse(NullNode.instance);
    if (named && !window.isNull()) {
      throw fields.wrong(
          "sliding_window", window, "is not supported; this version attends to all positions");
    }
  }

  private void refuseVariants() {
    for (String name : PARTS) {
      JsonNode value = fields.find(name).orElse(NullNode.instance);
      boolean off =
          switch (value.getNodeType()) {
            case NULL -> true;
            case BOOLEAN -> !value.booleanValue();
            case NUMBER -> value.doubleValue() == 0;
            case ARRAY, OBJECT -> value.isEmpty();
            default -> false;
          };
      if (!off) {
        throw fields.wrong(name, value, "is not supported; this version computes without");
      }
    }
    for (String name : FACTORS) {
      refuseUnlessOne(fields, name);
    }
    for (JsonNode type : fields.find("layer_types").orElse(NullNode.instance)) {
      if (!type.asText().equals("full_attention")) {
        throw fields.wrong("layer_types", type, "is not supported; full_attention is");
      }
    }
  }

  private static void refuseUnlessOne(JsonFields fields, String name) {
    JsonNode value = fields.find(name).orElse(NullNode.instance);
    if (!value.isNull() && !(value.isNumber() && value.doubleValue() == 1)) {
      throw fields.wrong(name, value, "is not supported; this version computes without");
    }
  }

  private void reportUnused() {
    for (String name : fields.unasked()) {
      if (!HARMLESS.contains(name)) {
        LOG.debug("{}: {} is unknown and ignored", path, name);
      }
    }
  }

  private CheckpointException refuse(String name, Object value, String problem) {
    return new CheckpointException("%s: %s: %s %s".formatted(path, name, value, problem));
  }
}
