package org.eellm.train;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.eellm.config.ConfigFile;
import org.eellm.config.Learning;
import org.eellm.config.ParallelConfig;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Device;
import org.eellm.cost.plan.MemoryCheck;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.tensor.Torch;

/**
 * Runs on this process alone, with all its processors. Replicas in threads wait for each other once
 * a step, where the threads of one rank wait at every product, and for other programs with each of
 * them.
 */
public final class LocalReplicas {
  private LocalReplicas() {}

  /**
   * A run with its micro-batches shared out among replicas, as many as there are processors for. It
   * stays as it is on a GPU or a mesh, with {@code train.threads}, where only exits are tuned, and
   * where replicas would fill the memory.
   */
  public static RunConfig sharing(RunConfig run) {
    return sharing(run, Torch.processors());
  }

  static RunConfig sharing(RunConfig run, int processors) {
    if (!mayShare(run)) {
      return run;
    }
    int batch = run.train().microBatchSize();
    return IntStream.rangeClosed(1, Math.min(batch, processors))
        .filter(replicas -> batch % replicas == 0 && hasRoom(run, replicas))
        .mapToObj(replicas -> shared(run, replicas))
        .reduce(run, (_, more) -> more);
  }

  /**
   * A run as the one in a folder, which it is to go on with, shares out its micro-batches. It stays
   * as it is where they are of another size, or there is no run.
   */
  public static RunConfig sharingAs(Path output, RunConfig run) {
    if (!mayShare(run) || !RunFolder.hasRun(output)) {
      return run;
    }
    RunConfig before = ConfigFile.read(RunFolder.join(output).config(), List.of());
    int replicas = before.parallel().dp();
    int batch = replicas * before.train().microBatchSize();
    return areReplicas(before) && batch == run.train().microBatchSize()
        ? shared(run, replicas)
        : run;
  }

  private static boolean mayShare(RunConfig run) {
    return run.train().device() == Device.CPU
        && run.train().threads() == 0
        && run.parallel().worldSize() == 1
        && run.tune().learning() == Learning.EVERYTHING;
  }

  private static boolean hasRoom(RunConfig run, int replicas) {
    return ManagementFactory.getOperatingSystemMXBean() instanceof OperatingSystemMXBean system
        && MemoryCheck.isSmall(run, system.getTotalMemorySize(), replicas);
  }

  private static RunConfig shared(RunConfig run, int replicas) {
    return run.with(run.parallel().withDp(replicas), run.train().inParts(replicas));
  }

  /** Whether a run is of replicas on CPUs, or one, and of nothing else. */
  public static boolean areReplicas(RunConfig run) {
    return run.train().device() == Device.CPU && run.parallel().worldSize() == run.parallel().dp();
  }

  /**
   * Runs {@code body} for every rank of a run: {@link #areReplicas replicas} in threads of this
   * process, with an equal share of its processors unless {@code train.threads} says otherwise. For
   * any other mesh it runs as the only rank, which a trainer refuses by name.
   *
   * @return what the first rank returned
   */
  public static <T> T run(RunConfig run, Function<World, T> body) {
    ParallelConfig parallel = run.parallel();
    if (parallel.worldSize() == 1 || !areReplicas(run)) {
      return body.apply(World.singleRank());
    }
    int threads = run.train().threads();
    try {
      return InProcessRanks.run(
              new Mesh(1, parallel.dp(), 1),
              threads > 0 ? threads : Math.max(1, Torch.processors() / parallel.dp()),
              Duration.ofSeconds(parallel.timeoutSeconds()),
              body)
          .getFirst();
    } catch (DistributedException e) {
      throw e.getCause() instanceof RuntimeException failure ? failure : e;
    }
  }
}
