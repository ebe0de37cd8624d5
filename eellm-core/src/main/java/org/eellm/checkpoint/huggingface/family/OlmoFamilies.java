package org.eellm.checkpoint.huggingface.family;

import java.util.List;
import java.util.stream.Stream;
import org.eellm.checkpoint.huggingface.family.Family.TensorNames;
import org.eellm.config.ModelConfig.NormPlacement;

/**
 * OLMo 2 and 3, with norms behind both branches, and OLMoE, with experts. All have norms over the
 * whole width of queries and of keys.
 */
final class OlmoFamilies {
  private static final RopeField ROPE = new RopeField(500_000);

  private static final TensorNames NAMES =
      (name, model) ->
          new Place(
              name.toString()
                  .replace(".attention_output_norm.", ".post_attention_layernorm.")
                  .replace(".mlp_output_norm.", ".post_feedforward_layernorm."));

  static final Family OLMO_2 =
      Family.of(
          "olmo2",
          "Olmo2ForCausalLM",
          "{\"rms_norm_eps\": 1e-5}",
          with(new RopeField(10_000)),
          NAMES);

  /** Three of four layers have a window, and frequencies that are not scaled. */
  static final Family OLMO_3 =
      Family.of(
          "olmo3",
          "Olmo3ForCausalLM",
          "{\"rms_norm_eps\": 1e-5, \"sliding_window\": 4096}",
          with(ROPE, LayersField.unscaled((from, layer) -> (layer + 1) % 4 != 0, ROPE)),
          NAMES);

  /** Norms are in front of branches, and all layers have experts. */
  static final Family OLMOE =
      Family.of(
          "olmoe",
          "OlmoeForCausalLM",
          """
          {"rms_norm_eps": 1e-5, "num_experts": 64, "num_experts_per_tok": 8}
          """,
          CommonFields.with(
              CommonFields.SILU,
              new RopeField(10_000),
              CommonFields.ATTENTION_BIAS,
              Field.always((from, into) -> into.qkNormWhole(true)),
              new ExpertsField("intermediate_size", false)),
          TensorNames.OURS);

  private OlmoFamilies() {}

  private static List<Field> with(Field... own) {
    return Stream.concat(
            CommonFields.with(
                CommonFields.SILU,
                CommonFields.ATTENTION_BIAS,
                Field.always(
                    (from, into) -> into.normPlacement(NormPlacement.AFTER).qkNormWhole(true)))
                .stream(),
            Stream.of(own))
        .toList();
  }
}
