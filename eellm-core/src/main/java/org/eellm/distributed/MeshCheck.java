package org.eellm.distributed;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.collective.Reduction;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** Does a sum over every axis of a world, checks it, and measures it. */
public final class MeshCheck {
  private static final int ROUNDS = 20;
  private static final long LARGE = 1L << 21;

  /**
   * The time of an all-reduce of float32, as seen by one rank.
   *
   * @param axis such as {@code dp}
   * @param size ranks along it
   * @param seconds for a single number
   * @param bytesPerSecond of the tensor's size, for 8 MiB
   */
  public record Axis(String axis, int size, double seconds, double bytesPerSecond) {}

  private MeshCheck() {}

  /**
   * Checks all axes that have more than one rank; all ranks call this.
   *
   * @throws DistributedException if a rank does not answer, or a sum is wrong
   */
  public static List<Axis> run(World world) {
    List<Axis> axes = new ArrayList<>();
    check("tp", world, world.tp(), axes);
    check("cp", world, world.cp(), axes);
    check("dp", world, world.dp(), axes);
    check("pp", world, world.pp(), axes);
    world.all().barrier();
    return axes;
  }

  private static void check(String axis, World world, Communicator ranks, List<Axis> axes) {
    if (ranks.size() == 1) {
      return;
    }
    double small = seconds(axis, world, ranks, 1);
    double large = seconds(axis, world, ranks, LARGE);
    axes.add(new Axis(axis, ranks.size(), small, LARGE * Float.BYTES / large));
  }

  /** The quickest of some sums of {@code count} ones. */
  private static double seconds(String axis, World world, Communicator ranks, long count) {
    double best = Double.MAX_VALUE;
    for (int round = 0; round < ROUNDS; round++) {
      try (Scope scope = Scope.open()) {
        Tensor ones = Tensors.zeros(ScalarType.Float, world.device(), count);
        ones.add_(Tensors.scalar(1));
        Torch.synchronize(world.device());
        long start = System.nanoTime();
        ranks.allReduce(ones, Reduction.SUM).await();
        Torch.synchronize(world.device());
        best = Math.min(best, (System.nanoTime() - start) / 1e9);
        float sum = Tensors.toFloats(ones.narrow(0, count - 1, 1))[0];
        if (sum != ranks.size()) {
          throw new DistributedException(
              "%d ones add up to %s over %s at %s; a link or the transport is broken"
                  .formatted(ranks.size(), sum, axis, world.mesh().name(world.rank())));
        }
      }
    }
    return best;
  }
}
