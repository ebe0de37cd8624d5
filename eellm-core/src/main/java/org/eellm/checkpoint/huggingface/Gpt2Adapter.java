package org.eellm.checkpoint.huggingface;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import org.eellm.checkpoint.huggingface.ModelTensor.Origin;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.tensor.Tensors;

/**
 * GPT-2: learned positions, LayerNorm, biases, matrices stored as [in, out], queries, keys and
 * values as one.
 */
public final class Gpt2Adapter implements StateDictAdapter {
  /** The width of an MLP over that of the stream, where the file does not say it. */
  private static final int FFN_FACTOR = 4;

  @Override
  public HuggingFaceConfig config(JsonFields fields) {
    StateDictAdapter.require(fields, "scale_attn_weights", true, true);
    StateDictAdapter.require(fields, "scale_attn_by_inverse_layer_idx", false, false);
    StateDictAdapter.require(fields, "add_cross_attention", false, false);
    int hidden = fields.positive("n_embd");
    if (hidden > Integer.MAX_VALUE / FFN_FACTOR) {
      throw fields.wrong(
          "n_embd",
          fields.object().get("n_embd"),
          "is beyond the largest width, " + Integer.MAX_VALUE / FFN_FACTOR);
    }
    ModelConfig model =
        ModelConfig.builder()
            .vocabSize(fields.positive("vocab_size"))
            .hiddenSize(hidden)
            .numLayers(fields.positive("n_layer"))
            .numHeads(fields.positive("n_head"))
            .ffnHiddenSize(fields.positive("n_inner", FFN_FACTOR * hidden))
            .maxPositions(fields.positiveUpTo("n_positions", ModelConfig.MAX_POSITIONS))
            .normalization(Normalization.LAYERNORM)
            .normEpsilon(fields.number("layer_norm_epsilon", 1e-5))
            .positionEmbedding(PositionEmbedding.LEARNED)
            .activation(StateDictAdapter.activation(fields, "activation_function", "gelu_new"))
            .linearBias(true)
            .tieEmbeddings(fields.optionalBool("tie_word_embeddings").orElse(true))
            .attentionDropout(fields.number("attn_pdrop", 0.1))
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
    String base = stored.has("transformer.wte.weight") ? "transformer." : "";
    long h = model.hiddenSize();
    long ffn = model.ffnHiddenSize();
    List<ModelTensor> tensors = new ArrayList<>();
    tensors.add(
        ModelTensor.copy(
            "model.embed_tokens.weight", stored.take(base + "wte.weight", model.vocabSize(), h)));
    tensors.add(
        ModelTensor.copy(
            "model.embed_positions.weight",
            stored.take(base + "wpe.weight", model.maxPositions(), h)));
    for (int i = 0; i < model.numLayers(); i++) {
      String from = base + "h." + i + ".";
      String to = "model.layers." + i + ".";
      norm(stored, tensors, from + "ln_1", to + "input_layernorm", h);
      attention(stored, tensors, from + "attn.c_attn", to + "self_attn.", h);
      transposed(stored, tensors, from + "attn.c_proj", to + "self_attn.o_proj", h, h);
      norm(stored, tensors, from + "ln_2", to + "post_attention_layernorm", h);
      transposed(stored, tensors, from + "mlp.c_fc", to + "mlp.up_proj", h, ffn);
      transposed(stored, tensors, from + "mlp.c_proj", to + "mlp.down_proj", ffn, h);
    }
    norm(stored, tensors, base + "ln_f", "model.norm", h);
    if (model.tieEmbeddings()) {
      stored.dropIfEqual("lm_head.weight", base + "wte.weight");
    } else {
      tensors.add(
          ModelTensor.copy("lm_head.weight", stored.take("lm_head.weight", model.vocabSize(), h)));
    }
    return tensors;
  }

  private static void norm(
      OriginTable stored, List<ModelTensor> tensors, String from, String to, long width) {
    for (String part : List.of(".weight", ".bias")) {
      tensors.add(ModelTensor.copy(to + part, stored.take(from + part, width)));
    }
  }

  private static void transposed(
      OriginTable stored, List<ModelTensor> tensors, String from, String to, long in, long out) {
    Origin weight = stored.take(from + ".weight", in, out);
    tensors.add(
        ModelTensor.assembled(
            to + ".weight", List.of(out, in), List.of(weight), all -> all.getFirst().t()));
    tensors.add(ModelTensor.copy(to + ".bias", stored.take(from + ".bias", out)));
  }

