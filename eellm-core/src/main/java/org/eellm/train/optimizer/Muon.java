package org.eellm.train.optimizer;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.checkpoint.FlatStateShard;
import org.eellm.config.OptimizerConfig;
import org.eellm.cost.MuonCosts;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.collective.WorkHandle;
import org.eellm.model.parameter.Parameter;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.Parameters;
import org.eellm.model.parameter.Sharding;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Muon (Jordan 2024): a matrix between hidden states moves along its momentum with all singular
 * values made equal, so that directions which few tokens ask for are learned as fast as the others.
 * The step's entries are scaled to a root mean square of 0.2, as AdamW's have it, so that both
 * share a rate and a decay (arXiv 2502.16982, section 2.2). Embeddings, output matrices and vectors
 * are {@link AdamW}'s.
 *
 * <p>Query, key and value, and gate and up, are matrices of their own here, though they lie in one:
 * they are different maps, and the largest would set the others' scale.
 *
 * <p>A rank keeps the momentum of its shares of the flat buffer, wherever they cut a matrix. In a
 * step replicas gather all momenta, and tensor-parallel ranks the parts of each matrix. Each matrix
 * is orthogonalised by one replica, from which the others get their shares of the result.
 */
public final class Muon implements Optimizer {
  private static final double ROOT_MEAN_SQUARE = 0.2;

  private final RetainedTensors retained = new RetainedTensors();
  private final Parameters parameters;
  private final OptimizerConfig config;
  private final Communicator replicas;
  private final List<FlatRange> ranges;
  private final List<ShardRange> adamWRanges;
  private final AdamW adamW;
  private final List<State> states;
  private final List<Parameter> inner;
  private final List<List<Parameter>> batches;

  /**
   * Consecutive elements of a share.
   *
   * @param share its number
   * @param start of the piece in the share
   */
  private record ShardRange(int share, long start, FlatRange piece) {
    Tensor of(List<Tensor> shares) {
      return shares.get(share).narrow(0, start, piece.length());
    }
  }

  /**
   * @param master weights, float32; the parameters themselves where these are float32
   * @param momentum the gradient's exponential average, float32
   */
  private record State(ShardRange run, Tensor master, Tensor momentum) {}

  /**
   * Momenta of zero; master weights are the parameters as they are.
   *
   * @param ranges of the flat buffer, of each of which this rank updates its share
   * @param replicas the ranks that share the ranges out
   */
  public Muon(
      Parameters parameters,
      OptimizerConfig config,
      List<FlatRange> ranges,
      Communicator replicas) {
    this.parameters = parameters;
    this.config = config;
    this.replicas = replicas;
    this.ranges = List.copyOf(ranges);
    List<FlatRange> shares = Optimizer.shares(ranges, replicas);
    inner = parameters.trainable().stream().filter(Muon::isHiddenMatrix).toList();
    List<FlatRange> matrices = joined(inner);
    adamWRanges = runs(shares, between(matrices, parameters.flat().numel()));
    adamW = new AdamW(parameters, config, adamWRanges.stream().map(ShardRange::piece).toList());
    Tensor flat = parameters.flat();
    List<State> all = new ArrayList<>();
    try (Scope _ = Scope.open()) {
      for (ShardRange run : runs(shares, matrices)) {
        all.add(
            new State(
                run,
                retained.retain(run.piece().of(flat).to(ScalarType.Float)),
                retained.retain(
                    Tensors.zeros(ScalarType.Float, flat.device(), run.piece().length()))));
      }
    }
    states = List.copyOf(all);
    batches = batches(owned(inner));
  }

  /** Whether a parameter is a matrix between hidden states. */
  static boolean isHiddenMatrix(Parameter parameter) {
    return parameter.wholeShape().length == 2
        && ParameterName.parse(parameter.name()).isOfHiddenMap();
  }

  /** The parameters' ranges, neighbours joined. */
  private static List<FlatRange> joined(List<Parameter> parameters) {
    List<FlatRange> joined = new ArrayList<>();
    for (Parameter parameter : parameters) {
      boolean follows = !joined.isEmpty() && joined.getLast().end() == parameter.offset();
      long start = follows ? joined.removeLast().start() : parameter.offset();
      joined.add(new FlatRange(start, parameter.offset() + parameter.numel() - start));
    }
    return joined;
  }

