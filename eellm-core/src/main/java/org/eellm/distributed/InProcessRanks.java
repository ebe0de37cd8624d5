package org.eellm.distributed;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.function.Supplier;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.collective.CommunicatorFactory;
import org.eellm.distributed.collective.DistributedBackend;
import org.eellm.distributed.launch.Durations;
import org.eellm.distributed.launch.LocalLauncher;
import org.eellm.distributed.launch.RankInfo;
import org.eellm.distributed.launch.RankInfo.StoreHost;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.distributed.mesh.RankGroup;
import org.eellm.distributed.rendezvous.RendezvousStore;
import org.eellm.tensor.Torch;

/** Ranks as threads of this process, over memory that they share. */
public final class InProcessRanks {
  private static final Duration TIMEOUT = Duration.ofMinutes(2);

  /** What a rank may take, beyond the timeout of an operation, to end after another's failure. */
  private static final Duration GRACE = Duration.ofSeconds(5);

  private InProcessRanks() {}

  /** {@link #run(Mesh, int, Duration, Function)} with one CPU thread a rank, and two minutes. */
  public static <T> List<T> run(Mesh mesh, Function<World, T> body) {
    return run(mesh, 1, TIMEOUT, body);
  }

  /**
   * Runs {@code body} once for every rank, all at the same time, each in a thread of its own.
   *
   * @param threads CPU threads of each rank's operations
   * @param timeout how long any operation between ranks may take
   * @return the results in rank order
   * @throws DistributedException if a rank throws: names the first that did, with its exception as
   *     the cause. The others end when they next wait for one that has ended
   */
  public static <T> List<T> run(Mesh mesh, int threads, Duration timeout, Function<World, T> body) {
    return run(mesh, threads, timeout, InProcessRanks::transport, (_, group) -> group, body);
  }

  /** How ranks talk by default. */
  public static CommunicatorFactory transport(RendezvousStore store) {
    return new CommunicatorFactory(DistributedBackend.CPU, store, 0);
  }

  /** Runs {@code body} with other groups: see {@link World#connect}. */
  public static <T> List<T> run(
      Mesh mesh,
      int threads,
      Duration timeout,
      Function<RendezvousStore, CommunicatorFactory> transport,
      BiFunction<RankGroup, Communicator, Communicator> groups,
      Function<World, T> body) {
    AtomicReference<Optional<DistributedException>> first = new AtomicReference<>(Optional.empty());
    ExecutorService pool =
        Executors.newThreadPerTaskExecutor(
            Thread.ofPlatform().daemon().name("eellm-rank-", 0).factory());
    try (RendezvousStore store = RendezvousStore.host(LocalLauncher.LOOPBACK, 0, timeout)) {
      List<Future<T>> ranks = new ArrayList<>();
      for (int i = 0; i < mesh.size(); i++) {
        int rank = i;
        RankInfo place =
            new RankInfo(
                rank,
                mesh.size(),
                rank,
                mesh.size(),
                LocalLauncher.LOOPBACK,
                store.port(),
                new StoreHost.Launcher(0));
        Supplier<World> join =
            () ->
                mesh.size() == 1
                    ? World.singleRank()
                    : World.connect(place, mesh, timeout, transport, groups);
        ranks.add(pool.submit(() -> runRank(join, mesh, rank, threads, body, first)));
      }
      List<T> results = new ArrayList<>();
      for (Future<T> rank : ranks) {
        await(rank, timeout.plus(GRACE), first).ifPresent(results::add);
      }
      first
          .get()
          .ifPresent(
              failure -> {
                throw failure;
              });
      return results;
    } finally {
      pool.shutdownNow();
    }
  }

  private static <T> T runRank(
      Supplier<World> join,
      Mesh mesh,
      int rank,
      int threads,
      Function<World, T> body,
      AtomicReference<Optional<DistributedException>> first) {
    Torch.setThreads(threads);
    try (World world = join.get()) {
      try {
        return body.apply(world);
      } catch (RuntimeException | Error e) {
        recordFailure(first, mesh, rank, e); // Before the others fail for want of this one.
        world.fail(e);
        throw e;
      }
    } catch (RuntimeException | Error e) {
      recordFailure(first, mesh, rank, e);
      throw e;
    }
  }

  private static void recordFailure(
      AtomicReference<Optional<DistributedException>> first, Mesh mesh, int rank, Throwable e) {
    String message = mesh.name(rank) + ": " + Torch.firstLine(e);
    first.compareAndSet(Optional.empty(), Optional.of(new DistributedException(message, e)));
  }

  /** A rank's result; empty if it failed or if, after another's failure, it does not end. */
  private static <T> Optional<T> await(
      Future<T> rank, Duration limit, AtomicReference<Optional<DistributedException>> first) {
    long failed = System.nanoTime();
    while (true) {
      try {
        return Optional.of(rank.get(100, TimeUnit.MILLISECONDS));
      } catch (ExecutionException | CancellationException _) {
        return Optional.empty(); // Has been noted.
      } catch (TimeoutException _) {
        if (first.get().isEmpty()) {
          failed = System.nanoTime();
        } else if (Durations.sinceNanos(failed).compareTo(limit) > 0) {
          return Optional
              .empty(); // It computes on without end, in a thread that keeps nothing alive.
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new DistributedException("interrupted while ranks were running", e);
      }
    }
  }
}
