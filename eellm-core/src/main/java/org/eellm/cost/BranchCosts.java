package org.eellm.cost;

import java.util.List;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.Experts;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.ParallelConfig.PipelineSchedule;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout.Slice;
import org.eellm.config.TrainConfig.Device;
import org.eellm.config.TrainConfig.Recompute;

/**
 * The work of a microbatch in the parts of a model, as eellm's branches and heads do it.
 * Elementwise operations count the bytes that they read and write; eellm's own kernels, which do in
 * one pass what libtorch does in several, move fewer.
 */
public final class BranchCosts {
  /** Bytes that libtorch's integer operations read and write to draw if an entry is dropped. */
  private static final double DRAWING_BYTES = 73;

  /** Reads and writes of a score where it is capped: by a factor, tanh and a factor again. */
  private static final double CAP_PASSES = 6;

  private final MicrobatchShape shape;
  private final Hardware hardware;
  private final Architecture architecture;
  private final Recompute recompute;

  private final List<AttentionShape> attentions;
  private final List<LowRankMaps> changes; // of a layer
  private final boolean dropsChanges;
  private final boolean learns; // matrices do
  private final boolean attentionDropout;
  private final boolean hiddenDropout;
  private final boolean distilled;
  private final boolean postponesWeights;
  private final Hardware.Connection connection;
  private final Hardware.Connection ring;

  public BranchCosts(RunConfig config, Hardware hardware) {
    this.shape = MicrobatchShape.of(config, hardware.device());
    this.hardware = hardware;
    this.architecture = config.architecture();
    this.recompute = config.train().recompute();
    this.attentionDropout = config.model().attentionDropout() > 0;
    this.attentions = AttentionShape.ofRank(config, hardware);
    Learning learning = config.tune().learning();
    this.changes = LowRankMaps.of(config.model(), learning, shape.ranks());
    this.dropsChanges = config.tune().lora().dropout() > 0;
    this.learns = !(learning instanceof Learning.Adapter);
    this.hiddenDropout = config.model().hiddenDropout() > 0;
    this.distilled = config.exits().distillation() > 0;
    this.postponesWeights = config.parallel().schedule() == PipelineSchedule.ZERO_BUBBLE;
    this.connection = hardware.connection(config.parallel().tp());
    this.ring = hardware.connection(config.parallel().tp() * config.parallel().cp());
  }

  /** A slice's layers forward, and its embedding. */
  public OperationCost forward(Slice slice) {
    OperationCost layers = layersForward(slice);
    return slice.hasEmbedding() ? layers.plus(embedding()) : layers;
  }

  private OperationCost layersForward(Slice slice) {
    return attentions(slice, this::attentionForward)
        .plus(mlpsForward(slice))
        .plus(ofChanges(this::changeForward).times(slice.layers()));
  }

  /** Something of the attentions of all of a slice's layers. */
  private OperationCost attentions(Slice slice, Function<AttentionShape, OperationCost> cost) {
    return IntStream.range(slice.firstLayer(), slice.endLayer())
        .mapToObj(attentions::get)
        .collect(Collectors.groupingBy(Function.identity(), Collectors.counting()))
        .entrySet()
        .stream()
        .map(like -> cost.apply(like.getKey()).times(like.getValue()))
        .reduce(OperationCost.NONE, OperationCost::plus);
  }

  /** A slice's layers backward. */
  public OperationCost backward(Slice slice) {
    OperationCost layers =
        attentions(slice, this::attentionBackward)
            .plus(mlpBackward().plus(ofChanges(this::changeBackward)).times(slice.layers()));
    if (recompute == Recompute.FULL) {
      layers = layers.plus(layersForward(slice));
    }
    return slice.hasEmbedding() && learns ? layers.plus(embedding()) : layers;
  }

  private OperationCost ofChanges(Function<LowRankMaps, OperationCost> cost) {
    return changes.stream().map(cost).reduce(OperationCost.NONE, OperationCost::plus);
  }

  private OperationCost changeForward(LowRankMaps maps) {
    OperationCost work = inner(maps);
    for (long out : maps.outs()) {
      work = work.plus(product(maps.rank(), out));
    }
    return work;
  }

  /** What is dropped, and the product with A. */
  private OperationCost inner(LowRankMaps maps) {
    return droppedChange(maps).plus(product(maps.in(), maps.inner()));
  }

  private OperationCost droppedChange(LowRankMaps maps) {
    return dropsChanges
        ? elementwise((long) (dropoutPasses() * shape.tokens() * maps.in()), 1)
        : OperationCost.NONE;
  }