  /** The ranges before, between and behind ascending pieces of {@code total} elements. */
  private static List<FlatRange> between(List<FlatRange> pieces, long total) {
    List<FlatRange> between = new ArrayList<>();
    long start = 0;
    for (FlatRange piece : pieces) {
      between.add(new FlatRange(start, piece.start() - start));
      start = piece.end();
    }
    between.add(new FlatRange(start, total - start));
    return between;
  }

  private static List<ShardRange> runs(List<FlatRange> shares, List<FlatRange> pieces) {
    List<ShardRange> runs = new ArrayList<>();
    for (int i = 0; i < shares.size(); i++) {
      FlatRange share = shares.get(i);
      for (FlatRange piece : pieces) {
        FlatRange common = share.common(piece);
        if (common.length() > 0) {
          runs.add(new ShardRange(i, common.start() - share.start(), common));
        }
      }
    }
    return List.copyOf(runs);
  }

  /** The matrices that this replica orthogonalises: the next one falls to who has least to do. */
  private List<Parameter> owned(List<Parameter> inner) {
    double[] work = new double[replicas.size()];
    List<Parameter> owned = new ArrayList<>();
    for (Parameter parameter : inner) {
      int owner = 0;
      for (int rank = 1; rank < work.length; rank++) {
        owner = work[rank] < work[owner] ? rank : owner;
      }
      long[] shape = parameter.wholeShape();
      work[owner] += MuonCosts.operations(shape[0], shape[1]);
      if (owner == replicas.rank()) {
        owned.add(parameter);
      }
    }
    return owned;
  }

  /** Matrices of one shape and split together. */
  private static List<List<Parameter>> batches(List<Parameter> matrices) {
    record Kind(List<Long> shape, Sharding split) {}
    Map<Kind, List<Parameter>> open = new LinkedHashMap<>();
    List<List<Parameter>> batches = new ArrayList<>();
    for (Parameter parameter : matrices) {
      long[] shape = parameter.wholeShape();
      Kind kind = new Kind(LongStream.of(shape).boxed().toList(), parameter.split());
      List<Parameter> batch = open.computeIfAbsent(kind, _ -> new ArrayList<>());
      if (!batch.isEmpty() && (batch.size() + 1) * shape[0] * shape[1] > MuonCosts.BATCH) {
        batches.add(List.copyOf(batch));
        batch.clear();
      }
      batch.add(parameter);
    }
    open.values().forEach(batch -> batches.add(List.copyOf(batch)));
    return List.copyOf(batches);
  }

  /** {@link AdamW#state}, and of the matrices {@code exp_avg} and {@code master} likewise. */
  @Override
  public List<FlatStateShard> state() {
    Stream<FlatStateShard> own =
        states.stream()
            .flatMap(
                state -> {
                  long start = state.run().piece().start();
                  FlatStateShard momentum = new FlatStateShard("exp_avg", start, state.momentum());
                  return isMixed()
                      ? Stream.of(new FlatStateShard("master", start, state.master()), momentum)
                      : Stream.of(momentum);
                });
    return Stream.concat(adamW.state().stream(), own).toList();
  }

  private boolean isMixed() {
    return Tensors.scalarType(parameters.flat()) != ScalarType.Float;
  }

  @Override
  public void update(List<Tensor> gradients, double gradientScale, double learningRate, long step) {
    try (Scope _ = Scope.open()) {
      adamW.update(
          adamWRanges.stream().map(run -> run.of(gradients)).toList(),
          gradientScale,
          learningRate,
          step);
      Tensor directions = directions(gradients, gradientScale);
      Tensor steps = replicas.size() == 1 ? directions : torch.zeros_like(directions);
      for (List<Parameter> batch : batches) {
        try (Scope _ = Scope.open()) {
          store(batch, NewtonSchulz.of(whole(batch, directions)), steps);
        }
      }
      if (replicas.size() > 1) {
        List<WorkHandle> sums = new ArrayList<>();
        for (FlatRange range : ranges) {
          Tensor share = range.share(replicas.rank(), replicas.size()).of(steps);
          sums.add(replicas.reduceScatter(share, range.of(steps))); // one rank's, and zeros
        }
        sums.forEach(WorkHandle::await);
      }
      apply(steps, learningRate * config.muonShare());
    }
  }

