package org.eellm.checkpoint.huggingface.family;

import com.fasterxml.jackson.databind.node.BooleanNode;
import java.util.List;
import org.eellm.checkpoint.huggingface.family.Family.TensorNames;
import org.eellm.checkpoint.huggingface.family.Field.Word;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfigBuilder;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterName.OfFinalNorm;
import org.eellm.model.parameter.ParameterName.OfLayer;

/**
 * GPT-2: learned positions, LayerNorm, biases, an MLP without a gate, matrices stored as [in, out],
 * queries, keys and values as one.
 */
final class Gpt2Family {
  /** Plain GELU, and names of its approximation by tanh. */
  static final List<Word<Activation>> ACTIVATIONS =
      List.of(
          new Word<>("gelu", Activation.GELU),
          new Word<>("gelu_new", Activation.GELU_TANH),
          new Word<>("gelu_pytorch_tanh", Activation.GELU_TANH),
          new Word<>("gelu_fast", Activation.GELU_TANH));

  static final Family GPT_2 =
      Family.of(
          "gpt2",
          "GPT2LMHeadModel",
          """
          {"layer_norm_epsilon": 1e-5, "attn_pdrop": 0.1, "activation_function": "gelu_new",
           "tie_word_embeddings": true}
          """,
          List.of(
              CommonFields.VOCABULARY,
              Field.size("n_embd", ModelConfig::hiddenSize, ModelConfigBuilder::hiddenSize),
              Field.size("n_layer", ModelConfig::numLayers, ModelConfigBuilder::numLayers),
              Field.size("n_head", ModelConfig::numHeads, ModelConfigBuilder::numHeads),
              Field.optionalSize(
                  "n_inner", ModelConfig::ffnHiddenSize, ModelConfigBuilder::ffnHiddenSize),
              CommonFields.table("n_positions"),
              Field.note("n_ctx", ModelConfig::maxPositions),
              Field.choice(
                  "activation_function",
                  ACTIVATIONS,
                  ModelConfig::activation,
                  ModelConfigBuilder::activation),
              Field.number(
                  "layer_norm_epsilon", ModelConfig::normEpsilon, ModelConfigBuilder::normEpsilon),
              CommonFields.INITIAL,
              Field.number(
                  "attn_pdrop",
                  0,
                  ModelConfig::attentionDropout,
                  ModelConfigBuilder::attentionDropout),
              Field.note("embd_pdrop", model -> 0),
              Field.note("resid_pdrop", model -> 0),
              Field.only("scale_attn_weights", BooleanNode.TRUE),
              CommonFields.TIED,
              Field.always(
                  (from, into) ->
                      into.normalization(Normalization.LAYERNORM)
                          .positionEmbedding(PositionEmbedding.LEARNED)
                          .linearBias(true))),
          new Names());

  private Gpt2Family() {}

  private static final class Names implements TensorNames {
    @Override
    public Place place(ParameterName name, ModelConfig model) {
      return switch (name) {
        case OfLayer(int layer, String part) -> inLayer(layer, part, model.hiddenSize());
        case OfFinalNorm(String part) -> new Place("transformer.ln_f." + part);
        case ParameterName other when other.equals(ParameterName.TOKENS) ->
            new Place("transformer.wte.weight");
        case ParameterName other when other.equals(ParameterName.POSITIONS) ->
            new Place("transformer.wpe.weight");
        default -> new Place(name.toString());
      };
    }

    private static Place inLayer(int layer, String part, int width) {
      int dot = part.lastIndexOf('.');
      String kind = part.substring(dot);
      String before = "transformer.h." + layer + ".";
      Place place =
          switch (part.substring(0, dot)) {
            case "input_layernorm" -> new Place(before + "ln_1" + kind);
            case "post_attention_layernorm" -> new Place(before + "ln_2" + kind);
            case "self_attn.q_proj" -> Place.from(before + "attn.c_attn" + kind, 0);
            case "self_attn.k_proj" -> Place.from(before + "attn.c_attn" + kind, width);
            case "self_attn.v_proj" -> Place.from(before + "attn.c_attn" + kind, 2 * width);
            case "self_attn.o_proj" -> new Place(before + "attn.c_proj" + kind);
            case "mlp.up_proj" -> new Place(before + "mlp.c_fc" + kind);
            case "mlp.down_proj" -> new Place(before + "mlp.c_proj" + kind);
            default -> throw new IllegalArgumentException(part);
          };
      return part.endsWith("proj.weight") ? place.asColumns() : place;
    }

    @Override
    public List<String> prefixes() {
      return List.of("transformer.", "");
    }
  }
}