  /** The inner product again, and the gradients of both factors and of what they read. */
  private OperationCost changeBackward(LowRankMaps maps) {
    OperationCost work =
        inner(maps)
            .plus(gradient(maps.in(), maps.inner(), 1))
            .plus(product(maps.inner(), maps.in()))
            .plus(droppedChange(maps));
    for (long out : maps.outs()) {
      work = work.plus(product(out, maps.rank())).plus(gradient(maps.rank(), out, 1));
    }
    return maps.byOutputs() ? work.plus(gather()) : work;
  }

  /**
   * The part of {@link #backward} that computes the gradients of the layers' matrices. Where they
   * come later, ranks that share out tokens gather both factors for them.
   */
  public OperationCost weights(Slice slice) {
    OperationCost gathers = gather().plus(gather()).times(2);
    return weightGradient(shape.hidden(), shape.query() + shape.keyValue())
        .plus(weightGradient(shape.query(), shape.hidden()))
        .plus(weightGradient(shape.hidden(), shape.inner()))
        .plus(weightGradient(shape.active(), shape.hidden()))
        .plus(postponesWeights ? gathers : OperationCost.NONE)
        .times(slice.layers());
  }

  /** A slice's heads, forward and backward. */
  public OperationCost heads(Slice slice) {
    ExitLayout exits = architecture.exits();
    OperationCost exit = distilled ? output().plus(teacher()) : output();
    if (exits.norm()) {
      exit = exit.plus(norm()).plus(normBackward());
    }
    if (exits.mlp()) {
      exit = exit.plus(mlpForward()).plus(mlpBackward());
    }
    if (exits.block()) {
      AttentionShape block = attentions.getLast();
      exit = exit.plus(attentionForward(block)).plus(attentionBackward(block));
      exit = exit.plus(mlpForward()).plus(mlpBackward());
    }
    OperationCost all = exit.times(slice.exits().size());
    return slice.hasFinalHead() ? all.plus(output()).plus(norm()).plus(normBackward()) : all;
  }

  private OperationCost attentionForward(AttentionShape attention) {
    long wide = shape.query() + shape.keyValue();
    OperationCost work =
        norms()
            .plus(product(shape.hidden(), wide))
            .plus(elementwise((shape.fused() ? 2 : 4) * shape.tokens() * wide, 3))
            .plus(scores(attention, 1, shape.fused() ? 2 : 4))
            .plus(elementwise(2 * shape.tokens() * shape.query(), 2 * parts(attention)))
            .plus(product(shape.query(), shape.hidden()))
            .plus(residual())
            .plus(parallelResidual(4));
    return work.plus(goRound(attention, 1, shape.bytes(), 0)).plus(gather()).plus(reduce());
  }

  private OperationCost attentionBackward(AttentionShape attention) {
    long wide = shape.query() + shape.keyValue();
    OperationCost work =
        productBackward(shape.query(), shape.hidden())
            .plus(scores(attention, 2, shape.fused() ? 3 : 7))
            .plus(elementwise(6 * shape.tokens() * shape.query(), 8 * parts(attention)))
            .plus(elementwise((shape.fused() ? 2 : 4) * shape.tokens() * wide, 4))
            .plus(productBackward(shape.hidden(), wide))
            .plus(normsBackward())
            .plus(residual())
            .plus(parallelResidual(5));
    if (shape.ring() > 1 || recompute == Recompute.SELECTIVE) {
      work = work.plus(scores(attention, attention.fused() ? 1 : 0.5, shape.fused() ? 2 : 4));
    }
    if (attention.capped() && shape.ring() == 1) {
      work = work.plus(scores(attention, 0.5, 4)); // again, for the cap's derivative
    }
    return work.plus(goRound(attention, 2, shape.bytes(), Float.BYTES))
        .plus(backwardGathers())
        .plus(reduce());
  }

  /**
   * The way of keys and values round the ring beside the products of {@link #scores}, and of their
   * gradients, which go home in the end. What the products hide where the hardware can do that is
   * not counted.
   *
   * @param attention whose keys and values
   * @param share as of the scores
   * @param bytes of a number of keys and values
   * @param gradientBytes of a number of their gradients
   */
  private OperationCost goRound(
      AttentionShape attention, double share, int bytes, int gradientBytes) {
    int ranks = shape.ring();
    if (ranks == 1) {
      return OperationCost.NONE;
    }
    double numbers = (double) shape.tokens() * shape.keyValue();
    double seconds =
        (ranks - 1) * ring.message().seconds(numbers * bytes)
            + (gradientBytes == 0 ? 0 : ranks * ring.message().seconds(numbers * gradientBytes));
    double hidden = hardware.overlaps() ? seconds(scores(attention, share, 0)) : 0;
    return exchange(Math.max(0, seconds - hidden));
  }

