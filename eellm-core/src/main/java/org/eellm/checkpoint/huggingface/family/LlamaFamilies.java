package org.eellm.checkpoint.huggingface.family;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import org.eellm.checkpoint.huggingface.family.Family.TensorNames;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfigBuilder;

/** Llama, and those that have its tensors under its names. */
final class LlamaFamilies {
  static final Family LLAMA =
      Family.of(
          "llama",
          "LlamaForCausalLM",
          "{}",
          CommonFields.with(CommonFields.SILU, new RopeField(10_000), CommonFields.BIASES),
          TensorNames.OURS);

  /** All layers see the same window, in version 0.1. */
  static final Family MISTRAL =
      Family.of(
          "mistral",
          "MistralForCausalLM",
          "{\"num_key_value_heads\": 8, \"sliding_window\": 4096}",
          CommonFields.with(
              CommonFields.SILU,
              new RopeField(10_000),
              new LayersField((from, layer) -> true, false)),
          TensorNames.OURS);

  private static final LayersField WINDOWS =
      new LayersField(
          (from, layer) -> usesWindow(from) && layer >= from.positive("max_window_layers"), true);

  static final Field EXPERTS = new ExpertsField("moe_intermediate_size", true);

  /** Qwen 2 and 2.5: biases on queries, keys and values; windows in layers from one on. */
  static final Family QWEN_2 =
      Family.of(
          "qwen2",
          "Qwen2ForCausalLM",
          """
          {"num_key_value_heads": 32, "rms_norm_eps": 1e-6, "sliding_window": 4096,
           "max_window_layers": 28}
          """,
          CommonFields.with(
              CommonFields.SILU,
              new RopeField(10_000),
              Field.always((from, into) -> into.qkvBias(true)),
              windows(WINDOWS)),
          TensorNames.OURS);

  /** Norms of each head's query and key. */
  static final Family QWEN_3 =
      Family.of(
          "qwen3",
          "Qwen3ForCausalLM",
          """
          {"num_key_value_heads": 32, "head_dim": 128, "rms_norm_eps": 1e-6,
           "sliding_window": 4096, "max_window_layers": 28}
          """,
          CommonFields.with(
              CommonFields.SILU,
              new RopeField(10_000),
              CommonFields.ATTENTION_BIAS,
              Field.always((from, into) -> into.qkNorm(true)),
              windows(WINDOWS)),
          TensorNames.OURS);

  /** Qwen 3 with experts in place of most layers' MLPs. */
  static final Family QWEN_3_MOE =
      Family.of(
          "qwen3_moe",
          "Qwen3MoeForCausalLM",
          """
          {"num_key_value_heads": 4, "rms_norm_eps": 1e-6, "sliding_window": 4096,
           "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768}
          """,
          CommonFields.with(
              CommonFields.SILU,
              new RopeField(10_000),
              CommonFields.ATTENTION_BIAS,
              Field.always((from, into) -> into.qkNorm(true)),
              EXPERTS,
              windows(new LayersField((from, layer) -> usesWindow(from), false))),
          TensorNames.OURS);

  /** Some layers have no positions: those that {@code no_rope_layers} has a 0 for. */
  static final Family SMOL_LM_3 =
      Family.of(
          "smollm3",
          "SmolLM3ForCausalLM",
          """
          {"num_key_value_heads": 4, "rms_norm_eps": 1e-6, "tie_word_embeddings": true,
           "no_rope_layer_interval": 4}
          """,
          CommonFields.with(
              CommonFields.SILU,
              new RopeField(2_000_000),
              CommonFields.BIASES,
              Field.of(LlamaFamilies::readRotated, LlamaFamilies::writeRotated)),
          TensorNames.OURS);

  /** Factors of embeddings, scores, residuals and logits; these are divided by theirs. */
  static final Family GRANITE =
      Family.of(
          "granite",
          "GraniteForCausalLM",
          "{\"rms_norm_eps\": 1e-6}",
          CommonFields.with(
              CommonFields.SILU,
              new RopeField(10_000),
              CommonFields.BIASES,
              Field.number(
                  "embedding_multiplier",
                  1,
                  ModelConfig::embeddingScale,
                  ModelConfigBuilder::embeddingScale),
              Field.number(
                  "attention_multiplier",
                  1,
                  model -> model.attention(0).scale(),
                  ModelConfigBuilder::attentionScale),
              Field.number(
                  "residual_multiplier",
                  1,
                  ModelConfig::residualScale,
                  ModelConfigBuilder::residualScale),
              Field.number(
                  "logits_scaling",
                  1,
                  model -> 1 / model.logitScale(),
                  (into, divisor) -> into.logitScale(1 / divisor))),
          TensorNames.OURS);

  private LlamaFamilies() {}

  private static boolean usesWindow(JsonFields from) {
    return from.optionalBool("use_sliding_window").orElse(false);
  }

  private static Field windows(LayersField layers) {
    return Field.of(
        (from, into) -> {
          from.find("use_sliding_window"); // which layers listed in layer_types follow from it
          layers.read(from, into);
        },
        (from, into) -> {
          boolean windows = from.slidingWindow() > 0;
          into.put("use_sliding_window", windows);
          if (windows) {
            layers.write(from, into);
          }
        });
  }

  private static void readRotated(JsonFields from, ModelConfigBuilder into) {
    int count = CommonFields.layers(from);
    int interval = from.positive("no_rope_layer_interval");
    JsonNode listed = from.has("no_rope_layers") ? from.array("no_rope_layers") : null;
    List<LayerType> types = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      boolean rotated =
          listed == null || listed.isEmpty()
              ? (i + 1) % interval != 0
              : listed.path(i).asInt(1) != 0;
      types.add(rotated ? LayerType.FULL : LayerType.NO_POSITIONS);
    }
    if (listed != null && !listed.isEmpty() && listed.size() < count) {
      throw new CheckpointException(
          "%s: no_rope_layers: %d numbers are there for %d layers; give as many"
              .formatted(from.place(), listed.size(), count));
    }
    into.layerTypes(LayersField.shortest(types));
  }

  private static void writeRotated(ModelConfig from, ObjectNode into) {
    ArrayNode rotated = into.putArray("no_rope_layers");
    from.eachLayerType().forEach(type -> rotated.add(type == LayerType.NO_POSITIONS ? 0 : 1));
  }
}
