package org.eellm.train;

import java.util.Arrays;
import java.util.List;
import org.eellm.distributed.World;

/**
 * A step's figures, in one sum over all ranks: every rank then reaches the same verdict.
 *
 * @param losses each head's mean loss
 * @param squares of the gradient's entries
 * @param waiting mean share of the step's time that ranks waited for other stages
 * @param memory resident bytes of each rank
 */
public record ReducedStepMetrics(
    double[] losses, double squares, double waiting, List<Long> memory) {

  /**
   * Sums over ranks; the ranks of a tensor-parallel group computed the same losses, so the first
   * contributes for all.
   */
  static ReducedStepMetrics of(
      World world, double[] losses, double squares, double waiting, long memory) {
    int ranks = world.mesh().size();
    int heads = losses.length;
    double[] mine = new double[heads + 2 + ranks];
    if (world.coordinate().tp() == 0) {
      System.arraycopy(losses, 0, mine, 0, heads);
    }
    mine[heads] = squares;
    mine[heads + 1] = waiting / ranks;
    mine[heads + 2 + world.rank()] = memory;
    double[] all = world.all().sum(mine);
    List<Long> resident =
        Arrays.stream(all, heads + 2, all.length).mapToObj(bytes -> (long) bytes).toList();
    return new ReducedStepMetrics(Arrays.copyOf(all, heads), all[heads], all[heads + 1], resident);
  }
}
