package org.eellm.checkpoint.huggingface.family;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.eellm.checkpoint.huggingface.family.Family.TensorNames;
import org.eellm.checkpoint.huggingface.family.Field.Word;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.NormPlacement;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.ModelConfigBuilder;

/** Models of any shape, in fields named after the settings. */
final class EellmFamily {
  static final String MODEL_TYPE = "eellm";

  static final Family EELLM =
      Family.of(
          MODEL_TYPE,
          "EellmForCausalLM",
          "{}",
          CommonFields.with(
              Field.choice(
                  "hidden_act",
                  List.of(
                      new Word<>("silu", Activation.SWIGLU),
                      new Word<>("gelu", Activation.GELU),
                      new Word<>("gelu_pytorch_tanh", Activation.GELU_TANH),
                      new Word<>("geglu_tanh", Activation.GEGLU_TANH)),
                  ModelConfig::activation,
                  ModelConfigBuilder::activation),
              Field.choice(
                  "normalization",
                  words(Normalization.values()),
                  ModelConfig::normalization,
                  ModelConfigBuilder::normalization),
              Field.choice(
                  "norm_placement",
                  words(NormPlacement.values()),
                  ModelConfig::normPlacement,
                  ModelConfigBuilder::normPlacement),
              Field.flag(
                  "zero_centered_norm",
                  ModelConfig::zeroCenteredNorm,
                  ModelConfigBuilder::zeroCenteredNorm),
              Field.choice(
                  "residual",
                  words(Residual.values()),
                  ModelConfig::residual,
                  ModelConfigBuilder::residual),
              Field.choice(
                  "position_embedding",
                  words(PositionEmbedding.values()),
                  ModelConfig::positionEmbedding,
                  ModelConfigBuilder::positionEmbedding),
              new RopeField(10_000),
              Field.number(
                  "rotary_fraction",
                  1,
                  ModelConfig::rotaryFraction,
                  ModelConfigBuilder::rotaryFraction),
              Field.of(EellmFamily::readTypes, EellmFamily::writeTypes),
              Field.optionalSize(
                  "sliding_window", ModelConfig::slidingWindow, ModelConfigBuilder::slidingWindow),
              Field.number(
                  "sliding_rope_theta",
                  0,
                  ModelConfig::slidingRopeTheta,
                  ModelConfigBuilder::slidingRopeTheta),
              LlamaFamilies.EXPERTS,
              Field.flag("linear_bias", ModelConfig::linearBias, ModelConfigBuilder::linearBias),
              Field.flag("qkv_bias", ModelConfig::qkvBias, ModelConfigBuilder::qkvBias),
              CommonFields.ATTENTION_BIAS,
              Field.flag("qk_norm", ModelConfig::qkNorm, ModelConfigBuilder::qkNorm),
              Field.flag(
                  "qk_norm_whole", ModelConfig::qkNormWhole, ModelConfigBuilder::qkNormWhole),
              Field.number(
                  "attention_scale",
                  0,
                  ModelConfig::attentionScale,
                  ModelConfigBuilder::attentionScale),
              Field.number(
                  "attention_softcap",
                  0,
                  ModelConfig::attentionSoftcap,
                  ModelConfigBuilder::attentionSoftcap),
              Field.number(
                  "logit_softcap", 0, ModelConfig::logitSoftcap, ModelConfigBuilder::logitSoftcap),
              Field.number(
                  "embedding_scale",
                  1,
                  ModelConfig::embeddingScale,
                  ModelConfigBuilder::embeddingScale),
              Field.number(
                  "residual_scale",
                  1,
                  ModelConfig::residualScale,
                  ModelConfigBuilder::residualScale),
              Field.number(
                  "logit_scale", 1, ModelConfig::logitScale, ModelConfigBuilder::logitScale)),
          TensorNames.OURS);

  private EellmFamily() {}

  private static <E extends Enum<E>> List<Word<E>> words(E[] values) {
    return Arrays.stream(values)
        .map(value -> new Word<>(value.name().toLowerCase(Locale.ROOT), value))
        .toList();
  }

  private static void readTypes(JsonFields from, ModelConfigBuilder into) {
    if (from.has(LayersField.TYPES)) {
      into.layerTypes(Field.readAll(from, LayersField.TYPES, words(LayerType.values())));
    }
  }

  private static void writeTypes(ModelConfig from, ObjectNode into) {
    Field.writeAll(into, LayersField.TYPES, from.layerTypes(), words(LayerType.values()));
  }
}