  private static void attention(
      OriginTable stored, List<ModelTensor> tensors, String from, String to, long h) {
    Origin weight = stored.take(from + ".weight", h, 3 * h);
    Origin bias = stored.take(from + ".bias", 3 * h);
    List<String> names = List.of("q_proj", "k_proj", "v_proj");
    for (int i = 0; i < names.size(); i++) {
      long start = i * h;
      tensors.add(
          ModelTensor.assembled(
              to + names.get(i) + ".weight",
              List.of(h, h),
              List.of(weight),
              all -> all.getFirst().narrow(1, start, h).t()));
      tensors.add(
          ModelTensor.assembled(
              to + names.get(i) + ".bias",
              List.of(h),
              List.of(bias),
              all -> all.getFirst().narrow(0, start, h)));
    }
  }

  /** Whether a trunk is one of this family. */
  public static boolean fits(ModelConfig model) {
    return model.normalization() == Normalization.LAYERNORM
        && model.residual() == Residual.SEQUENTIAL
        && model.positionEmbedding() == PositionEmbedding.LEARNED
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
    node.putArray("architectures").add("GPT2LMHeadModel");
    node.put("model_type", "gpt2");
    node.put("vocab_size", model.vocabSize());
    node.put("n_embd", model.hiddenSize());
    node.put("n_layer", model.numLayers());
    node.put("n_head", model.numHeads());
    node.put("n_inner", model.ffnHiddenSize());
    node.put("n_positions", model.maxPositions());
    node.put("n_ctx", model.maxPositions());
    node.put(
        "activation_function", model.activation() == Activation.GELU_TANH ? "gelu_new" : "gelu");
    node.put("layer_norm_epsilon", model.normEpsilon());
    node.put("initializer_range", model.initStd());
    node.put("attn_pdrop", model.attentionDropout());
    node.put("embd_pdrop", 0);
    node.put("resid_pdrop", 0);
    node.put("tie_word_embeddings", model.tieEmbeddings());
    StateDictAdapter.copyCommon(trunk, node);
    return node;
  }

  /** The tensors of a trunk that {@link #fits}. */
  public static List<ModelTensor> export(SourceModel trunk) {
    ModelConfig model = trunk.architecture().model();
    long h = model.hiddenSize();
    long ffn = model.ffnHiddenSize();
    List<ModelTensor> tensors = new ArrayList<>();
    tensors.add(trunk.tensor("model.embed_tokens.weight").named("transformer.wte.weight"));
    tensors.add(trunk.tensor("model.embed_positions.weight").named("transformer.wpe.weight"));
    for (int i = 0; i < model.numLayers(); i++) {
      String from = "model.layers." + i + ".";
      String to = "transformer.h." + i + ".";
      StateDictAdapter.rename(trunk, tensors, from + "input_layernorm", to + "ln_1");
      for (String part : List.of("weight", "bias")) {
        boolean matrix = part.equals("weight");
        tensors.add(
            ModelTensor.combined(
                to + "attn.c_attn." + part,
                matrix ? List.of(h, 3 * h) : List.of(3 * h),
                List.of(
                    trunk.tensor(from + "self_attn.q_proj." + part),
                    trunk.tensor(from + "self_attn.k_proj." + part),
                    trunk.tensor(from + "self_attn.v_proj." + part)),
                all -> matrix ? Tensors.concatenate(all).t() : Tensors.concatenate(all)));
      }
      transpose(trunk, tensors, from + "self_attn.o_proj", to + "attn.c_proj", h, h);
      StateDictAdapter.rename(trunk, tensors, from + "post_attention_layernorm", to + "ln_2");
      transpose(trunk, tensors, from + "mlp.up_proj", to + "mlp.c_fc", h, ffn);
      transpose(trunk, tensors, from + "mlp.down_proj", to + "mlp.c_proj", ffn, h);
    }
    StateDictAdapter.rename(trunk, tensors, "model.norm", "transformer.ln_f");
    if (!model.tieEmbeddings()) {
      tensors.add(trunk.tensor("lm_head.weight"));
    }
    return tensors;
  }

  private static void transpose(
      SourceModel trunk, List<ModelTensor> tensors, String from, String to, long in, long out) {
    tensors.add(
        ModelTensor.combined(
            to + ".weight",
            List.of(in, out),
            List.of(trunk.tensor(from + ".weight")),
            all -> all.getFirst().t()));
    tensors.add(trunk.tensor(from + ".bias").named(to + ".bias"));
  }
}
