package org.eellm.checkpoint.huggingface;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** A family of Hugging Face models whose tensors have other names and shapes than ours. */
public interface StateDictAdapter {
  /** The families, as {@code model_type} has them. */
  List<String> MODEL_TYPES = List.of("gpt2", "gpt_neox");

  /**
   * The configuration in {@code config.json}.
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
  static StateDictAdapter of(String modelType) {
    return switch (modelType) {
      case "gpt2" -> new Gpt2Adapter();
      case "gpt_neox" -> new GptNeoxAdapter();
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

  /** Gives a configuration those fields of a trunk's that all families have. */
  static void copyCommon(SourceModel trunk, ObjectNode node) {
    for (String name : List.of("torch_dtype", "dtype", "bos_token_id", "eos_token_id")) {
      if (trunk.configFile().has(name)) {
        node.set(name, trunk.configFile().get(name));
      }
    }
  }

  /** Adds a trunk's weight and bias under another name. */
  static void rename(SourceModel trunk, List<ModelTensor> tensors, String from, String to) {
    for (String part : List.of(".weight", ".bias")) {
      tensors.add(trunk.tensor(from + part).named(to + part));
    }
  }

  /** Matrices or vectors one below another. */
  static Tensor rows(List<Tensor> parts) {
    return Tensors.concatenate(parts);
  }

  /** Matrices side by side. */
  static Tensor columns(List<Tensor> parts) {
    return parts.size() == 1
        ? parts.getFirst()
        : torch.cat(new TensorVector(parts.toArray(Tensor[]::new)), 1);
  }

  /**
   * Heads whose first dimensions rope rotates, with their rows in the order in which our rope finds
   * its pairs: elements j and j + D/2, of which the pairs beyond the rotated ones stay.
   *
   * @param heads [heads, D, ...]
   */
  static Tensor pairHalves(Tensor heads, ModelConfig model) {
    return reordered(heads, pairOrder(model));
  }

  /** The inverse of {@link #pairHalves}. */
  static Tensor rotatedFirst(Tensor heads, ModelConfig model) {
    long[] order = pairOrder(model);
    long[] inverse = new long[order.length];
    for (int j = 0; j < order.length; j++) {
      inverse[(int) order[j]] = j;
    }
    return reordered(heads, inverse);
  }

  /** The rows of a head, rotated ones first, in the order of our pairs. */
  static long[] pairOrder(ModelConfig model) {
    int width = model.headDim();
    int rotated = model.positions().rotaryDim();
    int still = (width - rotated) / 2;
    long[] order = new long[width];
    for (int j = 0; j < width / 2; j++) {
      boolean isRotated = j < rotated / 2;
      order[j] = isRotated ? j : rotated + (j - rotated / 2);
      order[width / 2 + j] = isRotated ? rotated / 2 + j : rotated + still + (j - rotated / 2);
    }
    return order;
  }

  private static Tensor reordered(Tensor heads, long[] order) {
    return heads.index_select(1, Tensors.ofLongs(order, Torch.cpu(), order.length));
  }
}
