package org.eellm.checkpoint;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.RopeScaling;

/**
 * What a model folder's {@code config.json} and {@code generation_config.json} say, in Hugging
 * Face's words.
 *
 * <p>A model whose backbone is exactly Llama's has {@code model_type} {@code llama} and only
 * Llama's fields, so that other tools open it; any other has {@code model_type} {@code eellm} and
 * the further fields {@code normalization} ({@code rmsnorm}, {@code layernorm}), {@code
 * position_embedding} ({@code rope}, {@code learned}) and {@code linear_bias}. Exits are in {@code
 * early_exit}: {@code layers} (counted from 1), {@code norm}, {@code mlp}, {@code block}, {@code
 * tie_output}.
 *
 * @param architecture the model's shape; {@code hiddenDropout} is a matter of training and not in
 *     the files, so it is read as 0
 * @param bosTokenId the token that begins a text
 * @param eosTokenIds the tokens that end a text; may be empty
 */
public record HuggingFaceConfig(
    Architecture architecture, OptionalInt bosTokenId, List<Integer> eosTokenIds) {
  static final String CONFIG = "config.json";
  static final String GENERATION_CONFIG = "generation_config.json";

  public HuggingFaceConfig {
    eosTokenIds = List.copyOf(eosTokenIds);
  }

  /**
   * Reads a model folder's configuration.
   *
   * @throws CheckpointException if a file is missing or malformed, lacks a required field, or asks
   *     for what this version cannot compute; the message names field and value
   */
  public static HuggingFaceConfig read(Path folder) {
    return HuggingFaceConfigReader.read(folder);
  }

  /** Writes {@code config.json} and {@code generation_config.json} into a folder. */
  public void write(Path folder) throws IOException {
    JsonFiles.write(folder.resolve(CONFIG), config());
    ObjectNode generation = JsonNodeFactory.instance.objectNode();
    putTokenIds(generation);
    JsonFiles.write(folder.resolve(GENERATION_CONFIG), generation);
  }

  private ObjectNode config() {
    ModelConfig model = architecture.model();
    boolean llama =
        model.normalization() == Normalization.RMSNORM
            && model.positionEmbedding() == PositionEmbedding.ROPE
            && model.activation() == Activation.SWIGLU;
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    node.putArray("architectures").add(llama ? "LlamaForCausalLM" : "EellmForCausalLM");
    node.put("model_type", llama ? "llama" : "eellm");
    node.put("vocab_size", model.vocabSize());
    node.put("hidden_size", model.hiddenSize());
    node.put("intermediate_size", model.ffnHiddenSize());
    node.put("num_hidden_layers", model.numLayers());
    node.put("num_attention_heads", model.numHeads());
    node.put("num_key_value_heads", model.numKeyValueHeads());
    node.put("head_dim", model.headDim());
    node.put("max_position_embeddings", model.maxPositions());
    node.put("hidden_act", model.activation() == Activation.SWIGLU ? "silu" : "gelu");
    node.put("rms_norm_eps", model.normEpsilon());
    node.put("initializer_range", model.initStd());
    node.put("attention_dropout", model.attentionDropout());
    node.put("rope_theta", model.ropeTheta());
    putRopeScaling(node, model.ropeScaling());
    if (llama) {
      node.put("attention_bias", model.linearBias());
      node.put("mlp_bias", model.linearBias());
    } else {
      node.put("normalization", model.normalization().name().toLowerCase(Locale.ROOT));
      node.put("position_embedding", model.positionEmbedding().name().toLowerCase(Locale.ROOT));
      node.put("linear_bias", model.linearBias());
    }
    node.put("tie_word_embeddings", model.tieEmbeddings());
    node.put("torch_dtype", model.dtype() == DataType.BFLOAT16 ? "bfloat16" : "float32");
    putTokenIds(node);
    putExits(node, architecture.exits());
    return node;
  }

  private static void putRopeScaling(ObjectNode node, RopeScaling scaling) {
    switch (scaling) {
      case RopeScaling.None() -> node.putNull("rope_scaling");
      // Tools from before transformers 4.43 know the older word, type, only.
      case RopeScaling.Linear(double factor) ->
          node.putObject("rope_scaling")
              .put("type", "linear")
              .put("rope_type", "linear")
              .put("factor", factor);
      case RopeScaling.Llama3(double factor, double low, double high, int originalMaxPositions) ->
          node.putObject("rope_scaling")
              .put("rope_type", "llama3")
              .put("factor", factor)
              .put("low_freq_factor", low)
              .put("high_freq_factor", high)
              .put("original_max_position_embeddings", originalMaxPositions);
    }
  }

  private void putTokenIds(ObjectNode node) {
    bosTokenId.ifPresent(id -> node.put("bos_token_id", id));
    if (eosTokenIds.size() == 1) {
      node.put("eos_token_id", eosTokenIds.getFirst());
    } else if (!eosTokenIds.isEmpty()) {
      ArrayNode ids = node.putArray("eos_token_id");
      eosTokenIds.forEach(ids::add);
    }
  }

  private static void putExits(ObjectNode node, ExitLayout exits) {
    if (exits.layers().isEmpty()) {
      return;
    }
    ObjectNode earlyExit = node.putObject("early_exit");
    ArrayNode layers = earlyExit.putArray("layers");
    exits.layers().forEach(layers::add);
    earlyExit.put("norm", exits.norm());
    earlyExit.put("mlp", exits.mlp());
    earlyExit.put("block", exits.block());
    earlyExit.put("tie_output", exits.tieOutput());
  }
}
