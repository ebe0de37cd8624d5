package org.eellm.checkpoint.huggingface;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.eellm.checkpoint.huggingface.ModelTensor.Origin;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.RopeScaling;

/**
 * GPT-NeoX, of which Pythia is one: LayerNorm, biases, rope over a part of each head, residuals
 * parallel unless the configuration says otherwise, and one matrix for queries, keys and values,
 * head by head.
 */
public final class GptNeoxAdapter implements StateDictAdapter {

  @Override
  public HuggingFaceConfig config(JsonFields fields) {
    StateDictAdapter.require(fields, "attention_bias", true, true);
    if (fields.has("rope_scaling")) {
      throw new CheckpointException(
          fields.place() + ": rope_scaling is not supported with model_type gpt_neox; remove it");
    }
    Optional<JsonFields> rope = fields.object("rope_parameters");
    double base = fields.number("rotary_emb_base", 10_000);
    double share = fields.number("rotary_pct", 0.25);
    ModelConfig model =
        ModelConfig.builder()
            .vocabSize(fields.positive("vocab_size"))
            .hiddenSize(fields.positive("hidden_size"))
            .numLayers(fields.positive("num_hidden_layers"))
            .numHeads(fields.positive("num_attention_heads"))
            .ffnHiddenSize(fields.positive("intermediate_size"))
            .maxPositions(fields.positiveUpTo("max_position_embeddings", ModelConfig.MAX_POSITIONS))
            .normalization(Normalization.LAYERNORM)
            .normEpsilon(fields.number("layer_norm_eps", 1e-5))
            .residual(
                fields.optionalBool("use_parallel_residual").orElse(true)
                    ? Residual.PARALLEL
                    : Residual.SEQUENTIAL)
            .ropeTheta(rope.map(inner -> inner.number("rope_theta", base)).orElse(base))
            .rotaryFraction(
                rope.map(inner -> inner.number("partial_rotary_factor", share)).orElse(share))
            .activation(StateDictAdapter.activation(fields, "hidden_act", "gelu"))
            .linearBias(true)
            .tieEmbeddings(fields.optionalBool("tie_word_embeddings").orElse(false))
            .attentionDropout(fields.number("attention_dropout", 0))
            .initStd(fields.number("initializer_range", 0.02))
            .dtype(HuggingFaceConfigReader.dtype(fields))
            .build();
    return new HuggingFaceConfig(
        new Architecture(model, ExitLayout.none()),
        fields.numbers("bos_token_id").stream()
            .findFirst()
            .map(OptionalInt::of)
            .orElse(OptionalInt.empty()),
        fields.numbers("eos_token_id"));
  }

  @Override
  public List<ModelTensor> tensors(OriginTable stored, ModelConfig model) {
    long h = model.hiddenSize();
    long ffn = model.ffnHiddenSize();
    List<ModelTensor> tensors = new ArrayList<>();
    tensors.add(
        ModelTensor.copy(
            "model.embed_tokens.weight",
            stored.take("gpt_neox.embed_in.weight", model.vocabSize(), h)));
    for (int i = 0; i < model.numLayers(); i++) {
      String from = "gpt_neox.layers." + i + ".";
      String to = "model.layers." + i + ".";
      copy(stored, tensors, from + "input_layernorm", to + "input_layernorm", h);
      attention(stored, tensors, from + "attention.query_key_value", to + "self_attn.", model);
      copy(stored, tensors, from + "attention.dense", to + "self_attn.o_proj", h, h);
      copy(stored, tensors, from + "post_attention_layernorm", to + "post_attention_layernorm", h);
      copy(stored, tensors, from + "mlp.dense_h_to_4h", to + "mlp.up_proj", ffn, h);
      copy(stored, tensors, from + "mlp.dense_4h_to_h", to + "mlp.down_proj", h, ffn);
    }
    copy(stored, tensors, "gpt_neox.final_layer_norm", "model.norm", h);
    if (model.tieEmbeddings()) {
      stored.dropIfEqual("embed_out.weight", "gpt_neox.embed_in.weight");
    } else {
      tensors.add(
          ModelTensor.copy(
              "lm_head.weight", stored.take("embed_out.weight", model.vocabSize(), h)));
    }
    return tensors;
  }

  /** Weight of {@code shape} and bias of its first length. */
  private static void copy(
      OriginTable stored, List<ModelTensor> tensors, String from, String to, long... shape) {
    tensors.add(ModelTensor.copy(to + ".weight", stored.take(from + ".weight", shape)));
    tensors.add(ModelTensor.copy(to + ".bias", stored.take(from + ".bias", shape[0])));
  }

  private static void attention(
      OriginTable stored, List<ModelTensor> tensors, String from, String to, ModelConfig model) {
    long h = model.hiddenSize();
    Origin weight = stored.take(from + ".weight", 3 * h, h);
    Origin bias = stored.take(from + ".bias", 3 * h);
    List<String> names = List.of("q_proj", "k_proj", "v_proj");
    for (int i = 0; i < names.size(); i++) {
      int part = i;
      tensors.add(
          ModelTensor.assembled(
              to + names.get(i) + ".weight",
              List.of(h, h),
              List.of(weight),
              all -> part(all.getFirst().view(-1, h), part, model).reshape(h, h)));
      tensors.add(
          ModelTensor.assembled(
              to + names.get(i) + ".bias",
              List.of(h),
              List.of(bias),
              all -> part(all.getFirst().view(-1, 1), part, model).reshape(h)));
    }
  }

