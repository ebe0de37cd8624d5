package org.eellm.train.optimizer;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
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

/**
 * Sums a step's gradients over the ranks that hold the same parameters, and shares out the sums
 * (ZeRO-1, arXiv 1910.02054): each data-parallel rank gets its piece of every bucket of the flat
 * buffer, updates it, and all gather the new parameters.
 *
 * <p>A bucket's sum over dp starts while the backward pass is still under way, as soon as the last
 * of its weights has its last contribution. Three things wait for the end of the backward pass: the
 * embedding, which it reaches last; a matrix tied across stages, which is first summed over these;
 * and what every tensor-parallel rank holds whole but saw only its tokens or heads for.
 */
public final class GradientReduction implements AutoCloseable {
  private final RetainedTensors retained = new RetainedTensors();
  private final Decoder model;
  private final World world;
  private final Gradients gradients;
  private final List<Bucket> buckets = new ArrayList<>();
  private final Optional<Communicator> tied;
  private final List<Weight> partial;
  private final boolean[] complete;
  private final int[] lastContributions; // of each weight

  /**
   * @param range of the flat buffer
   * @param share this rank's piece of it
   * @param sum of the gradients of that piece
   * @param weights that have elements in it
   */
  private record Bucket(FlatRange range, FlatRange share, Tensor sum, List<Weight> weights) {}

  private final List<Optional<WorkHandle>> pending = new ArrayList<>();

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
    tied = tied(stageLayout);
    partial = parameters.weights().stream().filter(this::isPartial).toList();
    lastContributions =
        parameters.weights().stream()
            .mapToInt(weight -> lastContribution(ParameterName.parse(weight.name())))
            .toArray();
    int dp = world.mesh().dp();
    try (Scope scope = Scope.open()) {
      for (FlatRange range : ranges(parameters, dp, bucketBytes / Float.BYTES)) {
        FlatRange share = range.share(world.coordinate().dp(), dp);
        Tensor sum =
            retained.retain(
                dp == 1
                    ? share.of(gradients.flat())
                    : Tensors.empty(ScalarType.Float, model.device(), share.length()));
        List<Weight> weights =
            parameters.weights().stream()
                .filter(w -> range.overlaps(w.offset(), w.offset() + w.value().numel()))
                .toList();
        buckets.add(new Bucket(range, share, sum, weights));
        pending.add(Optional.empty());
      }
    }
  }

  /**
   * The ranks of the stages that have {@link Decoder#sharedOutputWeight}, if there are others and
   * this is one.
   */
  private Optional<Communicator> tied(StageLayout stageLayout) {
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
    return holders.size() > 1 && holders.contains(world.coordinate().pp())
        ? Optional.of(world.stages(holders))
        : Optional.empty();
  }

  /**
   * Whether tensor-parallel ranks hold the weight whole, but each the gradient of its tokens alone,
   * or, with a norm on heads, of its heads.
   */
  private boolean isPartial(Weight weight) {
    return world.mesh().tp() > 1
        && weight.split() == Sharding.REPLICATED
        && (model.parameters().tensorParallel().sequence()
            || ParameterName.parse(weight.name()).isOfHeadNorm());
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
    if (world.mesh().dp() == 1) {
      return;
    }
    for (Weight weight : model.parameters().weights()) {
      if (lastContributions[weight.index()] == branch && !partial.contains(weight)) {
        complete(weight);
      }
    }
    launchComplete();
  }

  private void complete(Weight weight) {
    gradients.finish(weight);
    complete[weight.index()] = true;
  }

  /** The branch after which a weight gets nothing more, or -1 for the end of the backward pass. */
  private int lastContribution(ParameterName name) {
    boolean shared = name.toString().equals(model.sharedOutputWeight()) && servesSeveral();
    return switch (name) {
      case OfLayer ofLayer -> 2 * ofLayer.layer() + (name.isOfAttention() ? 0 : 1);
      case OfExit ofExit ->
          model.architecture().exits().mlp() ? 2 * ofExit.layer() - 1 : 2 * ofExit.layer();
      case Embedding _ -> -1;
      case OfFinalNorm _, OutputMatrix _ ->
          shared ? -1 : 2 * model.architecture().model().numLayers();
    };
  }

  /** Whether heads or stages share {@link Decoder#sharedOutputWeight}. */
  private boolean servesSeveral() {
    long heads =
        model.heads().stream()
            .filter(head -> head.output().name().equals(model.sharedOutputWeight()))
            .count();
    return tied.isPresent() || heads > 1;
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
    gradients.finish();
    Tensor flat = gradients.flat();
    Communicator tp = model.parameters().tensorParallel().group();
    List<WorkHandle> late = new ArrayList<>();
    for (Weight weight : partial) {
      FlatRange piece = new FlatRange(weight.offset(), weight.value().numel());
      late.add(tp.allReduce(piece.of(flat), Reduction.SUM));
    }
    late.forEach(WorkHandle::await);
    tied.ifPresent(
        group -> {
          Weight weight =
              model.parameters().weights().stream()
                  .filter(candidate -> candidate.name().equals(model.sharedOutputWeight()))
                  .findFirst()
                  .orElseThrow();
          FlatRange piece = new FlatRange(weight.offset(), weight.value().numel());
          group.allReduce(piece.of(flat), Reduction.SUM).await();
        });
    if (world.mesh().dp() > 1) {
      Arrays.fill(complete, true);
      launchComplete();
      for (int i = 0; i < pending.size(); i++) {
        pending.get(i).orElseThrow().await();
        pending.set(i, Optional.empty());
      }
    }
  }

  /** The ranges of the flat buffer of each of which this rank updates its share, in order. */
  public static List<FlatRange> ranges(Parameters parameters, World world, long bucketBytes) {
    return ranges(parameters, world.mesh().dp(), bucketBytes / Float.BYTES);
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
    double squares = 0;
    try (Scope scope = Scope.open()) {
      for (FlatRange counted : counted()) {
        for (Bucket bucket : buckets) {
          long from = Math.max(counted.start(), bucket.share().start());
          long to = Math.min(counted.end(), bucket.share().end());
          if (from < to) {
            squares +=
                AdamW.squares(bucket.sum().narrow(0, from - bucket.share().start(), to - from));
          }
        }
      }
    }
    return squares;
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

  /** After the update of this rank's pieces: gives every rank all parameters. */
  public void gatherParameters() {
    if (world.mesh().dp() == 1) {
      return;
    }
    try (Scope scope = Scope.open()) {
      Tensor flat = model.parameters().flat();
      List<WorkHandle> gathers = new ArrayList<>();
      for (Bucket bucket : buckets) {
        gathers.add(world.dp().allGather(bucket.range().of(flat), bucket.share().of(flat)));
      }
      gathers.forEach(WorkHandle::await);
    }
  }

  @Override
  public void close() {
    retained.close();
  }
}
