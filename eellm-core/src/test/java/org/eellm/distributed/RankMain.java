package org.eellm.distributed;

import java.time.Duration;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.collective.DistributedBackend;
import org.eellm.distributed.collective.Reduction;
import org.eellm.distributed.collective.StreamBackend;
import org.eellm.distributed.collective.StreamBackend.Calls;
import org.eellm.distributed.launch.RankInfo;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/**
 * A rank of its own process, in the place its environment says: sums over all ranks until something
 * fails, and then prints why. Says {@code ready} after the first sum.
 */
final class RankMain {
  /** In place of a backend's name: {@link StreamBackend}. */
  static final String STREAM = "STREAM";

  private RankMain() {}

  public static void main(String[] args) {
    Duration timeout = Duration.ofMillis(Long.parseLong(args[0]));
    int size = Integer.parseInt(System.getenv("WORLD_SIZE"));
    try (World world = connect(new Mesh(1, 1, size), timeout, args[1])) {
      for (int round = 0; ; round++) {
        try (Scope scope = Scope.open()) {
          Tensor ones = Tensors.zeros(ScalarType.Float, Torch.cpu(), 1000);
          world.all().allReduce(ones, Reduction.SUM).await();
        }
        if (round == 0) {
          System.out.println("ready");
        }
      }
    } catch (DistributedException e) {
      System.out.println(e.getMessage());
    }
  }

  private static World connect(Mesh mesh, Duration timeout, String transport) {
    return transport.equals(STREAM)
        ? World.connect(
            RankInfo.detect(System.getenv()).orElseThrow(),
            mesh,
            timeout,
            store -> StreamBackend.factory(store, Calls.none()),
            (_, group) -> group)
        : World.fromEnvironment(mesh, timeout, DistributedBackend.valueOf(transport));
  }
}
