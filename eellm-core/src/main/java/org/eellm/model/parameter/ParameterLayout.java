package org.eellm.model.parameter;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.Experts;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.config.TuneConfig.Lora;
import org.eellm.model.parameter.ParameterName.OfLayer;
import org.eellm.model.parameter.ParameterSpec.Initial;

/**
 * Names, shapes and initial values of the parameters of an architecture or of slices of it; what
 * acts as one matrix stands in one group.
 */
public final class ParameterLayout {
  private final ModelConfig model;
  private final Learning learning;
  private final List<List<ParameterSpec>> groups = new ArrayList<>();

  private ParameterLayout(ModelConfig model, Learning learning) {
    this.model = model;
    this.learning = learning;
  }

  /**
   * The parameters that {@code slices} need. A tied matrix stands in every slice that multiplies
   * with it, and the final head also where it teaches exits.
   */
  public static List<List<ParameterSpec>> groups(
      Architecture architecture, List<Slice> slices, Learning learning) {
    ModelConfig model = architecture.model();
    ExitLayout exits = architecture.exits();
    ParameterLayout layout = new ParameterLayout(model, learning);
    boolean hasEmbedding = slices.stream().anyMatch(Slice::hasEmbedding);
    boolean hasExits = slices.stream().anyMatch(slice -> !slice.exits().isEmpty());
    boolean finalHead =
        slices.stream().anyMatch(Slice::hasFinalHead)
            || (hasExits && learning == Learning.EXITS_FROM_FINAL_HEAD);
    boolean outputMatrix = finalHead || (hasExits && exits.tieOutput());
    if (hasEmbedding || (outputMatrix && model.tieEmbeddings())) {
      layout.vocabulary("model.embed_tokens");
    }
    if (hasEmbedding && model.positionEmbedding() == PositionEmbedding.LEARNED) {
      layout.add(
          ParameterSpec.of(
              ParameterName.POSITIONS.toString(),
              Initial.NORMAL,
              Sharding.REPLICATED,
              model.maxPositions(),
              model.hiddenSize()));
    }
    for (Slice slice : slices) {
      for (int layer = slice.firstLayer(); layer < slice.endLayer(); layer++) {
        layout.layer(ParameterName.layer(layer), layer);
      }
    }
    if (finalHead) {
      layout.norm("model.norm");
    }
    if (outputMatrix && !model.tieEmbeddings()) {
      layout.vocabulary("lm_head");
    }
    slices.stream().flatMap(slice -> slice.exits().stream()).forEach(e -> layout.exit(e, exits));
    if (learning == Learning.DRAFT_HEAD) {
      layout.groups.addAll(draftHead(model));
    }
    return layout.groups;
  }

  /**
   * The parameters of a draft head: norms of the final hidden state and of the embedding, which are
   * projected together, a layer and a norm.
   */
  public static List<List<ParameterSpec>> draftHead(ModelConfig model) {
    ParameterLayout layout = new ParameterLayout(model, Learning.DRAFT_HEAD);
    layout.norm(ParameterName.DRAFT_HEAD + "hidden_norm");
    layout.norm(ParameterName.DRAFT_HEAD + "embedding_norm");
    layout.add(
        ParameterSpec.of(
            ParameterName.DRAFT_HEAD + "projection.weight",
            Initial.NORMAL,
            Sharding.REPLICATED,
            model.hiddenSize(),
            2L * model.hiddenSize()));
    layout.layer(ParameterName.DRAFT_HEAD + "layer", model.numLayers());
    layout.norm(ParameterName.DRAFT_HEAD + "norm");
    return layout.groups;
  }

  /** The names of a whole model's parameters that learn. */
  public static Set<String> learned(Architecture architecture, Learning learning) {
    return groups(architecture, StageLayout.whole(architecture).slices(), learning).stream()
        .flatMap(List::stream)
        .map(ParameterSpec::name)
        .filter(name -> learns(name, learning))
        .collect(Collectors.toUnmodifiableSet());
  }

  public static boolean learns(String name, Learning learning) {
    return switch (learning) {
      case Learning.Part.EVERYTHING -> true;
      case Learning.Part.EXITS, Learning.Part.EXITS_FROM_FINAL_HEAD ->
          name.startsWith(ParameterName.EXITS);
      case Learning.Part.DRAFT_HEAD -> name.startsWith(ParameterName.DRAFT_HEAD);
      case Learning.Adapter _ -> ParameterName.isLowRank(name);
    };
  }

  private void exit(int layer, ExitLayout exits) {
    String name = ParameterName.exit(layer);
    if (exits.mlp()) {
      mlp(name + ".mlp");
    }
    if (exits.block()) {
      layer(name + ".block", model.numLayers());
    }
    if (exits.norm()) {
      norm(name + ".norm");
    }
    if (!exits.tieOutput()) {
      vocabulary(name + ".lm_head");
    }
  }

  private void add(ParameterSpec... group) {
    groups.add(List.of(group));
  }

  private void vocabulary(String name) {
    add(
        ParameterSpec.of(
            name + ".weight",
            Initial.NORMAL,
            Sharding.ROWS,
            model.vocabSize(),
            model.hiddenSize()));
  }

  private void norm(String name) {
    add(ParameterSpec.of(name + ".weight", one(), Sharding.REPLICATED, model.hiddenSize()));
    if (model.normalization() == Normalization.LAYERNORM) {
      add(ParameterSpec.of(name + ".bias", Initial.ZEROS, Sharding.REPLICATED, model.hiddenSize()));
    }
  }