  private OperationCost mlpsForward(Slice slice) {
    long experts = architecture.model().layersWithExperts(slice.firstLayer(), slice.endLayer());
    OperationCost dense = mlpForward().times(slice.layers() - experts);
    return experts == 0 ? dense : dense.plus(expertsForward().times(experts));
  }

  /** Each expert multiplies with its rows, of which so many are evenly theirs, and adds them up. */
  private OperationCost expertsForward() {
    Experts experts = architecture.model().experts();
    long choices = shape.tokens() * experts.perToken();
    long active = experts.hiddenSize() / shape.ranks();
    double matrices = 3.0 * Math.min(choices, experts.count()) * shape.hidden() * active;
    OperationCost products =
        new OperationCost(
            6.0 * choices * shape.hidden() * active,
            0,
            (matrices + choices * (6.0 * shape.hidden() + 8.0 * active)) * shape.bytes(),
            8.0 * experts.count(),
            0);
    return norms()
        .plus(product(shape.hidden(), experts.count()))
        .plus(products)
        .plus(residual())
        .plus(parallelResidual(2))
        .plus(gather())
        .plus(reduce());
  }

  private OperationCost mlpForward() {
    OperationCost work =
        norms()
            .plus(product(shape.hidden(), shape.inner()))
            .plus(activation(shape.fused() ? 0 : 2))
            .plus(product(shape.active(), shape.hidden()))
            .plus(residual())
            .plus(parallelResidual(2));
    return work.plus(gather()).plus(reduce());
  }

  private OperationCost mlpBackward() {
    OperationCost work =
        productBackward(shape.active(), shape.hidden())
            .plus(activation(shape.fused() ? 2 : 8))
            .plus(productBackward(shape.hidden(), shape.inner()))
            .plus(normsBackward())
            .plus(residual())
            .plus(parallelResidual(4));
    return work.plus(backwardGathers()).plus(reduce());
  }

  /**
   * An output matrix and the cross entropy: logits, their gradient, that of the stream and that of
   * the matrix.
   */
  private OperationCost output() {
    double logits = (double) shape.tokens() * shape.vocabulary();
    double chunks = Math.ceilDiv(shape.tokens(), shape.headTokens());
    double width = shape.vocabulary() * (double) shape.hidden();
    double softmax = logits * (shape.fused() && shape.ranks() == 1 ? 4 * shape.bytes() : 28);
    OperationCost work =
        new OperationCost(
            4 * logits * shape.hidden(),
            0,
            softmax
                + 3 * logits * shape.bytes()
                + chunks * width * 2 * shape.bytes()
                + 5.0 * shape.ofTokens(shape.hidden()),
            13 * chunks,
            0);
    return work.plus(weightGradient(shape.hidden(), shape.vocabulary(), chunks))
        .plus(exchange(chunks * lossSums()))
        .plus(gather())
        .plus(reduce());
  }

  /** The final head's probabilities for an exit, and what they change of its gradient. */
  private OperationCost teacher() {
    double logits = (double) shape.tokens() * shape.vocabulary();
    double chunks = Math.ceilDiv(shape.tokens(), shape.headTokens());
    double softmax = logits * (shape.fused() && shape.ranks() == 1 ? 4 * shape.bytes() : 28);
    return new OperationCost(
            2 * logits * shape.hidden(), 0, softmax + 5 * logits * shape.bytes(), 8 * chunks, 0)
        .plus(exchange(chunks * lossSums()));
  }

  private OperationCost embedding() {
    return elementwise(3 * shape.rows() * shape.hidden(), 4).plus(reduce());
  }

  /** x W^T. */
  private OperationCost product(long in, long out) {
    double operands =
        (double) shape.tokens() * (in + out) * shape.bytes() + (double) in * out * shape.bytes();
    return new OperationCost(2.0 * shape.tokens() * in * out, 0, operands, 1, 0);
  }

  /** The gradients of x and W. */
  private OperationCost productBackward(long in, long out) {
    return product(out, in).plus(weightGradient(in, out));
  }

  private OperationCost weightGradient(long in, long out) {
    return weightGradient(in, out, 1);
  }

  /** The gradient of W, where it learns. */
  private OperationCost weightGradient(long in, long out, double parts) {
    return learns ? gradient(in, out, parts) : OperationCost.NONE;
  }

  /** The gradient of a matrix, which is added to a float32 sum for each part of the tokens. */
  private OperationCost gradient(long in, long out, double parts) {
    double operands =
        (double) shape.tokens() * (in + out) * shape.bytes()
            + parts * (double) in * out * accumulated();
    return new OperationCost(2.0 * shape.tokens() * in * out, 0, operands, 2 * parts, 0);
  }

