package org.eellm.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Generator;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * A decoder with early exits as an explicit chain: an embedding, {@code 2 numLayers} residual
 * branches (attention and MLP in turn), and heads that tap the stream between them (EE-LLM, arXiv
 * 2312.04916, section 2).
 */
public final class Decoder implements AutoCloseable {
  private static final long EMBEDDING_SITE = 0;

  private final Architecture architecture;
  private final Parameters parameters;
  private final List<List<ParameterSpec>> groups;
  private final List<Branch> trunk;
  private final List<Head> heads;
  private final Weight tokens;
  private final Optional<Weight> positions;
  private final Optional<Rope> rope;
  private final RowFactors rowFactors;

  private Decoder(Architecture architecture, Device device) {
    this.architecture = architecture;
    ModelConfig model = architecture.model();
    ExitLayout exits = architecture.exits();
    groups = ParameterLayout.groups(architecture);
    parameters = Parameters.allocate(groups, scalarType(model.dtype()), device);
    tokens = parameters.weight("model.embed_tokens.weight");
    positions =
        model.positionEmbedding() == PositionEmbedding.LEARNED
            ? Optional.of(parameters.weight("model.embed_positions.weight"))
            : Optional.empty();
    rope =
        model.positionEmbedding() == PositionEmbedding.ROPE
            ? Optional.of(new Rope(model, scalarType(model.dtype()), device))
            : Optional.empty();
    rowFactors = new RowFactors(model, rope, scalarType(model.dtype()), device);
    List<Branch> branches = new ArrayList<>();
    for (int layer = 0; layer < model.numLayers(); layer++) {
      branches.addAll(layer("model.layers." + layer, layer));
    }
    trunk = List.copyOf(branches);
    List<Head> all = new ArrayList<>();
    for (int exit = 0; exit < exits.layers().size(); exit++) {
      all.add(exitHead(exits.layers().get(exit), model.numLayers() + exit));
    }
    all.add(
        new Head(
            "final",
            model.numLayers(),
            2 * model.numLayers(),
            List.of(),
            Optional.of(Norm.of(model, parameters, "model.norm")),
            model.tieEmbeddings() ? tokens : parameters.weight("lm_head.weight")));
    heads = List.copyOf(all);
  }

  /** A decoder with uninitialised parameters: {@link #initialize} them or load a checkpoint. */
  public static Decoder allocate(Architecture architecture, Device device) {
    try (Scope scope = Scope.open()) {
      return new Decoder(architecture, device);
    }
  }

  private List<Branch> layer(String name, int slot) {
    ModelConfig model = architecture.model();
    return List.of(
        AttentionBranch.of(model, parameters, name, slot),
        MlpBranch.of(model, parameters, name + ".post_attention_layernorm", name + ".mlp", slot));
  }

  private Head exitHead(int layer, int slot) {
    ModelConfig model = architecture.model();
    ExitLayout exits = architecture.exits();
    String name = "exits." + layer;
    List<Branch> branches = new ArrayList<>();
    if (exits.mlp()) {
      String norm = "model.layers." + (layer - 1) + ".post_attention_layernorm";
      int site = slot + exits.layers().size(); // beyond the sites of all layers and blocks
      branches.add(MlpBranch.of(model, parameters, norm, name + ".mlp", site));
    }
    if (exits.block()) {
      branches.addAll(layer(name + ".block", slot));
    }
    return new Head(
        "exit_" + layer,
        layer,
        exits.mlp() ? 2 * layer - 1 : 2 * layer,
        List.copyOf(branches),
        exits.norm() ? Optional.of(Norm.of(model, parameters, name + ".norm")) : Optional.empty(),
        exits.tieOutput() ? tokens : parameters.weight(name + ".lm_head.weight"));
  }

  /** libtorch's name of a number format. */
  public static ScalarType scalarType(DataType type) {
    return switch (type) {
      case FLOAT32 -> ScalarType.Float;
      case BFLOAT16 -> ScalarType.BFloat16;
    };
  }

