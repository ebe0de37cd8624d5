package org.eellm.checkpoint.huggingface.family;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.NullNode;
import java.util.List;
import java.util.Map;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;

/** Refuses what fields that a family does not have would change in its mathematics. */
final class Variants {

  /** Parts of variants; null, false, 0 and empty switch them off. */
  private static final List<String> PARTS =
      List.of(
          "add_cross_attention",
          "alibi",
          "attention_bias",
          "attention_chunk_size",
          "attention_multiplier",
          "attn_logit_softcapping",
          "clip_qkv",
          "final_logit_softcapping",
          "is_encoder_decoder",
          "linear_bias",
          "lm_head_bias",
          "mlp_bias",
          "no_rope_layers",
          "num_experts",
          "num_local_experts",
          "pruned_heads",
          "qk_norm",
          "qkv_bias",
          "quantization_config",
          "query_pre_attn_scalar",
          "rope_interleaved",
          "rope_scaling",
          "scale_attn_by_inverse_layer_idx",
          "scale_embedding",
          "use_bidirectional_attention",
          "use_parallel_residual",
          "use_qk_norm",
          "use_sliding_window");

  /** Factors of variants; null and 1 leave the model as it is. */
  private static final List<String> FACTORS =
      List.of(
          "embedding_multiplier",
          "logit_scale",
          "logits_scaling",
          "partial_rotary_factor",
          "residual_multiplier",
          "rotary_fraction",
          "rotary_pct");

  /** Words of eellm's own, and their values for a plain model. */
  private static final Map<String, String> WORDS =
      Map.of(
          "normalization", "rmsnorm",
          "norm_placement", "before",
          "position_embedding", "rope",
          "residual", "sequential");

  private Variants() {}

  /**
   * Looks at the fields that nobody has asked for.
   *
   * @throws CheckpointException if one changes the mathematics
   */
  static void refuse(JsonFields fields) {
    List<String> unasked = fields.unasked();
    for (String name : PARTS) {
      JsonNode value = fields.object().path(name);
      if (unasked.contains(name) && !off(value)) {
        throw notHere(fields, name, value);
      }
    }
    for (String name : FACTORS) {
      if (unasked.contains(name)) {
        refuseUnlessOne(fields, name);
      }
    }
    for (String name : unasked) {
      JsonNode value = fields.object().path(name);
      if (WORDS.containsKey(name) && !value.asText().equals(WORDS.get(name))) {
        throw notHere(fields, name, value);
      }
    }
    if (unasked.contains("sliding_window")) {
      JsonNode window = fields.object().path("sliding_window");
      int positions = fields.positive(Family.MADE_POSITIONS, Integer.MAX_VALUE);
      if (!window.isNull() && !(window.isInt() && window.intValue() >= positions)) {
        throw notHere(fields, "sliding_window", window);
      }
    }
    if (unasked.contains("layer_types")) {
      for (JsonNode type : fields.object().path("layer_types")) {
        if (!type.asText().equals("full_attention")) {
          throw notHere(fields, "layer_types", type);
        }
      }
    }
  }

  private static boolean off(JsonNode value) {
    return switch (value.getNodeType()) {
      case NULL -> true;
      case BOOLEAN -> !value.booleanValue();
      case NUMBER -> value.doubleValue() == 0;
      case ARRAY, OBJECT -> value.isEmpty();
      default -> false;
    };
  }

  /** Refuses a factor other than one. */
  static void refuseUnlessOne(JsonFields fields, String name) {
    JsonNode value = fields.find(name).orElse(NullNode.instance);
    if (!value.isNull() && !(value.isNumber() && value.doubleValue() == 1)) {
      throw fields.wrong(name, value, "is not supported; this version computes without");
    }
  }

  private static CheckpointException notHere(JsonFields fields, String name, JsonNode value) {
    return fields.wrong(
        name,
        value,
        "is not supported with model_type %s; this version computes without"
            .formatted(fields.text("model_type")));
  }
}
