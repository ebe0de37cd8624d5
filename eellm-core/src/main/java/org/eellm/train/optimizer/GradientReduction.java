package org.eellm.train.optimizer;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.Architecture;
import org.eellm.config.Learning;
import org.eellm.config.StageLayout;
import org.eellm.distributed.World;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.collective.Reduction;
import org.eellm.distributed.collective.WorkHandle;
import org.eellm.model.Decoder;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterName.Embedding;
import org.eellm.model.parameter.ParameterName.OfDraftHead;
import org.eellm.model.parameter.ParameterName.OfExit;
import org.eellm.model.parameter.ParameterName.OfFinalNorm;
import org.eellm.model.parameter.ParameterName.OfLayer;
import org.eellm.model.parameter.ParameterName.OutputMatrix;
import org.eellm.model.parameter.Parameters;
import org.eellm.model.parameter.Sharding;
import org.eellm.model.parameter.Weight;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.TrainException;

/**
 * Sums a step's gradients over the ranks that hold the same parameters, and shares out the sums
 * (ZeRO-1, arXiv 1910.02054): each of these ranks gets its piece of every bucket of the flat
 * buffer, updates it, and all gather the new parameters.
 *
 * <p>A bucket's sum over dp starts while the backward pass is still under way, as soon as the last
 * of its weights has its last contribution. Weights that other ranks hold copies of, too, are
 * summed at its end, in one collective over all ranks that hold one: a matrix tied across stages,
 * and what tensor-parallel ranks hold whole. Sums over dp of each copy's own would be rounded in
 * another order wherever a collective follows the nodes, and copies would drift apart.
 */
public final class GradientReduction implements AutoCloseable {
  private final RetainedTensors retained = new RetainedTensors();
  private final Decoder model;
  private final World world;
  private final Gradients gradients;
  private final List<Bucket> buckets = new ArrayList<>();
  private final List<Copies> copies;
  private final boolean[] complete;
  private final int[] lastContributions; // of each weight

  /**
   * @param range of the flat buffer
   * @param share this rank's piece of it
   * @param sum of the gradients of that piece
   * @param weights that have elements in it
   */
  private record Bucket(FlatRange range, FlatRange share, Tensor sum, List<Weight> weights) {}

  /**
   * Weights that the same ranks hold copies of.
   *
   * @param holders all of them
   */
  private record Copies(List<Weight> weights, Communicator holders) {}

  private final List<Optional<WorkHandle>> pending = new ArrayList<>();
  private final List<Optional<WorkHandle>> gathers = new ArrayList<>(); // empty, or by bucket

  /**
   * @param bucketBytes least size of a bucket
   */
  public GradientReduction(
      Decoder model, World world, StageLayout stageLayout, Gradients gradients, long bucketBytes) {
    this.model = model;
    this.world = world;
    this.gradients = gradients;
    Parameters parameters = model.parameters();
    complete = new boolean[parameters.weights().size()];
    copies =
        Stream.of(tied(stageLayout), replicated(parameters)).flatMap(Optional::stream).toList();
    lastContributions =
        parameters.weights().stream()
            .mapToInt(weight -> lastContribution(ParameterName.parse(weight.name())))
            .toArray();
    int dp = world.dp().size();
    try (Scope scope = Scope.open()) {
      for (FlatRange range : ranges(parameters, dp, bucketBytes / Float.BYTES)) {
        FlatRange share = range.share(world.dp().rank(), dp);
        Tensor sum =
            retained.retain(
                dp == 1
                    ? share.of(gradients.flat())
                    : Tensors.empty(ScalarType.Float, model.device(), share.length()));
        List<Weight> weights =
            parameters.weights().stream()
                .filter(weight -> range.common(FlatRange.of(weight)).length() > 0)
                .toList();
        buckets.add(new Bucket(range, share, sum, weights));
        pending.add(Optional.empty());
      }
    }
  }

