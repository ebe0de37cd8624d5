package org.eellm.checkpoint.huggingface.family;

import com.fasterxml.jackson.databind.node.TextNode;
import java.util.List;
import java.util.stream.Stream;
import org.eellm.checkpoint.huggingface.family.Family.TensorNames;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.NormPlacement;
import org.eellm.config.ModelConfigBuilder;
import org.eellm.model.parameter.ParameterName;

/**
 * Gemma 2 and the text models of Gemma 3: norms around both branches, centred at zero, a tanh-GELU
 * gate, embeddings times the root of their width, most layers with a window.
 */
final class GemmaFamilies {
  static final Family GEMMA_2 =
      Family.of(
          "gemma2",
          "Gemma2ForCausalLM",
          """
          {"num_key_value_heads": 4, "head_dim": 256, "rms_norm_eps": 1e-6,
           "tie_word_embeddings": true, "query_pre_attn_scalar": 256, "sliding_window": 4096,
           "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
          """,
          with(new RopeField(10_000), new LayersField((from, layer) -> layer % 2 == 0, true)),
          new Names());

  /**
   * Norms of each head's query and key, and another base of frequencies where there are windows.
   */
  static final Family GEMMA_3 =
      Family.of(
          "gemma3_text",
          "Gemma3ForCausalLM",
          """
          {"vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216,
           "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
           "head_dim": 256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-6,
           "tie_word_embeddings": true, "query_pre_attn_scalar": 256, "sliding_window": 4096,
           "bos_token_id": 2, "eos_token_id": 1}
          """,
          with(
              new RopeField(1_000_000),
              LayersField.slidingTheta(
                  "rope_local_base_freq",
                  (from, layer) -> (layer + 1) % from.positive("sliding_window_pattern", 6) != 0,
                  10_000),
              Field.always((from, into) -> into.qkNorm(true))),
          new Names());

  private GemmaFamilies() {}

  private static List<Field> with(Field... own) {
    return Stream.concat(
            CommonFields.with(
                Field.only("hidden_activation", TextNode.valueOf("gelu_pytorch_tanh")),
                CommonFields.ATTENTION_BIAS,
                Field.of(
                    (from, into) ->
                        into.attentionScale(1 / Math.sqrt(from.number("query_pre_attn_scalar"))),
                    (from, into) -> {
                      double scale = from.attention(0).scale();
                      into.put("query_pre_attn_scalar", Math.round(1 / (scale * scale)));
                    }),
                Field.switched(
                    "attn_logit_softcapping",
                    ModelConfig::attentionSoftcap,
                    ModelConfigBuilder::attentionSoftcap),
                Field.switched(
                    "final_logit_softcapping",
                    ModelConfig::logitSoftcap,
                    ModelConfigBuilder::logitSoftcap),
                Field.always(
                    (from, into) ->
                        into.activation(Activation.GEGLU_TANH)
                            .normPlacement(NormPlacement.AROUND)
                            .zeroCenteredNorm(true)
                            .embeddingScale(Math.sqrt(from.positive("hidden_size")))))
                .stream(),
            Stream.of(own))
        .toList();
  }

  /** A layer's norms have other names; a model that also sees has its text model within. */
  private static final class Names implements TensorNames {
    @Override
    public Place place(ParameterName name, ModelConfig model) {
      return new Place(
          name.toString()
              .replace(".post_attention_layernorm.", ".pre_feedforward_layernorm.")
              .replace(".attention_output_norm.", ".post_attention_layernorm.")
              .replace(".mlp_output_norm.", ".post_feedforward_layernorm."));
    }

    @Override
    public List<String> prefixes() {
      return List.of("model.", "language_model.model.", "model.language_model.");
    }

    @Override
    public boolean leftOut(String tensor) {
      return tensor.matches("(model\\.)?(vision_tower|multi_modal_projector)\\..*");
    }
  }
}
