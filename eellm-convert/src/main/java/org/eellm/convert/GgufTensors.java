package org.eellm.convert;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.eellm.checkpoint.huggingface.GgufFamily;
import org.eellm.checkpoint.huggingface.GgufPlaces;
import org.eellm.checkpoint.huggingface.HeadFiles;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.RopeDivisors;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.huggingface.StoredLayout;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.config.ModelConfig;
import org.eellm.config.RopeScaling;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** A trunk's tensors under llama.cpp's names, with rows in its order; exits' under ours. */
final class GgufTensors {
  private GgufTensors() {}

  static List<ModelTensor> of(SourceModel trunk, GgufFamily family) {
    ModelConfig model = trunk.architecture().model();
    List<ModelTensor> meant = trunk.tensors().stream().map(own -> meant(own, model)).toList();
    List<ModelTensor> tensors =
        new ArrayList<>(
            new StoredLayout(new GgufPlaces(family), trunk.architecture()).tensors(meant));
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

  /** A norm around one is stored with the one. */
  private static ModelTensor meant(ModelTensor tensor, ModelConfig model) {
    if (!model.zeroCenteredNorm() || tensor.shape().size() > 1) {
      return tensor;
    }
    ModelTensor wide = tensor.as(SafetensorsType.F32);
    return ModelTensor.combined(
        tensor.name(), tensor.shape(), List.of(wide), all -> all.getFirst().add(new Scalar(1.0)));
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