  /** Puts this rank's parts of orthogonal matrices where the flat buffer has them. */
  private void store(List<Parameter> batch, Tensor orthogonal, Tensor steps) {
    Communicator sharing = parameters.tensorParallel().group();
    for (int i = 0; i < batch.size(); i++) {
      Parameter parameter = batch.get(i);
      Tensor whole = orthogonal.select(0, i);
      parameter.of(steps).copy_(parameter.split().shard(whole, sharing.rank(), sharing.size()));
    }
  }

  /**
   * Goes on with the momenta.
   *
   * @return Nesterov's look ahead from them, in the compute format, laid out as the flat buffer;
   *     undefined beside matrices
   */
  private Tensor directions(List<Tensor> gradients, double gradientScale) {
    double keep = config.beta1();
    try (Scope scope = Scope.open()) {
      Tensor flat = parameters.flat();
      Tensor directions = Tensors.zeros(Tensors.scalarType(flat), flat.device(), flat.numel());
      for (State state : states) {
        try (Scope _ = Scope.open()) {
          Tensor gradient = state.run().of(gradients);
          Scalar gain = new Scalar((1 - keep) * gradientScale);
          state.momentum().mul_(new Scalar(keep)).add_(gradient, gain);
          state
              .run()
              .piece()
              .of(directions)
              .copy_(state.momentum().mul(new Scalar(keep)).add_(gradient, gain));
        }
      }
      GradientReduction.gather(directions, ranges, replicas);
      return scope.moveToOuter(directions);
    }
  }

  /** Matrices of one shape and split, whole, [count, out, in]. */
  private Tensor whole(List<Parameter> batch, Tensor directions) {
    try (Scope scope = Scope.open()) {
      Tensor[] parts =
          batch.stream()
              .map(parameter -> parameter.of(directions).unsqueeze(0))
              .toArray(Tensor[]::new);
      Tensor own = torch.cat(new TensorVector(parts), 0); // [count, out or part, in or part]
      Communicator sharing = parameters.tensorParallel().group();
      Sharding split = batch.getFirst().split();
      if (sharing.size() == 1 || split == Sharding.REPLICATED) {
        return scope.moveToOuter(own);
      }
      Tensor all =
          Tensors.empty(
              Tensors.scalarType(own),
              own.device(),
              sharing.size(),
              own.size(0),
              own.size(1),
              own.size(2));
      sharing.allGather(all, own).await();
      long[] shape = batch.getFirst().wholeShape();
      long[] order = split == Sharding.ROWS ? new long[] {1, 0, 2, 3} : new long[] {1, 2, 0, 3};
      return scope.moveToOuter(all.permute(order).reshape(own.size(0), shape[0], shape[1]));
    }
  }

  private void apply(Tensor steps, double learningRate) {
    Scalar decay = new Scalar(1 - learningRate * config.weightDecay());
    for (Parameter parameter : inner) {
      long[] shape = parameter.wholeShape();
      double rate = learningRate * ROOT_MEAN_SQUARE * Math.sqrt(Math.max(shape[0], shape[1]));
      FlatRange own = new FlatRange(parameter.offset(), parameter.numel());
      for (State state : states) {
        FlatRange piece = state.run().piece();
        FlatRange common = piece.common(own);
        if (common.length() > 0) {
          try (Scope _ = Scope.open()) {
            Tensor master = common.from(piece.start()).of(state.master());
            master.mul_(decay).add_(common.of(steps), new Scalar(-rate));
            if (isMixed()) {
              common.of(parameters.flat()).copy_(master);
            }
          }
        }
      }
    }
  }

  @Override
  public void close() {
    adamW.close();
    retained.close();
  }
}
