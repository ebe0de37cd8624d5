package org.eellm.convert;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.eellm.checkpoint.huggingface.GgufFamily;
import org.eellm.checkpoint.huggingface.HeadFiles;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.ModelTensor.Assembly;
import org.eellm.checkpoint.huggingface.RopeDivisors;
import org.eellm.checkpoint.huggingface.RotatedRows;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.RopeScaling;
import org.eellm.model.parameter.ParameterName;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** A trunk's tensors under llama.cpp's names, with rows in its order; exits' under ours. */
final class GgufTensors {
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

  private GgufTensors() {}

  static List<ModelTensor> of(SourceModel trunk, GgufFamily family) {
    ModelConfig model = trunk.architecture().model();
    List<ModelTensor> tensors = new ArrayList<>();
    for (ModelTensor tensor : trunk.tensors()) {
      if (!isFused(tensor.name(), family)) {
        tensors.add(meant(interleaved(tensor, family, model), model).named(name(tensor.name())));
      }
    }
    for (int layer = 0; layer < model.numLayers() && family.fused(); layer++) {
      String from = "model.layers." + layer + ".";
      String to = "blk." + layer + ".";
      for (String part : family.gpt() ? List.of("weight", "bias") : List.of("weight")) {
        tensors.add(
            below(
                to + "attn_qkv." + part,
                Stream.of("q_proj.", "k_proj.", "v_proj.")
                    .map(name -> trunk.tensor(from + "self_attn." + name + part))
                    .toList(),
                all ->
                    Tensors.concatenate(
                        List.of(
                            rotatedFirst(all.get(0), model),
                            rotatedFirst(all.get(1), model),
                            all.get(2)))));
      }
      if (family == GgufFamily.PHI3) {
        tensors.add(
            below(
                to + "ffn_up.weight",
                List.of(
                    trunk.tensor(from + "mlp.gate_proj.weight"),
                    trunk.tensor(from + "mlp.up_proj.weight")),
                Tensors::concatenate));
      }
    }
    for (int layer = 0; layer < model.numLayers() && family.routed(); layer++) {
      experts(trunk, layer).forEach(tensors::add);
    }
    switch (model.ropeScaling()) {
      case RopeScaling.Llama3 scaling -> {
        float[] divisors = RopeDivisors.of(scaling, model.ropeTheta(), model.headDim() / 2);
        tensors.add(factors("rope_freqs.weight", divisors));
      }
      case RopeScaling.LongRope scaled -> {
        tensors.add(factors("rope_factors_short.weight", floats(scaled.shortFactors())));
        tensors.add(factors("rope_factors_long.weight", floats(scaled.longFactors())));
      }
      case RopeScaling.None _, RopeScaling.Linear _, RopeScaling.Yarn _ -> {}
    }
    return tensors;
  }

  /** The tensors of exits, for a file that eellm alone reads. */
  static List<ModelTensor> ofExits(SourceModel model) {
    return model.tensors().stream()
        .filter(tensor -> tensor.name().startsWith(HeadFiles.PREFIX))
        .map(tensor -> meant(tensor, model.architecture().model()))
        .toList();
  }

  /** Of each map, all experts' matrices below one another. */
  private static Stream<ModelTensor> experts(SourceModel trunk, int layer) {
    int count = trunk.architecture().model().experts().count();
    String mlp = ParameterName.layer(layer) + ".mlp";
    return Stream.of("gate", "up", "down")
        .map(
            part -> {
              List<ModelTensor> parts =
                  IntStream.range(0, count)
                      .mapToObj(i -> ParameterName.expert(mlp, i) + "." + part + "_proj.weight")
                      .map(trunk::tensor)
                      .toList();
              List<Long> one = parts.getFirst().shape();
              long[] shape = {count, one.getFirst(), one.getLast()};
              return ModelTensor.combined(
                  "blk.%d.ffn_%s_exps.weight".formatted(layer, part),
                  Arrays.stream(shape).boxed().toList(),
                  parts,
                  all -> Tensors.concatenate(all).view(shape));
            });
  }

  private static boolean isFused(String name, GgufFamily family) {
    return (family.routed() && name.contains(".experts."))
        || family.fused()
            && (name.matches(".*\\.[qkv]_proj\\..*")
                || (family == GgufFamily.PHI3 && name.matches(".*\\.(gate|up)_proj\\..*")));
  }

  private static ModelTensor below(String name, List<ModelTensor> parts, Assembly assembly) {
    List<Long> shape = new ArrayList<>(parts.getFirst().shape());
    shape.set(0, parts.stream().mapToLong(part -> part.shape().getFirst()).sum());
    return ModelTensor.combined(name, shape, parts, assembly);
  }

  /** A norm around one is stored with the one. */
  private static ModelTensor meant(ModelTensor tensor, ModelConfig model) {
    if (!model.zeroCenteredNorm() || tensor.shape().size() > 1) {
      return tensor;
    }
    ModelTensor wide = tensor.as(SafetensorsType.F32);
    return ModelTensor.combined(
        tensor.name(), tensor.shape(), List.of(wide), all -> all.getFirst().add(new Scalar(1.0)));
  }

  private static String name(String ours) {
    return switch (ParameterName.parse(ours)) {
      case ParameterName.OfLayer(int layer, String part) -> "blk." + layer + "." + inLayer(part);
      case ParameterName.Embedding table ->
          table.equals(ParameterName.TOKENS) ? "token_embd.weight" : "position_embd.weight";
      case ParameterName.OfFinalNorm(String part) -> "output_norm." + part;
      case ParameterName.OutputMatrix _ -> "output.weight";
      case ParameterName.OfExit _, ParameterName.OfDraftHead _ -> ours;
    };
  }

  private static String inLayer(String part) {
    int dot = part.lastIndexOf('.');
    String module = part.substring(0, dot);
    return MODULES.getOrDefault(module, module) + part.substring(dot);
  }

  /** llama.cpp's Llama rotates neighbours, so the rows of a head's halves are shuffled together. */
  private static ModelTensor interleaved(ModelTensor tensor, GgufFamily family, ModelConfig model) {
    boolean permuted = tensor.name().matches(".*\\.self_attn\\.[qk]_proj\\.weight");
    if (!family.interleaved() || !permuted) {
      return tensor;
    }
    long half = model.headDim() / 2;
    List<Long> shape = tensor.shape();
    return ModelTensor.combined(
        tensor.name(),
        shape,
        List.of(tensor),
        all ->
            all.getFirst()
                .view(-1, 2, half, shape.get(1))
                .transpose(1, 2)
                .reshape(shape.get(0), shape.get(1)));
  }

  /** llama.cpp's GPT-NeoX rotates the first dimensions of a head. */
  private static Tensor rotatedFirst(Tensor rows, ModelConfig model) {
    return model.positionEmbedding() == PositionEmbedding.ROPE
        ? RotatedRows.rotatedFirst(
                rows.view(-1, model.headDim(), rows.numel() / rows.size(0)), model)
            .reshape(rows.sizes())
        : rows;
  }

  /** Divisors of the pairs' frequencies. */
  private static ModelTensor factors(String name, float[] factors) {
    return new ModelTensor(
        name,
        SafetensorsType.F32,
        List.of((long) factors.length),
        List.of(),
        _ -> Tensors.ofFloats(factors, Torch.cpu(), factors.length));
  }

  private static float[] floats(List<Double> values) {
    float[] all = new float[values.size()];
    for (int i = 0; i < all.length; i++) {
      all[i] = values.get(i).floatValue();
    }
    return all;
  }
}
