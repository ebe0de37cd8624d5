package org.eellm.checkpoint.huggingface;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.RopeScaling;
import org.eellm.gguf.GgufFile;

/**
 * The contents of a model folder's {@code config.json} and {@code generation_config.json}, in
 * Hugging Face's words.
 *
 * <p>A model whose backbone is exactly Llama's, Qwen2's or Qwen3's has that {@code model_type} and
 * only that family's fields, so that other tools open it; any other has {@code model_type} {@code
 * eellm} and the further fields {@code normalization} ({@code rmsnorm}, {@code layernorm}), {@code
 * residual} ({@code sequential}, {@code parallel}), {@code position_embedding} ({@code rope},
 * {@code learned}), {@code linear_bias}, {@code qkv_bias}, {@code qk_norm} and {@code
 * rotary_fraction}. Exits are in {@code early_exit}: {@code layers} (counted from 1), {@code norm},
 * {@code mlp}, {@code block}, {@code tie_output}; or the same object is in {@code exits.json},
 * where exits lie beside the trunk.
 *
 * @param architecture the model's shape; {@code hiddenDropout} is a matter of training and not in
 *     the files, so it is read as 0
 * @param bosTokenId the token that begins a text
 * @param eosTokenIds the tokens that end a text; may be empty
 */
public record HuggingFaceConfig(
    Architecture architecture, OptionalInt bosTokenId, List<Integer> eosTokenIds) {
  public static final String CONFIG = "config.json";
  public static final String EARLY_EXIT = "early_exit";
  public static final String GENERATION_CONFIG = "generation_config.json";

  /**
   * @throws ConfigException if a token is none of the vocabulary
   */
  public HuggingFaceConfig {
    eosTokenIds = List.copyOf(eosTokenIds);
    int vocabSize = architecture.model().vocabSize();
    bosTokenId.ifPresent(id -> requireToken("bos_token_id", id, vocabSize));
    eosTokenIds.forEach(id -> requireToken("eos_token_id", id, vocabSize));
  }

  private static void requireToken(String name, int id, int vocabSize) {
    if (id >= vocabSize) {
      throw new ConfigException(
          "%s: %d is beyond the vocabulary of %d; give the id of a token"
              .formatted(name, id, vocabSize));
    }
  }

  /**
   * Reads the configuration of a model folder, or a GGUF file's.
   *
   * @throws CheckpointException if a file is missing or malformed, lacks a required field, or asks
   *     for what this version cannot compute; the message names field and value
   */
  public static HuggingFaceConfig read(Path folder) {
    if (GgufFile.isOne(folder)) {
      try (GgufModel model = GgufModel.open(folder)) {
        return model.config();
      }
    }
    return HuggingFaceConfigReader.read(folder);
  }

  /** Writes {@code config.json} and {@code generation_config.json} into a folder. */
  public void write(Path folder) throws IOException {
    JsonFiles.write(folder.resolve(CONFIG), config());
    JsonFiles.write(folder.resolve(GENERATION_CONFIG), generation());
  }

  /** The content of {@code generation_config.json} that {@link #write} writes. */
  public ObjectNode generation() {
    ObjectNode generation = JsonNodeFactory.instance.objectNode();
    putTokenIds(generation);
    return generation;
  }

  /** The names of a family of models in files: class and {@code model_type}. */
  private record Family(String architecture, String modelType) {
    static final Family EELLM = new Family("EellmForCausalLM", "eellm");
    static final Family LLAMA = new Family("LlamaForCausalLM", "llama");
    static final Family QWEN2 = new Family("Qwen2ForCausalLM", "qwen2");
    static final Family QWEN3 = new Family("Qwen3ForCausalLM", "qwen3");

    static Family of(ModelConfig model) {
      boolean gated =
          model.normalization() == Normalization.RMSNORM
              && model.residual() == Residual.SEQUENTIAL
              && model.positionEmbedding() == PositionEmbedding.ROPE
              && model.activation() == Activation.SWIGLU
              && model.rotaryFraction() == 1;
      if (!gated || (model.qkNorm() && (model.qkvBias() || model.linearBias()))) {
        return EELLM;
      }
      return model.qkNorm() ? QWEN3 : model.qkvBias() ? QWEN2 : LLAMA;
    }
  }

  /** The content of {@code config.json} that {@link #write} writes. */
  public ObjectNode config() {
    ModelConfig model = architecture.model();
    Family family = Family.of(model);
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    node.putArray("architectures").add(family.architecture());
    node.put("model_type", family.modelType());
    node.put("vocab_size", model.vocabSize());
    node.put("hidden_size", model.hiddenSize());
    node.put("intermediate_size", model.ffnHiddenSize());
    node.put("num_hidden_layers", model.numLayers());
    node.put("num_attention_heads", model.numHeads());
    node.put("num_key_value_heads", model.numKeyValueHeads());
    node.put("head_dim", model.headDim());
    node.put("max_position_embeddings", model.maxPositions());
    node.put(
        "hidden_act",
        switch (model.activation()) {
          case SWIGLU -> "silu";
          case GELU -> "gelu";
          case GELU_TANH -> "gelu_pytorch_tanh";
          case GEGLU_TANH -> "geglu_tanh";
        });
    node.put("rms_norm_eps", model.normEpsilon());
    node.put("initializer_range", model.initStd());
    node.put("attention_dropout", model.attentionDropout());
    node.put("rope_theta", model.ropeTheta());
    putRopeScaling(node, model.ropeScaling());
    if (family.equals(Family.LLAMA)) {
      node.put("attention_bias", model.linearBias());
      node.put("mlp_bias", model.linearBias());
    } else if (family.equals(Family.EELLM)) {
      node.put("normalization", model.normalization().name().toLowerCase(Locale.ROOT));
      node.put("residual", model.residual().name().toLowerCase(Locale.ROOT));
      node.put("position_embedding", model.positionEmbedding().name().toLowerCase(Locale.ROOT));
      node.put("linear_bias", model.linearBias());
      node.put("qkv_bias", model.qkvBias());
      node.put("qk_norm", model.qkNorm());
      node.put("rotary_fraction", model.rotaryFraction());
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
      case RopeScaling.Yarn yarn ->
          node.putObject("rope_scaling")
              .put("rope_type", "yarn")
              .put("factor", yarn.factor())
              .put("original_max_position_embeddings", yarn.originalMaxPositions())
              .put("beta_fast", yarn.betaFast())
              .put("beta_slow", yarn.betaSlow())
              .put("attention_factor", yarn.attentionFactor())
              .put("truncate", yarn.truncate());
      case RopeScaling.LongRope scaled -> {
        ObjectNode rope =
            node.putObject("rope_scaling")
                .put("rope_type", "longrope")
                .put("attention_factor", scaled.attentionFactor())
                .put("original_max_position_embeddings", scaled.originalMaxPositions());
        scaled.shortFactors().forEach(rope.putArray("short_factor")::add);
        scaled.longFactors().forEach(rope.putArray("long_factor")::add);
      }
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
    node.set(EARLY_EXIT, HeadFiles.json(exits));
  }
}
