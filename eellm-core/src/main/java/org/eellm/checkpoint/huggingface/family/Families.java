package org.eellm.checkpoint.huggingface.family;

import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.LayerType;

/** All families that are known, in the order in which a model is looked for among them. */
public final class Families {
  private static final List<Family> PUBLISHED =
      List.of(
          LlamaFamilies.LLAMA,
          LlamaFamilies.MISTRAL,
          LlamaFamilies.QWEN_2,
          LlamaFamilies.QWEN_3,
          LlamaFamilies.QWEN_3_MOE,
          LlamaFamilies.SMOL_LM_3,
          LlamaFamilies.GRANITE,
          GemmaFamilies.GEMMA_2,
          GemmaFamilies.GEMMA_3,
          OlmoFamilies.OLMO_2,
          OlmoFamilies.OLMO_3,
          OlmoFamilies.OLMOE,
          Phi3Family.PHI_3,
          Gpt2Family.GPT_2,
          GptNeoxFamily.GPT_NEOX);

  private Families() {}

  /**
   * The family that a configuration is of.
   *
   * @throws CheckpointException if {@code model_type} is none that is known
   */
  public static Family of(JsonFields config) {
    String name = config.text("model_type");
    if (name.equals(EellmFamily.MODEL_TYPE)) {
      return EellmFamily.EELLM;
    }
    return PUBLISHED.stream()
        .filter(family -> family.modelType().equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                new CheckpointException(
                    "%s: model_type: %s is not supported; eellm, %s are"
                        .formatted(config.place(), name, names())));
  }

  /** The family to write a model's configuration in, beside tensors under our names. */
  public static Family ownOf(ModelConfig model) {
    return PUBLISHED.stream()
        .filter(family -> family.tensors().equals(Family.TensorNames.OURS) && family.fits(model))
        .findFirst()
        .orElse(EellmFamily.EELLM);
  }

  /** The family that other tools know a model as. */
  public static Optional<Family> publishedOf(ModelConfig model) {
    return allOf(model).findFirst();
  }

  /** All families that a model may be of; some differ in the names of tensors alone. */
  public static Stream<Family> allOf(ModelConfig model) {
    List<LayerType> pattern = LayersField.shortest(model.eachLayerType());
    ModelConfig shortest = model.toBuilder().layerTypes(pattern).build();
    return PUBLISHED.stream().filter(family -> family.fits(shortest));
  }

  /** The names of all but eellm's. */
  public static String names() {
    return PUBLISHED.stream().map(Family::modelType).collect(Collectors.joining(", "));
  }
}
