package org.eellm.checkpoint;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** A family of Hugging Face models whose tensors have other names and shapes than ours. */
interface ForeignLayout {
  /** The families, as {@code model_type} has them. */
  List<String> MODEL_TYPES = List.of("gpt2", "gpt_neox");

  /**
   * What {@code config.json} says.
   *
   * @throws CheckpointException if a field cannot be honoured; the message names it
   */
  HuggingFaceConfig config(JsonFields fields);

  /**
   * The model's parameters.
   *
   * @throws CheckpointException if a tensor is missing or of another shape
   */
  List<ModelTensor> tensors(OriginTable stored, ModelConfig model);

  /** The layout of a family of {@link #MODEL_TYPES}. */
  static ForeignLayout of(String modelType) {
    return switch (modelType) {
      case "gpt2" -> new Gpt2Layout();
      case "gpt_neox" -> new GptNeoxLayout();
      default -> throw new IllegalArgumentException(modelType);
    };
  }

  /** Our name of an activation without a gate. */
  static Activation activation(JsonFields fields, String field, String otherwise) {
    return switch (fields.optionalText(field).orElse(otherwise)) {
      case "gelu" -> Activation.GELU;
      case "gelu_new", "gelu_pytorch_tanh", "gelu_fast" -> Activation.GELU_TANH;
      case String other ->
          throw new CheckpointException(
              "%s: %s: %s is not supported; gelu, gelu_new, gelu_fast and gelu_pytorch_tanh are"
                  .formatted(fields.place(), field, other));
    };
  }

  /** Refuses fields that have another value than the one we compute. */
  static void require(JsonFields fields, String field, boolean value, boolean otherwise) {
    if (fields.optionalBool(field).orElse(otherwise) != value) {
      throw new CheckpointException(
          "%s: %s: %b is not supported; %b is".formatted(fields.place(), field, !value, value));
    }
  }

  /** Matrices or vectors one below another. */
  static Tensor rows(List<Tensor> parts) {
    return Tensors.stack(parts);
  }

  /** Matrices side by side. */
  static Tensor columns(List<Tensor> parts) {
    return parts.size() == 1
        ? parts.getFirst()
        : torch.cat(new TensorVector(parts.toArray(Tensor[]::new)), 1);
  }

  /**
   * Heads whose first dimensions rope rotates, with their rows in the order in which our rope finds
   * its pairs: elements j and j + D/2, of which the pairs beyond the rotated ones do not turn.
   *
   * @param heads [heads, D, ...]
   */
  static Tensor pairHalves(Tensor heads, ModelConfig model) {
    int width = model.headDim();
    int rotated = model.rotaryDim();
    if (rotated == width) {
      return heads;
    }
    int still = (width - rotated) / 2;
    long[] order = new long[width];
    for (int j = 0; j < width / 2; j++) {
      boolean turns = j < rotated / 2;
      order[j] = turns ? j : rotated + (j - rotated / 2);
      order[width / 2 + j] = turns ? rotated / 2 + j : rotated + still + (j - rotated / 2);
    }
    return heads.index_select(1, Tensors.ofLongs(order, Torch.cpu(), width));
  }
}
