package org.eellm.distributed;

import java.time.Duration;
import java.util.Optional;
import org.eellm.distributed.launch.RankInfo;

/** The world that this process was started into. */
public final class Worlds {
  private Worlds() {}

  /** {@link #fromEnvironment(Mesh, Duration, DistributedBackend)} between CPUs. */
  public static World fromEnvironment(Mesh mesh, Duration timeout) {
    return fromEnvironment(mesh, timeout, DistributedBackend.GLOO);
  }

  /**
   * Joins the ranks that a launcher or a cluster's scheduler has started, or makes a world of one
   * where none has: see {@link RankInfo#detect}.
   *
   * @throws DistributedException if the mesh has another number of ranks, or if some do not come
   */
  public static World fromEnvironment(Mesh mesh, Duration timeout, DistributedBackend backend) {
    Optional<RankInfo> place = RankInfo.detect(System.getenv());
    if (place.isEmpty() && mesh.size() > 1) {
      throw new DistributedException(
          "the mesh %s has %d ranks, but this process was started alone; add --nproc %d, or start"
                  .formatted(mesh, mesh.size(), mesh.size())
              + " it with srun, mpirun, torchrun or Kubernetes (docs/cluster.md)");
    }
    return World.connect(place.orElse(RankInfo.ALONE), mesh, timeout, backend);
  }
}
