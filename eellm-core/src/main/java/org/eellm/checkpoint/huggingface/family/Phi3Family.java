package org.eellm.checkpoint.huggingface.family;

import org.eellm.config.ModelConfig;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterName.OfLayer;

/**
 * Phi-3 and Phi-4-mini: queries, keys and values in one matrix, gate and up in another, rope over
 * the first dimensions of each head.
 */
final class Phi3Family {
  static final Family PHI_3 =
      Family.of(
          "phi3",
          "Phi3ForCausalLM",
          "{\"rms_norm_eps\": 1e-5, \"original_max_position_embeddings\": 4096}",
          CommonFields.with(
              CommonFields.SILU,
              RopeField.partial(10_000),
              new LayersField((from, layer) -> true, false)),
          Phi3Family::place);

  private Phi3Family() {}

  private static Place place(ParameterName name, ModelConfig model) {
    if (!(name instanceof OfLayer(int layer, String part))) {
      return new Place(name.toString());
    }
    int queries = model.numHeads() * model.headDim();
    int keys = model.numKeyValueHeads() * model.headDim();
    String qkv = ParameterName.layer(layer) + ".self_attn.qkv_proj.weight";
    String gateUp = ParameterName.layer(layer) + ".mlp.gate_up_proj.weight";
    return switch (part) {
      case "self_attn.q_proj.weight" -> Place.from(qkv, 0).through(Place.rotatedFirst(model));
      case "self_attn.k_proj.weight" -> Place.from(qkv, queries).through(Place.rotatedFirst(model));
      case "self_attn.v_proj.weight" -> Place.from(qkv, queries + keys);
      case "mlp.gate_proj.weight" -> Place.from(gateUp, 0);
      case "mlp.up_proj.weight" -> Place.from(gateUp, model.ffnHiddenSize());
      default -> new Place(name.toString());
    };
  }
}
