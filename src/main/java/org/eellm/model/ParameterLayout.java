package org.eellm.model;

import java.util.ArrayList;
import java.util.List;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.model.ParameterSpec.Initial;

/**
 * Names, shapes and initial values of all parameters of an architecture; what acts as one matrix
 * stands in one group.
 */
final class ParameterLayout {
  private final ModelConfig model;
  private final List<List<ParameterSpec>> groups = new ArrayList<>();

  private ParameterLayout(ModelConfig model) {
    this.model = model;
  }

  static List<List<ParameterSpec>> groups(Architecture architecture) {
    ModelConfig model = architecture.model();
    ExitLayout exits = architecture.exits();
    ParameterLayout layout = new ParameterLayout(model);
    layout.vocabulary("model.embed_tokens");
    if (model.positionEmbedding() == PositionEmbedding.LEARNED) {
      layout.add(
          ParameterSpec.of(
              "model.embed_positions.weight",
              Initial.NORMAL,
              model.maxPositions(),
              model.hiddenSize()));
    }
    for (int layer = 0; layer < model.numLayers(); layer++) {
      layout.layer("model.layers." + layer);
    }
    layout.norm("model.norm");
    if (!model.tieEmbeddings()) {
      layout.vocabulary("lm_head");
    }
    for (int layer : exits.layers()) {
      String name = "exits." + layer;
      if (exits.mlp()) {
        layout.mlp(name + ".mlp");
      }
      if (exits.block()) {
        layout.layer(name + ".block");
      }
      if (exits.norm()) {
        layout.norm(name + ".norm");
      }
      if (!exits.tieOutput()) {
        layout.vocabulary(name + ".lm_head");
      }
    }
    return layout.groups;
  }

  private void add(ParameterSpec... group) {
    groups.add(List.of(group));
  }

  private void vocabulary(String name) {
    add(ParameterSpec.of(name + ".weight", Initial.NORMAL, model.vocabSize(), model.hiddenSize()));
  }

  private void norm(String name) {
    add(ParameterSpec.of(name + ".weight", Initial.ONES, model.hiddenSize()));
    if (model.normalization() == Normalization.LAYERNORM) {
      add(ParameterSpec.of(name + ".bias", Initial.ZEROS, model.hiddenSize()));
    }
  }

  private void layer(String name) {
    norm(name + ".input_layernorm");
    long query = (long) model.numHeads() * model.headDim();
    long keyValue = (long) model.numKeyValueHeads() * model.headDim();
    linears(
        Initial.NORMAL,
        model.hiddenSize(),
        new String[] {
          name + ".self_attn.q_proj", name + ".self_attn.k_proj", name + ".self_attn.v_proj"
        },
        query,
        keyValue,
        keyValue);
    linears(
        Initial.NORMAL_SCALED_BY_DEPTH,
        query,
        new String[] {name + ".self_attn.o_proj"},
        model.hiddenSize());
    norm(name + ".post_attention_layernorm");
    mlp(name + ".mlp");
  }

  private void mlp(String name) {
    long ffn = model.ffnHiddenSize();
    if (model.activation() == Activation.SWIGLU) {
      linears(
          Initial.NORMAL,
          model.hiddenSize(),
          new String[] {name + ".gate_proj", name + ".up_proj"},
          ffn,
          ffn);
    } else {
      linears(Initial.NORMAL, model.hiddenSize(), new String[] {name + ".up_proj"}, ffn);
    }
    linears(
        Initial.NORMAL_SCALED_BY_DEPTH,
        ffn,
        new String[] {name + ".down_proj"},
        model.hiddenSize());
  }

  /** Linear maps of one input, stacked; their biases stack alike. */
  private void linears(Initial initial, long in, String[] names, long... outs) {
    ParameterSpec[] weights = new ParameterSpec[names.length];
    ParameterSpec[] biases = new ParameterSpec[names.length];
    for (int i = 0; i < names.length; i++) {
      weights[i] = ParameterSpec.of(names[i] + ".weight", initial, outs[i], in);
      biases[i] = ParameterSpec.of(names[i] + ".bias", Initial.ZEROS, outs[i]);
    }
    add(weights);
    if (model.linearBias()) {
      add(biases);
    }
  }
}
