package org.eellm.distributed;

import java.time.Duration;
import java.util.Optional;
import org.eellm.distributed.launch.RankPlace;

/** The world that this process was started into. */
public final class Worlds {
  private Worlds() {}

  /** {@link #fromEnvironment(Mesh, Duration, Transport)} between CPUs. */
  public static World fromEnvironment(Mesh mesh, Duration timeout) {
    return fromEnvironment(mesh, timeout, Transport.GLOO);
  }

  /**
   * Joins the ranks that a launcher or a cluster's scheduler has started, or makes a world of one
   * where none has: see {@link RankPlace#detect}.
   *
   * @throws DistributedException if the mesh has another number of ranks, or if some do not come
   */
  public static World fromEnvironment(Mesh mesh, Duration timeout, Transport transport) {
    Optional<RankPlace> place = RankPlace.detect(System.getenv());
    if (place.isEmpty() && mesh.size() > 1) {
      throw new DistributedException(
          "the mesh %s has %d ranks, but this process was started alone; add --nproc %d, or start"
                  .formatted(mesh, mesh.size(), mesh.size())
              + " it with srun, mpirun, torchrun or Kubernetes (docs/cluster.md)");
    }
    return World.connect(place.orElse(RankPlace.ALONE), mesh, timeout, transport);
  }
}
