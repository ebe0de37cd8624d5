package org.eellm.model.parameter;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.eellm.model.parameter.ParameterName.OfExit;
import org.eellm.model.parameter.ParameterName.OfFinalNorm;
import org.eellm.model.parameter.ParameterName.OfLayer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ParameterNameTest {

  @Test
  void parse_everyKind_tellsItsParts() {
    assertThat(ParameterName.parse("model.embed_tokens.weight")).isEqualTo(ParameterName.TOKENS);
    assertThat(ParameterName.parse("model.embed_positions.weight"))
        .isEqualTo(ParameterName.POSITIONS);
    assertThat(ParameterName.parse("model.layers.12.mlp.up_proj.bias"))
        .isEqualTo(new OfLayer(12, "mlp.up_proj.bias"));
    assertThat(ParameterName.parse("model.norm.bias")).isEqualTo(new OfFinalNorm("bias"));
    assertThat(ParameterName.parse("lm_head.weight")).isEqualTo(ParameterName.OUTPUT);
    assertThat(ParameterName.parse("exits.6.block.self_attn.q_norm.weight"))
        .isEqualTo(new OfExit(6, "block", "self_attn.q_norm.weight"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "model.embed_tokens.weight",
        "model.embed_positions.weight",
        "model.layers.0.input_layernorm.weight",
        "model.norm.weight",
        "lm_head.weight",
        "exits.3.lm_head.weight",
        "exits.3.mlp.down_proj.weight"
      })
  void toString_ofAName_isThatName(String name) {
    assertThat(ParameterName.parse(name)).hasToString(name);
  }

  @ParameterizedTest
  @ValueSource(strings = {"model.layers.x.mlp", "transformer.wte.weight", "exits.3.norm", ""})
  void parse_aNameOfNoModel_refuses(String name) {
    assertThatThrownBy(() -> ParameterName.parse(name))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(name + " is no parameter of a model");
  }

  @Test
  void kinds_areTheSameInLayersAndInBlocksOfExits() {
    for (String of : new String[] {"model.layers.0.", "exits.2.block."}) {
      assertThat(ParameterName.parse(of + "self_attn.q_norm.weight").isOfHeadNorm()).isTrue();
      assertThat(ParameterName.parse(of + "self_attn.q_proj.weight").isOfHiddenMap()).isTrue();
      assertThat(ParameterName.parse(of + "mlp.down_proj.weight").isOfHiddenMap()).isTrue();
      assertThat(ParameterName.parse(of + "input_layernorm.weight").isOfAttention()).isTrue();
      assertThat(ParameterName.parse(of + "post_attention_layernorm.weight").isOfAttention())
          .isFalse();
    }
    assertThat(ParameterName.parse("exits.2.mlp.up_proj.weight").isOfHiddenMap()).isTrue();
    assertThat(ParameterName.parse("exits.2.lm_head.weight").isOfHiddenMap()).isFalse();
    assertThat(ParameterName.TOKENS.isOfHiddenMap()).isFalse();
  }

  @Test
  void biasOf_aWeight_isBesideIt() {
    assertThat(ParameterName.biasOf("exits.2.mlp.up_proj.weight"))
        .isEqualTo("exits.2.mlp.up_proj.bias");
  }
}