  /** {@link Decoder#sharedOutputWeight}, if other stages have it, too. */
  private Optional<Copies> tied(StageLayout stageLayout) {
    if (model.learning() != Learning.EVERYTHING) {
      return Optional.empty(); // it stays as it is
    }
    int stages = world.mesh().pp();
    Architecture architecture = model.architecture();
    boolean tied = architecture.model().tieEmbeddings();
    List<Integer> holders =
        IntStream.range(0, stageLayout.slices().size())
            .filter(
                v -> {
                  StageLayout.Slice slice = stageLayout.slices().get(v);
                  return tied
                      ? architecture.holdsEmbedding(slice)
                      : architecture.usesOutputMatrix(slice);
                })
            .map(v -> v % stages)
            .distinct()
            .sorted()
            .boxed()
            .toList();
    if (holders.size() < 2 || !holders.contains(world.coordinate().pp())) {
      return Optional.empty();
    }
    List<Weight> shared =
        model.parameters().weights().stream()
            .filter(weight -> weight.name().equals(model.sharedOutputWeight()))
            .toList();
    return Optional.of(new Copies(shared, world.replicasOnStages(holders)));
  }

  /** What all tensor-parallel ranks hold whole. */
  private Optional<Copies> replicated(Parameters parameters) {
    List<Weight> whole =
        parameters.weights().stream().filter(w -> w.split() == Sharding.REPLICATED).toList();
    return world.mesh().tp() == 1 || whole.isEmpty()
        ? Optional.empty()
        : Optional.of(new Copies(whole, world.stage()));
  }

  /**
   * Whether this rank's gradient of a weight is a part of the sum over the ranks that hold it: not
   * where tensor-parallel ranks have all computed the same whole gradient, of which the first one's
   * counts. They have seen their own tokens alone or, with a norm on heads, their own heads; a
   * low-rank change, their own part of the matrix.
   */
  private boolean counts(Weight weight) {
    return weight.split() != Sharding.REPLICATED
        || model.parameters().tensorParallel().sequence()
        || ParameterName.parse(weight.name()).isOfHeadNorm()
        || ParameterName.isLowRank(weight.name())
        || world.coordinate().tp() == 0;
  }

  /** The flat buffer in pieces of at least {@code least} elements, each a multiple of dp long. */
  private static List<FlatRange> ranges(Parameters parameters, int dp, long least) {
    if (dp == 1) {
      return List.of(FlatRange.all(parameters));
    }
    List<FlatRange> ranges = new ArrayList<>();
    long total = parameters.flat().numel();
    long start = 0;
    for (Weight weight : parameters.weights()) {
      long end = (weight.offset() + weight.value().numel()) / dp * dp;
      if (end - start >= least) {
        ranges.add(new FlatRange(start, end - start));
        start = end;
      }
    }
    if (start < total) {
      ranges.add(new FlatRange(start, total - start));
    }
    return ranges;
  }

  /** The gradients that it sums. */
  public Gradients gradients() {
    return gradients;
  }

  /** Starts a step. */
  public void start() {
    gradients.start();
    Arrays.fill(complete, false);
  }

  /**
   * The last backward pass of the step through a stage has completed a branch, or the heads at the
   * stage's end: the weights of both are complete.
   */
  public void backwardDone(int branch) {
    if (world.dp().size() == 1) {
      return;
    }
    for (Weight weight : model.parameters().weights()) {
      if (lastContributions[weight.index()] == branch) {
        gradients.finish(weight);
        complete[weight.index()] = true;
      }
    }
    launchComplete();
  }

  /** The branch after which a weight gets nothing more, or -1 for the end of the backward pass. */
  private int lastContribution(ParameterName name) {
    boolean shared = name.toString().equals(model.sharedOutputWeight()) && servesSeveral();
    return switch (name) {
      case OfLayer ofLayer -> 2 * ofLayer.layer() + (name.isOfAttention() ? 0 : 1);
      case OfExit ofExit ->
          model.architecture().exits().mlp() ? 2 * ofExit.layer() - 1 : 2 * ofExit.layer();
      case Embedding _, OfDraftHead _ -> -1;
      case OfFinalNorm _, OutputMatrix _ ->
          shared ? -1 : 2 * model.architecture().model().numLayers();
    };
  }

