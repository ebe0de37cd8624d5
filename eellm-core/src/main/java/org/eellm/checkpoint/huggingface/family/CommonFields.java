package org.eellm.checkpoint.huggingface.family;

import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.util.List;
import java.util.stream.Stream;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfigBuilder;

/** Fields that most families have. */
final class CommonFields {
  static final Field VOCABULARY =
      Field.size("vocab_size", ModelConfig::vocabSize, ModelConfigBuilder::vocabSize);
  static final Field HIDDEN =
      Field.size("hidden_size", ModelConfig::hiddenSize, ModelConfigBuilder::hiddenSize);
  static final Field INNER =
      Field.size(
          "intermediate_size", ModelConfig::ffnHiddenSize, ModelConfigBuilder::ffnHiddenSize);
  static final Field LAYERS =
      Field.size("num_hidden_layers", ModelConfig::numLayers, ModelConfigBuilder::numLayers);
  static final Field HEADS =
      Field.size("num_attention_heads", ModelConfig::numHeads, ModelConfigBuilder::numHeads);
  static final Field INITIAL =
      Field.number("initializer_range", 0.02, ModelConfig::initStd, ModelConfigBuilder::initStd);
  static final Field ATTENTION_DROPOUT =
      Field.number(
          "attention_dropout",
          0,
          ModelConfig::attentionDropout,
          ModelConfigBuilder::attentionDropout);
  static final Field TIED =
      Field.flag(
          "tie_word_embeddings", ModelConfig::tieEmbeddings, ModelConfigBuilder::tieEmbeddings);

  /** The longest text, which {@code max_positions} beside it overrides. */
  static final Field POSITIONS =
      Field.of(
          (from, into) -> into.maxPositions(maxPositions(from)),
          (from, into) -> {
            into.put(Family.MADE_POSITIONS, from.maxPositions());
            if (from.maxPositions() > RopeField.usualPositions(from)) {
              into.put(Family.MAX_POSITIONS, from.maxPositions());
            }
          });

  private static final List<Field> LLAMAS =
      List.of(
          VOCABULARY,
          HIDDEN,
          INNER,
          LAYERS,
          HEADS,
          Field.optionalSize(
              "num_key_value_heads",
              ModelConfig::numKeyValueHeads,
              ModelConfigBuilder::numKeyValueHeads),
          Field.optionalSize("head_dim", ModelConfig::headDim, ModelConfigBuilder::headDim),
          POSITIONS,
          Field.number("rms_norm_eps", ModelConfig::normEpsilon, ModelConfigBuilder::normEpsilon),
          INITIAL,
          ATTENTION_DROPOUT,
          TIED);

  /** An MLP that is gated by SiLU. */
  static final Field SILU = Field.only("hidden_act", TextNode.valueOf("silu"));

  /** Biases on the maps of attention, or on these and the MLP's. */
  static final Field BIASES = Field.of(CommonFields::readBiases, CommonFields::writeBiases);

  /** Biases on the maps of attention. */
  static final Field ATTENTION_BIAS =
      Field.flag("attention_bias", ModelConfig::attentionBias, ModelConfigBuilder::attentionBias);

  private CommonFields() {}

  /** Llama's sizes, context and norms' epsilon, and fields of a family's own. */
  static List<Field> with(Field... own) {
    return Stream.concat(LLAMAS.stream(), Stream.of(own)).toList();
  }

  /** How many layers there are, before anything is made for each. */
  static int layers(JsonFields from) {
    return from.positiveUpTo("num_hidden_layers", ModelConfig.MAX_LAYERS);
  }

  /** As many positions as a table has. */
  static Field table(String name) {
    return Field.of(
        (from, into) -> into.maxPositions(from.positiveUpTo(name, ModelConfig.MAX_POSITIONS)),
        (from, into) -> into.put(name, from.maxPositions()));
  }

  /** The longest text that a model is to see: what was asked for, or what it is best at. */
  static int maxPositions(JsonFields from) {
    int made = from.positiveUpTo(Family.MADE_POSITIONS, ModelConfig.MAX_POSITIONS);
    return from.has(Family.MAX_POSITIONS)
        ? from.positiveUpTo(Family.MAX_POSITIONS, ModelConfig.MAX_POSITIONS)
        : RopeField.usualPositions(from, made);
  }

  private static void readBiases(JsonFields from, ModelConfigBuilder into) {
    boolean attention = from.optionalBool("attention_bias").orElse(false);
    boolean mlp = from.optionalBool("mlp_bias").orElse(false);
    if (mlp && !attention) {
      throw new CheckpointException(
          "%s: attention_bias false, mlp_bias true: biases on the MLP alone are not supported; on attention alone, or on both, they are"
              .formatted(from.place()));
    }
    into.linearBias(mlp).attentionBias(attention && !mlp);
  }

  private static void writeBiases(ModelConfig from, ObjectNode into) {
    into.put("attention_bias", from.linearBias() || from.attentionBias());
    into.put("mlp_bias", from.linearBias());
  }
}