  /** How a norm's weight starts, so that it leaves values as they are. */
  private Initial one() {
    return model.zeroCenteredNorm() ? Initial.ZEROS : Initial.ONES;
  }

  private void layer(String name, int index) {
    if (model.normPlacement().before()) {
      norm(name + ".input_layernorm");
    }
    long query = (long) model.numHeads() * model.headDim();
    long keyValue = (long) model.numKeyValueHeads() * model.headDim();
    linears(
        Initial.NORMAL,
        Sharding.ROWS,
        model.hasQkvBias(),
        model.hiddenSize(),
        new String[] {
          name + ".self_attn.q_proj", name + ".self_attn.k_proj", name + ".self_attn.v_proj"
        },
        query,
        keyValue,
        keyValue);
    if (model.qkNorm()) {
      for (String of : List.of("q_norm", "k_norm")) {
        add(
            ParameterSpec.of(
                name + ".self_attn." + of + ".weight",
                one(),
                Sharding.REPLICATED,
                model.headDim()));
      }
    }
    if (model.qkNormWhole()) {
      add(ParameterSpec.of(name + ".self_attn.q_norm.weight", one(), Sharding.ROWS, query));
      add(ParameterSpec.of(name + ".self_attn.k_norm.weight", one(), Sharding.ROWS, keyValue));
    }
    linears(
        Initial.NORMAL_SCALED_BY_DEPTH,
        Sharding.COLUMNS,
        model.hasOutputBias(),
        query,
        new String[] {name + ".self_attn.o_proj"},
        model.hiddenSize());
    if (model.normPlacement().after()) {
      norm(name + ".attention_output_norm");
    }
    if (model.normPlacement().before()) {
      norm(name + ".post_attention_layernorm");
    }
    if (model.hasExperts(index)) {
      experts(name + ".mlp");
    } else {
      mlp(name + ".mlp");
    }
    if (model.normPlacement().after()) {
      norm(name + ".mlp_output_norm");
    }
  }

  private void experts(String name) {
    Experts experts = model.experts();
    add(
        ParameterSpec.of(
            ParameterName.router(name),
            Initial.NORMAL,
            Sharding.REPLICATED,
            experts.count(),
            model.hiddenSize()));
    for (int i = 0; i < experts.count(); i++) {
      mlp(ParameterName.expert(name, i), experts.hiddenSize());
    }
  }

  private void mlp(String name) {
    mlp(name, model.ffnHiddenSize());
  }

  private void mlp(String name, long ffn) {
    if (model.activation().gated()) {
      linears(
          Initial.NORMAL,
          Sharding.ROWS,
          model.linearBias(),
          model.hiddenSize(),
          new String[] {name + ".gate_proj", name + ".up_proj"},
          ffn,
          ffn);
    } else {
      linears(
          Initial.NORMAL,
          Sharding.ROWS,
          model.linearBias(),
          model.hiddenSize(),
          new String[] {name + ".up_proj"},
          ffn);
    }
    linears(
        Initial.NORMAL_SCALED_BY_DEPTH,
        Sharding.COLUMNS,
        model.linearBias(),
        ffn,
        new String[] {name + ".down_proj"},
        model.hiddenSize());
  }

  /**
   * Linear maps of one input, stacked; their biases stack alike. The bias of a map split by columns
   * is added to the sum and so is whole on every rank.
   */
  private void linears(
      Initial initial, Sharding split, boolean bias, long in, String[] names, long... outs) {
    Sharding biasSplit = split == Sharding.ROWS ? Sharding.ROWS : Sharding.REPLICATED;
    ParameterSpec[] weights = new ParameterSpec[names.length];
    ParameterSpec[] biases = new ParameterSpec[names.length];
    for (int i = 0; i < names.length; i++) {
      weights[i] = ParameterSpec.of(names[i] + ".weight", initial, split, outs[i], in);
      biases[i] = ParameterSpec.of(names[i] + ".bias", Initial.ZEROS, biasSplit, outs[i]);
    }
    add(weights);
    if (bias) {
      add(biases);
    }
    if (learning instanceof Learning.Adapter(Lora lora)) {
      lowRank(lora, weights);
    }
  }

  /**
   * The low-rank changes of the trunk's maps among those that are stacked. What reads the input is
   * stacked, too.
   */
  private void lowRank(Lora lora, ParameterSpec... weights) {
    List<ParameterSpec> changed =
        Arrays.stream(weights)
            .filter(
                weight ->
                    ParameterName.parse(weight.name()) instanceof OfLayer ofLayer
                        && lora.changes(ofLayer.module()))
            .toList();
    if (changed.isEmpty()) {
      return;
    }
    boolean rows = weights[0].split() == Sharding.ROWS;
    Sharding in = rows ? Sharding.REPLICATED : Sharding.COLUMNS;
    Sharding out = rows ? Sharding.ROWS : Sharding.REPLICATED;
    add(
        changed.stream()
            .map(
                weight ->
                    ParameterSpec.of(
                        ParameterName.lowRankIn(weight.name()),
                        Initial.KAIMING_UNIFORM,
                        in,
                        lora.rank(),
                        weight.shape().getLast()))
            .toArray(ParameterSpec[]::new));
    for (ParameterSpec weight : changed) {
      String name = ParameterName.lowRankOut(weight.name());
      add(ParameterSpec.of(name, Initial.ZEROS, out, weight.shape().getFirst(), lora.rank()));
    }
  }
}