  /** Whether heads or stages share {@link Decoder#sharedOutputWeight}. */
  private boolean servesSeveral() {
    long heads =
        model.heads().stream()
            .filter(head -> head.output().weight().name().equals(model.sharedOutputWeight()))
            .count();
    return heads > 1
        || copies.stream()
            .flatMap(each -> each.weights().stream())
            .anyMatch(weight -> weight.name().equals(model.sharedOutputWeight()));
  }

  private void launchComplete() {
    for (int i = buckets.size() - 1; i >= 0; i--) {
      Bucket bucket = buckets.get(i);
      if (pending.get(i).isEmpty()
          && bucket.weights().stream().allMatch(weight -> complete[weight.index()])) {
        Tensor range = bucket.range().of(gradients.flat());
        pending.set(i, Optional.of(world.dp().reduceScatter(bucket.sum(), range)));
      }
    }
  }

  /** Ends the step's sums: {@link #sums} then are those of all ranks. */
  public void finish() {
    awaitParameters(); // of heads that this step had no use for
    gradients.finish();
    if (world.dp().size() > 1) {
      Arrays.fill(complete, true);
      launchComplete();
      for (int i = 0; i < pending.size(); i++) {
        pending.get(i).orElseThrow().await();
        pending.set(i, Optional.empty());
      }
    }
    copies.forEach(this::sum);
  }

  private void sum(Copies of) {
    try (Scope scope = Scope.open()) {
      List<Tensor> pieces = new ArrayList<>();
      for (Weight weight : of.weights()) {
        Tensor piece = FlatRange.of(weight).of(gradients.flat());
        pieces.add(counts(weight) ? piece : torch.zeros_like(piece));
      }
      Tensor whole =
          pieces.size() == 1
              ? pieces.getFirst()
              : torch.cat(new TensorVector(pieces.toArray(Tensor[]::new)));
      of.holders().allReduce(whole, Reduction.SUM).await();
      if (pieces.size() == 1 && world.dp().size() == 1 && counts(of.weights().getFirst())) {
        return; // The sum is in its place.
      }
      long at = 0;
      for (Weight weight : of.weights()) {
        take(FlatRange.of(weight), whole.narrow(0, at, weight.value().numel()));
        at += weight.value().numel();
      }
    }
  }

  /** Replaces what shares have of a range. */
  private void take(FlatRange range, Tensor sum) {
    for (Bucket bucket : buckets) {
      FlatRange common = range.common(bucket.share());
      if (common.length() > 0) {
        Tensor share = common.from(bucket.share().start()).of(bucket.sum());
        share.copy_(common.from(range.start()).of(sum));
      }
    }
  }

  /** The ranges of the flat buffer of each of which this rank updates its share, in order. */
  public static List<FlatRange> ranges(Parameters parameters, World world, long bucketBytes) {
    return ranges(parameters, world.dp().size(), bucketBytes / Float.BYTES);
  }

  /** The summed gradient of this rank's share of each of {@link #ranges}. */
  public List<Tensor> sums() {
    return buckets.stream().map(Bucket::sum).toList();
  }

  /**
   * The sum of squares of this rank's part of the gradient. Over all ranks every parameter counts
   * once: one that tensor-parallel ranks all hold on the first of them, the embedding on the first
   * stage that has it.
   */
  public double squares() {
    try (Scope scope = Scope.open()) {
      // A GPU adds up, and is waited for once.
      Tensor squares = Tensors.zeros(ScalarType.Double, model.device());
      for (FlatRange counted : counted()) {
        for (Bucket bucket : buckets) {
          FlatRange common = counted.common(bucket.share());
          if (common.length() > 0) {
            squares.add_(AdamW.squares(common.from(bucket.share().start()).of(bucket.sum())));
          }
        }
      }
      return squares.item_double();
    }
  }