  /** Bytes that adding an entry of a weight's gradient to its sum reads and writes. */
  private double accumulated() {
    return shape.bytes() == 4 ? 8 : 2.0 * shape.bytes() + 8;
  }

  /**
   * Attention's products.
   *
   * @param attention whose
   * @param share 1 for scores and mixing, 2 for their gradients
   * @param passes reads and writes of a score between the products
   */
  private OperationCost scores(AttentionShape attention, double share, double passes) {
    double headDim = architecture.model().headDim();
    if (attention.fused()) {
      double products = share == 2 ? 2.5 : share;
      return new OperationCost(0, products * 4.0 * attention.scores() * headDim, 0, share, 0);
    }
    double dropout = attentionDropout ? Math.ceil(share) * dropoutPasses() : 0;
    double cap = attention.capped() ? CAP_PASSES : 0;
    return new OperationCost(
        0,
        share * 4.0 * attention.scores() * headDim,
        attention.scores() * (2 * share + passes + dropout + cap) * shape.bytes(),
        share * 4 * attention.blocks(),
        0);
  }

  /** Parts that attention goes through a sequence by. */
  private static long parts(AttentionShape attention) {
    return attention.fused() ? 1 : attention.blocks();
  }

  /** Reads and writes of an entry that dropout makes: of itself, and of integers on a GPU. */
  private double dropoutPasses() {
    return hardware.device() == Device.CPU ? 2 : 2 + DRAWING_BYTES / shape.bytes();
  }

  private OperationCost activation(double more) {
    boolean gated = shape.inner() != shape.active();
    double passes = (gated ? 3 : 2) + more;
    return elementwise((long) (passes * shape.tokens() * shape.active()), 2);
  }

  /** A branch's norms. */
  private OperationCost norms() {
    return norm().times(architecture.model().normPlacement().norms());
  }

  private OperationCost normsBackward() {
    return normBackward().times(architecture.model().normPlacement().norms());
  }

  private OperationCost norm() {
    return elementwise(2 * shape.rows() * shape.hidden(), 1);
  }

  private OperationCost normBackward() {
    return shape.fused()
        ? elementwise(3 * shape.rows() * shape.hidden(), 2)
        : new OperationCost(0, 0, 60.0 * shape.rows() * shape.hidden(), 12, 0);
  }

  private OperationCost residual() {
    double passes = hiddenDropout ? 3 + dropoutPasses() : 3;
    return elementwise((long) (passes * shape.rows() * shape.hidden()), 1);
  }

  /**
   * Carrying a parallel layer's input past its attention, or its gradient back.
   *
   * @param passes reads and writes of a stream's element
   */
  private OperationCost parallelResidual(int passes) {
    return architecture.model().residual() == Residual.PARALLEL
        ? elementwise(passes * shape.rows() * shape.hidden(), 1)
        : OperationCost.NONE;
  }

  private OperationCost elementwise(long elements, long operations) {
    return new OperationCost(0, 0, (double) elements * shape.bytes(), operations, 0);
  }

  /** Of the output's gradient, and for a matrix's also of the input; again where these wait. */
  private OperationCost backwardGathers() {
    return gather().times(postponesWeights ? 3 : learns ? 2 : 1);
  }

  private OperationCost gather() {
    return exchange(shape.sharesRows() ? part(shape.ofTokens(shape.hidden())) : 0);
  }

  private OperationCost reduce() {
    if (shape.ranks() == 1) {
      return OperationCost.NONE;
    }
    double bytes = shape.ofTokens(shape.hidden());
    return exchange(shape.sharesRows() ? part(bytes) : allReduce(bytes));
  }

  /** An all-gather or a reduce-scatter of so many bytes in all. */
  private double part(double bytes) {
    return Collectives.part(connection.collective(), shape.ranks(), bytes);
  }

  private double allReduce(double bytes) {
    return 2 * part(bytes);
  }

  /**
   * The four all-reduces of a chunk's cross entropy, of a figure of each token: one that waits for
   * the slowest rank's logits, and three that find all ranks there.
   */
  private double lossSums() {
    double bytes = 4 * shape.headTokens();
    return allReduce(bytes) + 3 * 2 * Collectives.part(connection.message(), shape.ranks(), bytes);
  }

  private static OperationCost exchange(double seconds) {
    return new OperationCost(0, 0, 0, 0, seconds);
  }

  /** Seconds of some of this work. */
  public double seconds(OperationCost work) {
    return work.seconds(hardware, architecture.model().dtype());
  }

  public MicrobatchShape shape() {
    return shape;
  }
}