  /**
   * Draws initial weights: each parameter from a stream of its own, so that they depend on the seed
   * and its name alone.
   */
  public void initialize(long seed) {
    ModelConfig model = architecture.model();
    double scaled = model.initStd() / Math.sqrt(2.0 * model.numLayers());
    for (List<ParameterSpec> group : groups) {
      for (ParameterSpec spec : group) {
        try (Scope scope = Scope.open()) {
          Tensor value = parameters.get(spec.name()).value();
          switch (spec.initial()) {
            case ONES -> value.fill_(new Scalar(1.0));
            case ZEROS -> value.zero_();
            case NORMAL -> value.copy_(normal(spec, model.initStd(), seed));
            case NORMAL_SCALED_BY_DEPTH -> value.copy_(normal(spec, scaled, seed));
          }
        }
      }
    }
  }

  private static Tensor normal(ParameterSpec spec, double std, long seed) {
    Generator generator = torch.make_generator_cpu(Dropout.mix(seed, spec.name().hashCode()));
    return Tensors.empty(ScalarType.Float, org.eellm.tensor.Torch.cpu(), spec.shapeArray())
        .normal_(0, std, new GeneratorOptional(generator));
  }

  /** The model's shape. */
  public Architecture architecture() {
    return architecture;
  }

  /** All parameters. */
  public Parameters parameters() {
    return parameters;
  }

  /** The residual branches: attention and MLP of layer 1, of layer 2, and so on. */
  public List<Branch> trunk() {
    return trunk;
  }

  /** The exits' heads in order of depth, then the final head. */
  public List<Head> heads() {
    return heads;
  }

  /** Where the parameters live. */
  public Device device() {
    return parameters.flat().device();
  }

  /** The number format of weights and activations. */
  public ScalarType scalarType() {
    return Tensors.scalarType(parameters.flat());
  }

  /**
   * What the branches need to know of a batch of whole sequences.
   *
   * @param dropout absent in evaluation
   */
  public Pass pass(
      long batch, long sequence, Optional<Dropout> dropout, boolean recomputeAttention) {
    Tensor mask =
        torch
            .full(
                new long[] {sequence, sequence},
                new Scalar(Double.NEGATIVE_INFINITY),
                org.eellm.tensor.Torch.options(scalarType(), device()))
            .triu_(1);
    return new Pass(
        batch,
        sequence,
        mask,
        rope.map(present -> present.first(sequence)),
        dropout,
        recomputeAttention);
  }

  /** The stream before the first layer, [b s, hidden], of whole sequences of ids, int64 [b s]. */
  public Tensor embed(Tensor ids, Pass pass) {
    try (Scope scope = Scope.open()) {
      Tensor x = tokens.value().index_select(0, ids);
      if (positions.isPresent()) {
        x.view(pass.batch(), pass.sequence(), architecture.model().hiddenSize())
            .add_(positions.get().value().narrow(0, 0, pass.sequence()));
      }
      embeddingMask(x, pass).ifPresent(x::mul_);
      return scope.pass(x);
    }
  }

  /** Adds the embeddings' gradients from that of the stream, g [b s, hidden]. */
  public void embedBackward(Tensor ids, Tensor gradient, Pass pass, Gradients gradients) {
    try (Scope scope = Scope.open()) {
      Tensor g = embeddingMask(gradient, pass).map(gradient::mul).orElse(gradient);
      gradients.addRows(tokens, ids, g);
      if (positions.isPresent()) {
        Tensor sum =
            g.view(pass.batch(), pass.sequence(), architecture.model().hiddenSize())
                .sum(0); // [s, hidden]
        gradients.addRows(positions.get(), rowsFrom0(pass.sequence()), sum);
      }
    }
  }

  private Tensor rowsFrom0(long count) {
    return torch.arange(
        new Scalar(count), org.eellm.tensor.Torch.options(ScalarType.Long, device()));
  }

  private Optional<Tensor> embeddingMask(Tensor x, Pass pass) {
    return pass.dropout()
        .flatMap(dropout -> dropout.mask(x, architecture.model().hiddenDropout(), EMBEDDING_SITE));
  }

  /** The stream before the first layer, [n, hidden], of ids at positions, both int64 [n]. */
  public Tensor embed(Tensor ids, Tensor positionIds) {
    try (Scope scope = Scope.open()) {
      Tensor x = tokens.value().index_select(0, ids);
      positions.ifPresent(table -> x.add_(table.value().index_select(0, positionIds)));
      return scope.pass(x);
    }
  }

  /** What the branches need to know of a block's tokens at positions, int64 [n]. */
  public Rows rows(Tensor positionIds) {
    return rowFactors.at(positionIds);
  }

  @Override
  public void close() {
    rowFactors.close();
    rope.ifPresent(Rope::close);
    parameters.close();
  }
}