  /** The ranges of the flat buffer that count on this rank, neighbours joined. */
  private List<FlatRange> counted() {
    List<FlatRange> counted = new ArrayList<>();
    for (Weight weight : model.parameters().weights()) {
      if (!model.isMainReplica(weight.name(), weight.split())) {
        continue;
      }
      long end = weight.offset() + weight.value().numel();
      if (!counted.isEmpty() && counted.getLast().end() == weight.offset()) {
        long start = counted.removeLast().start();
        counted.add(new FlatRange(start, end - start));
      } else {
        counted.add(new FlatRange(weight.offset(), weight.value().numel()));
      }
    }
    return counted;
  }

  /**
   * After the update of this rank's pieces: starts to give every rank all parameters. They come
   * while the next step begins, which waits for those that it needs.
   */
  public void gatherParameters() {
    List<FlatRange> ranges = buckets.stream().map(Bucket::range).toList();
    startGathers(model.parameters().flat(), ranges, world.dp()).stream()
        .map(Optional::of)
        .forEach(gathers::add);
  }

  /**
   * Waits for the parameters of a branch and of heads before it; with -1 for the embedding and for
   * a matrix that several heads or stages use.
   */
  public void awaitParameters(int branch) {
    for (int i = 0; i < gathers.size(); i++) {
      if (buckets.get(i).weights().stream()
          .anyMatch(weight -> lastContributions[weight.index()] == branch)) {
        gathers.get(i).ifPresent(WorkHandle::await);
        gathers.set(i, Optional.empty());
      }
    }
  }

  /** Waits for all parameters. */
  public void awaitParameters() {
    gathers.forEach(gather -> gather.ifPresent(WorkHandle::await));
    gathers.clear();
  }

  /** Gives every rank what each has of the ranges of a flat buffer: its share. */
  public static void gather(Tensor flat, List<FlatRange> ranges, Communicator dp) {
    startGathers(flat, ranges, dp).forEach(WorkHandle::await);
  }

  /** None where this rank has everything itself. */
  private static List<WorkHandle> startGathers(
      Tensor flat, List<FlatRange> ranges, Communicator dp) {
    List<WorkHandle> started = new ArrayList<>();
    if (dp.size() > 1) {
      try (Scope scope = Scope.open()) {
        for (FlatRange range : ranges) {
          Tensor share = range.share(dp.rank(), dp.size()).of(flat);
          started.add(dp.allGather(range.of(flat), share));
        }
      }
    }
    return started;
  }

  /**
   * Compares what this rank holds with the copies that other ranks hold; each of them calls this.
   *
   * @throws TrainException if they differ in a bit; the message names the parameter
   */
  public void requireEqualCopies(long step) {
    awaitParameters();
    requireEqual(new Copies(model.parameters().weights(), world.dp()), step);
    copies.forEach(each -> requireEqual(each, step));
  }

  private void requireEqual(Copies of, long step) {
    if (of.holders().size() == 1 || of.weights().isEmpty()) {
      return;
    }
    try (Scope scope = Scope.open()) {
      Tensor least =
          torch.stack(
              new TensorVector(
                  of.weights().stream().map(GradientReduction::bits).toArray(Tensor[]::new)));
      Tensor most = least.clone();
      of.holders().allReduce(least, Reduction.MIN).await();
      of.holders().allReduce(most, Reduction.MAX).await();
      of.holders().barrier(); // Or what was broken off would read as a difference.
      long[] lowest = Tensors.toLongs(least);
      long[] highest = Tensors.toLongs(most);
      for (int i = 0; i < lowest.length; i++) {
        if (lowest[i] != highest[i]) {
          throw new TrainException(
              "step %d: %s is not the same on all of the %d ranks that hold it; go on from the checkpoint before with --resume, and test the memory of these machines"
                  .formatted(step, of.weights().get(i).name(), of.holders().size()));
        }
      }
    }
  }

  /** The sum of a weight's elements, their bits read as integers; any change of one changes it. */
  private static Tensor bits(Weight weight) {
    ScalarType integers =
        weight.value().element_size() == Float.BYTES ? ScalarType.Int : ScalarType.Short;
    return weight.value().view(integers).sum(new ScalarTypeOptional(ScalarType.Long));
  }

  @Override
  public void close() {
    retained.close();
  }
}
