package org.eellm.checkpoint.huggingface.family;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfigBuilder;
import org.eellm.model.parameter.ParameterName;

/**
 * A family of models: all that tells it apart, used to read its files and to write them.
 *
 * @param modelType its name in {@code model_type}
 * @param architecture its name in {@code architectures}
 * @param defaults fields that are in force where a file has none of the name, as the family was
 *     published with
 * @param fields what its configuration says
 * @param tensors where its files keep parameters
 */
public record Family(
    String modelType,
    String architecture,
    ObjectNode defaults,
    List<Field> fields,
    TensorNames tensors) {
  /** The field for the longest text that eellm is to see, where that is not the usual one. */
  public static final String MAX_POSITIONS = "max_positions";

  /** The field for the longest text that a model was made for, in families that rotate heads. */
  public static final String MADE_POSITIONS = "max_position_embeddings";

  /** Where a family's files keep parameters, but exits, which have our names everywhere. */
  @FunctionalInterface
  public interface TensorNames {
    /** In tensors of their own under our names. */
    TensorNames OURS = (name, model) -> new Place(name.toString());

    /** The place of a parameter of a model's trunk. */
    Place place(ParameterName name, ModelConfig model);

    /** Beginnings of names that some files have in place of the first; none if all have that. */
    default List<String> prefixes() {
      return List.of();
    }

    /** Whether a tensor has one more dimension, for matrices of one shape behind one another. */
    default boolean isStacked(String tensor) {
      return false;
    }

    /** Whether a tensor is of a part of the model that is left out. */
    default boolean leftOut(String tensor) {
      return false;
    }
  }

  /** A family of these defaults, in JSON. */
  static Family of(
      String modelType,
      String architecture,
      String defaults,
      List<Field> fields,
      TensorNames tensors) {
    try {
      return new Family(
          modelType, architecture, JsonFiles.parse(defaults, ObjectNode.class), fields, tensors);
    } catch (JsonProcessingException impossible) {
      throw new IllegalStateException(modelType, impossible);
    }
  }

  /** Whether it is eellm's own, for models of any shape. */
  public boolean isEellm() {
    return modelType.equals(EellmFamily.MODEL_TYPE);
  }

  /** Whether its configuration can say what a model is. */
  public boolean fits(ModelConfig model) {
    ModelConfig stored =
        model.toBuilder().vocabMultiple(1).hiddenDropout(0).dtype(DataType.FLOAT32).build();
    try {
      return model(new JsonFields(modelType, config(stored))).equals(stored);
    } catch (CheckpointException | ConfigException cannotSay) {
      return false;
    }
  }

  /** A file's fields, with the family's where they are absent. */
  public JsonFields complete(JsonFields file) {
    ObjectNode all = defaults.deepCopy();
    all.setAll((ObjectNode) file.object());
    return new JsonFields(file.place(), all, file.asked());
  }

  /**
   * The model of a configuration, computing in float32.
   *
   * @throws CheckpointException if a field cannot be honoured; the message names it
   * @throws ConfigException if fields contradict each other
   */
  public ModelConfig model(JsonFields file) {
    JsonFields all = complete(file);
    ModelConfigBuilder model = ModelConfig.builder();
    fields.forEach(field -> field.read(all, model));
    Variants.refuse(all);
    return model.build();
  }

  /** The fields of a model that {@link #fits}. */
  public ObjectNode config(ModelConfig model) {
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    node.putArray("architectures").add(architecture);
    node.put("model_type", modelType);
    fields.forEach(field -> field.write(model, node));
    return node;
  }
}
