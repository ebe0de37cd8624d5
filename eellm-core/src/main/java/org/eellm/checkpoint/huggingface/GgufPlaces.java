package org.eellm.checkpoint.huggingface;

import java.util.Map;
import java.util.function.IntUnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.eellm.checkpoint.huggingface.family.Family.TensorNames;
import org.eellm.checkpoint.huggingface.family.Place;
import org.eellm.config.ModelConfig;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterName.Embedding;
import org.eellm.model.parameter.ParameterName.OfFinalNorm;
import org.eellm.model.parameter.ParameterName.OfLayer;
import org.eellm.model.parameter.ParameterName.OutputMatrix;

/** Where llama.cpp's files keep parameters, under its names and with rows in its order. */
public record GgufPlaces(GgufFamily family) implements TensorNames {
  /** llama.cpp's names of a layer's modules. */
  private static final Map<String, String> MODULES =
      Map.ofEntries(
          Map.entry("input_layernorm", "attn_norm"),
          Map.entry("post_attention_layernorm", "ffn_norm"),
          Map.entry("attention_output_norm", "post_attention_norm"),
          Map.entry("mlp_output_norm", "post_ffw_norm"),
          Map.entry("self_attn.q_proj", "attn_q"),
          Map.entry("self_attn.k_proj", "attn_k"),
          Map.entry("self_attn.v_proj", "attn_v"),
          Map.entry("self_attn.o_proj", "attn_output"),
          Map.entry("self_attn.q_norm", "attn_q_norm"),
          Map.entry("self_attn.k_norm", "attn_k_norm"),
          Map.entry("mlp.gate", "ffn_gate_inp"),
          Map.entry("mlp.gate_proj", "ffn_gate"),
          Map.entry("mlp.up_proj", "ffn_up"),
          Map.entry("mlp.down_proj", "ffn_down"));

  private static final Pattern OF_EXPERT =
      Pattern.compile("mlp\\.experts\\.(?<index>[0-9]+)\\.(?<map>gate|up|down)_proj");

  private static final String EXPERTS = "_exps.weight";

  @Override
  public Place place(ParameterName name, ModelConfig model) {
    return switch (name) {
      case OfLayer(int layer, String part) -> inLayer("blk." + layer + ".", part, model);
      case Embedding table ->
          new Place(
              table.equals(ParameterName.TOKENS) ? "token_embd.weight" : "position_embd.weight");
      case OfFinalNorm(String part) -> new Place("output_norm." + part);
      case OutputMatrix _ -> new Place("output.weight");
      default -> new Place(name.toString());
    };
  }

  private Place inLayer(String layer, String part, ModelConfig model) {
    int dot = part.lastIndexOf('.');
    String module = part.substring(0, dot);
    String kind = part.substring(dot);
    if (family.fused() && module.matches("self_attn\\.[qkv]_proj")) {
      return fused(layer + "attn_qkv" + kind, module, model);
    }
    if (family == GgufFamily.PHI3 && module.matches("mlp\\.(gate|up)_proj")) {
      int first = module.equals("mlp.up_proj") ? model.ffnHiddenSize() : 0;
      return Place.from(layer + "ffn_up" + kind, first);
    }
    Matcher expert = OF_EXPERT.matcher(module);
    if (expert.matches()) {
      String map = expert.group("map");
      int rows = map.equals("down") ? model.hiddenSize() : model.experts().hiddenSize();
      int index = Integer.parseInt(expert.group("index"));
      return Place.from(layer + "ffn_" + map + EXPERTS, index * rows);
    }
    Place own = new Place(layer + MODULES.getOrDefault(module, module) + kind);
    boolean rotated = module.matches("self_attn\\.[qk]_proj");
    return family.interleaved() && rotated ? own.through(neighbours(model)) : own;
  }

  /** Queries, keys and values below one another, perhaps with a head's rotated rows first. */
  private static Place fused(String tensor, String module, ModelConfig model) {
    int queries = model.numHeads() * model.headDim();
    int keys = model.numKeyValueHeads() * model.headDim();
    return switch (module) {
      case "self_attn.q_proj" -> Place.from(tensor, 0).through(Place.rotatedFirst(model));
      case "self_attn.k_proj" -> Place.from(tensor, queries).through(Place.rotatedFirst(model));
      default -> Place.from(tensor, queries + keys);
    };
  }

  /**
   * llama.cpp's Llama rotates neighbours among a head's rows: row j of a head's first half is the
   * file's row 2 j, of its second half 2 j + 1.
   */
  private static IntUnaryOperator neighbours(ModelConfig model) {
    int width = model.headDim();
    int half = width / 2;
    return row -> row / width * width + row % half * 2 + row % width / half;
  }

  /** All experts' matrices of a map are one tensor. */
  @Override
  public boolean isStacked(String tensor) {
    return tensor.endsWith(EXPERTS);
  }

  /** The divisors of rope are read with the configuration. */
  @Override
  public boolean leftOut(String tensor) {
    return GgufConfig.FACTORS_OF_ROPE.contains(tensor);
  }
}
