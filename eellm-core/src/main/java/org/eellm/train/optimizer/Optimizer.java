package org.eellm.train.optimizer;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.eellm.checkpoint.FlatStateShard;
import org.eellm.config.OptimizerConfig;
import org.eellm.distributed.collective.Communicator;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameters;

/** Changes parameters by their gradients, and remembers what it needs for that. */
public sealed interface Optimizer extends AutoCloseable permits AdamW, Muon {

  /**
   * The optimizer that a configuration names, with nothing remembered.
   *
   * @param ranges of the flat buffer, of each of which this rank updates its share
   * @param replicas the ranks that share the ranges out
   */
  static Optimizer of(
      Parameters parameters,
      OptimizerConfig config,
      List<FlatRange> ranges,
      Communicator replicas) {
    return switch (config.algorithm()) {
      case ADAMW -> new AdamW(parameters, config, shares(ranges, replicas));
      case MUON -> new Muon(parameters, config, ranges, replicas);
    };
  }

  /** The optimizer of a rank that has no others beside it. */
  static Optimizer of(Parameters parameters, OptimizerConfig config) {
    return of(parameters, config, List.of(FlatRange.all(parameters)), Communicator.singleRank());
  }

  /** This rank's shares of ranges. */
  static List<FlatRange> shares(List<FlatRange> ranges, Communicator replicas) {
    return ranges.stream().map(range -> range.share(replicas.rank(), replicas.size())).toList();
  }

  /** This rank's moments and master weights, which a checkpoint keeps. */
  List<FlatStateShard> state();

  /**
   * Updates the parameters of this rank's shares.
   *
   * @param gradients of each share, finished, of this step
   * @param gradientScale what the gradients are multiplied with: clipping
   * @param step 1 at the first update
   */
  void update(List<Tensor> gradients, double gradientScale, double learningRate, long step);

  /** Updates all parameters, where one rank has everything. */
  default void update(Gradients gradients, double gradientScale, double learningRate, long step) {
    update(List.of(gradients.flat()), gradientScale, learningRate, step);
  }

  @Override
  void close();
}
