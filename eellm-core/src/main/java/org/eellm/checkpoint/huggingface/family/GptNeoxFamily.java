package org.eellm.checkpoint.huggingface.family;

import com.fasterxml.jackson.databind.node.BooleanNode;
import java.util.List;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.ModelConfigBuilder;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterName.OfFinalNorm;
import org.eellm.model.parameter.ParameterName.OfLayer;
import org.eellm.model.parameter.ParameterName.OutputMatrix;

/**
 * GPT-NeoX, of which Pythia is one: LayerNorm, biases, rope over a part of each head, residuals
 * parallel unless the configuration says otherwise, and one matrix for queries, keys and values,
 * head by head.
 */
final class GptNeoxFamily {
  static final Family GPT_NEOX =
      Family.of(
          "gpt_neox",
          "GPTNeoXForCausalLM",
          """
          {"layer_norm_eps": 1e-5, "hidden_act": "gelu", "use_parallel_residual": true}
          """,
          List.of(
              CommonFields.VOCABULARY,
              CommonFields.HIDDEN,
              CommonFields.LAYERS,
              CommonFields.HEADS,
              CommonFields.INNER,
              CommonFields.POSITIONS,
              Field.choice(
                  "hidden_act",
                  Gpt2Family.ACTIVATIONS,
                  ModelConfig::activation,
                  ModelConfigBuilder::activation),
              Field.number(
                  "layer_norm_eps", ModelConfig::normEpsilon, ModelConfigBuilder::normEpsilon),
              CommonFields.INITIAL,
              new RopeField("rotary_emb_base", 10_000, "rotary_pct", 0.25),
              Field.only("attention_bias", BooleanNode.TRUE),
              CommonFields.ATTENTION_DROPOUT,
              Field.flag(
                  "use_parallel_residual",
                  model -> model.residual() == Residual.PARALLEL,
                  (into, parallel) ->
                      into.residual(parallel ? Residual.PARALLEL : Residual.SEQUENTIAL)),
              CommonFields.TIED,
              Field.always(
                  (from, into) -> into.normalization(Normalization.LAYERNORM).linearBias(true))),
          GptNeoxFamily::place);

  private GptNeoxFamily() {}

  private static Place place(ParameterName name, ModelConfig model) {
    return switch (name) {
      case OfLayer(int layer, String part) -> inLayer(layer, part, model);
      case OfFinalNorm(String part) -> new Place("gpt_neox.final_layer_norm." + part);
      case OutputMatrix _ -> new Place("embed_out.weight");
      default -> new Place("gpt_neox.embed_in.weight");
    };
  }

  private static Place inLayer(int layer, String part, ModelConfig model) {
    int dot = part.lastIndexOf('.');
    String kind = part.substring(dot);
    String before = "gpt_neox.layers." + layer + ".";
    String fused = before + "attention.query_key_value" + kind;
    return switch (part.substring(0, dot)) {
      case "self_attn.q_proj" -> ofHeads(fused, 0, model).through(Place.rotatedFirst(model));
      case "self_attn.k_proj" -> ofHeads(fused, 1, model).through(Place.rotatedFirst(model));
      case "self_attn.v_proj" -> ofHeads(fused, 2, model);
      case "self_attn.o_proj" -> new Place(before + "attention.dense" + kind);
      case "mlp.up_proj" -> new Place(before + "mlp.dense_h_to_4h" + kind);
      case "mlp.down_proj" -> new Place(before + "mlp.dense_4h_to_h" + kind);
      default -> new Place(before + part);
    };
  }

  /** Each head has its query (0), key (1) and value (2) side by side. */
  private static Place ofHeads(String fused, int of, ModelConfig model) {
    int width = model.headDim();
    return new Place(fused, row -> (3 * (row / width) + of) * width + row % width, false);
  }
}