  /** Whether a trunk is one of this family. */
  public static boolean fits(ModelConfig model) {
    return model.normalization() == Normalization.LAYERNORM
        && model.positionEmbedding() == PositionEmbedding.ROPE
        && model.ropeScaling() instanceof RopeScaling.None
        && model.activation() != Activation.SWIGLU
        && model.linearBias()
        && !model.qkNorm()
        && model.numKeyValueHeads() == model.numHeads()
        && model.numHeads() * model.headDim() == model.hiddenSize();
  }

  /** The configuration of a trunk that {@link #fits}. */
  public static ObjectNode config(SourceModel trunk) {
    ModelConfig model = trunk.architecture().model();
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    node.putArray("architectures").add("GPTNeoXForCausalLM");
    node.put("model_type", "gpt_neox");
    node.put("vocab_size", model.vocabSize());
    node.put("hidden_size", model.hiddenSize());
    node.put("num_hidden_layers", model.numLayers());
    node.put("num_attention_heads", model.numHeads());
    node.put("intermediate_size", model.ffnHiddenSize());
    node.put("max_position_embeddings", model.maxPositions());
    node.put(
        "hidden_act", model.activation() == Activation.GELU_TANH ? "gelu_pytorch_tanh" : "gelu");
    node.put("layer_norm_eps", model.normEpsilon());
    node.put("initializer_range", model.initStd());
    node.put("rotary_emb_base", model.ropeTheta());
    node.put("rotary_pct", model.rotaryFraction());
    node.put("attention_bias", true);
    node.put("attention_dropout", model.attentionDropout());
    node.put("use_parallel_residual", model.residual() == Residual.PARALLEL);
    node.put("tie_word_embeddings", model.tieEmbeddings());
    StateDictAdapter.copyCommon(trunk, node);
    return node;
  }

  /** The tensors of a trunk that {@link #fits}. */
  public static List<ModelTensor> export(SourceModel trunk) {
    ModelConfig model = trunk.architecture().model();
    List<ModelTensor> tensors = new ArrayList<>();
    tensors.add(trunk.tensor("model.embed_tokens.weight").named("gpt_neox.embed_in.weight"));
    for (int i = 0; i < model.numLayers(); i++) {
      String from = "model.layers." + i + ".";
      String to = "gpt_neox.layers." + i + ".";
      StateDictAdapter.rename(trunk, tensors, from + "input_layernorm", to + "input_layernorm");
      fuse(trunk, tensors, from + "self_attn.", to + "attention.query_key_value");
      StateDictAdapter.rename(trunk, tensors, from + "self_attn.o_proj", to + "attention.dense");
      StateDictAdapter.rename(
          trunk, tensors, from + "post_attention_layernorm", to + "post_attention_layernorm");
      StateDictAdapter.rename(trunk, tensors, from + "mlp.up_proj", to + "mlp.dense_h_to_4h");
      StateDictAdapter.rename(trunk, tensors, from + "mlp.down_proj", to + "mlp.dense_4h_to_h");
    }
    StateDictAdapter.rename(trunk, tensors, "model.norm", "gpt_neox.final_layer_norm");
    if (!model.tieEmbeddings()) {
      tensors.add(trunk.tensor("lm_head.weight").named("embed_out.weight"));
    }
    return tensors;
  }

  /** Queries, keys and values head by head, with rope's dimensions in front again. */
  private static void fuse(SourceModel trunk, List<ModelTensor> tensors, String from, String to) {
    ModelConfig model = trunk.architecture().model();
    long h = model.hiddenSize();
    for (String part : List.of(".weight", ".bias")) {
      long width = part.equals(".weight") ? h : 1;
      tensors.add(
          ModelTensor.combined(
              to + part,
              width == 1 ? List.of(3 * h) : List.of(3 * h, h),
              List.of(
                  trunk.tensor(from + "q_proj" + part),
                  trunk.tensor(from + "k_proj" + part),
                  trunk.tensor(from + "v_proj" + part)),
              all -> {
                long[] heads = {model.numHeads(), model.headDim(), width};
                Tensor fused =
                    torch.stack(
                        new TensorVector(
                            StateDictAdapter.rotatedFirst(all.get(0).view(heads), model),
                            StateDictAdapter.rotatedFirst(all.get(1).view(heads), model),
                            all.get(2).view(heads)),
                        1);
                return width == 1 ? fused.reshape(3 * h) : fused.reshape(3 * h, h);
              }));
    }
  }

  /**
   * Queries (0), keys (1) or values (2).
   *
   * @param fused [heads 3 D, width]
   * @return [heads, D, width]
   */
  private static Tensor part(Tensor fused, int part, ModelConfig model) {
    Tensor heads = fused.view(model.numHeads(), 3, model.headDim(), fused.size(1)).select(1, part);
    return part == 2 ? heads : StateDictAdapter.pairHalves(heads, model);
  }
}
