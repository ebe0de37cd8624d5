package org.eellm.plan;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.eellm.config.ConfigException;
import org.eellm.config.Learning;
import org.eellm.config.ParallelConfig;
import org.eellm.config.ParallelConfig.Balance;
import org.eellm.config.ParallelConfig.PipelineSchedule;
import org.eellm.config.Placement;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.schedule.Schedule;

/**
 * Looks for the quickest way to train a model on some number of devices: mesh, split of the layers,
 * chunks of the schedule, place of the exits on boundaries, microbatch, recomputation. Global
 * batch, sequence length and model stay as they are, so that every candidate trains the same.
 * Schedules are one-forward-one-backward, interleaved where there are chunks, without fills.
 *
 * <p>It looks at all candidates. What does not fit is told by its memory, and what cannot be the
 * quickest by a lower bound of its time, before anything is simulated; neither changes the result.
 */
public final class MeshSearch {
  private static final List<Integer> CHUNKS = List.of(1, 2, 4);

  /** Microbatches, a stage, from which on no more of them are alive at a time. */
  private static final int FULL = 3;

  /**
   * What came out.
   *
   * @param considered candidates
   * @param impossible how many a setting refuses, by the refusal's key
   * @param tooLarge how many need more memory than a device has
   * @param nearest of those, the one that needs least
   * @param best of those that fit, the quickest of each mesh (tp, dp, pp), quickest first
   */
  public record Result(
      int considered,
      Map<String, Integer> impossible,
      int tooLarge,
      Optional<Plan> nearest,
      List<Plan> best) {
    public Result {
      impossible = Map.copyOf(impossible);
      best = List.copyOf(best);
    }
  }

  private record Pipes(int stages, int chunks, int microbatches) {}

  private record Sized(RunConfig config, long memory, double bound) {}

  private final RunConfig config;
  private final Hardware hardware;
  private final int devices;
  private final Map<Pipes, Schedule> schedules = new HashMap<>();
  private final Map<String, Integer> impossible = new TreeMap<>();

  private MeshSearch(RunConfig config, Hardware hardware, int devices) {
    this.config = config;
    this.hardware = hardware;
    this.devices = devices;
  }

  /**
   * Searches.
   *
   * @param count how many of the best meshes to tell, at least 1
   * @throws ConfigException as {@link Planner#plan} does for the run on any mesh
   */
  public static Result search(RunConfig config, Hardware hardware, int devices, int count) {
    return new MeshSearch(Planner.checked(config), hardware, devices).search(count);
  }

  private Result search(int count) {
    List<Sized> candidates = candidates();
    List<Sized> fitting =
        candidates.stream()
            .filter(candidate -> candidate.memory() <= hardware.memoryBytes())
            .sorted(Comparator.comparingDouble(Sized::bound))
            .toList();
    Map<String, Plan> byMesh = new TreeMap<>();
    for (Sized candidate : fitting) {
      if (candidate.bound() >= limit(byMesh, count)) {
        break; // The others' bounds are higher still.
      }
      Plan plan = Planner.plan(candidate.config(), hardware);
      byMesh.merge(mesh(candidate.config()), plan, MeshSearch::quicker);
    }
    Optional<Plan> nearest =
        candidates.stream()
            .filter(candidate -> candidate.memory() > hardware.memoryBytes())
            .min(Comparator.comparingLong(Sized::memory))
            .map(candidate -> Planner.plan(candidate.config(), hardware));
    return new Result(
        candidates.size() + impossible.values().stream().mapToInt(Integer::intValue).sum(),
        impossible,
        candidates.size() - fitting.size(),
        nearest,
        byMesh.values().stream()
            .sorted(Comparator.comparingDouble(plan -> plan.time().total()))
            .limit(count)
            .toList());
  }

  /** A step's time from which on a mesh would no longer be told. */
  private static double limit(Map<String, Plan> byMesh, int count) {
    return byMesh.values().stream()
        .map(plan -> plan.time().total())
        .sorted()
        .skip(count - 1L)
        .findFirst()
        .orElse(Double.POSITIVE_INFINITY);
  }

  private static String mesh(RunConfig config) {
    ParallelConfig parallel = config.parallel();
    return parallel.tp() + " " + parallel.dp() + " " + parallel.pp();
  }

  private static Plan quicker(Plan a, Plan b) {
    return b.time().total() < a.time().total() ? b : a;
  }

  private List<Sized> candidates() {
    List<Sized> sized = new ArrayList<>();
    for (int tp : divisors(hardware.devicesPerNode(), devices)) {
      for (int pp : divisors(config.model().numLayers(), devices / tp)) {
        int dp = devices / tp / pp;
        for (ParallelConfig mesh : variants(tp, dp, pp)) {
          for (int micro : microbatches(dp)) {
            for (Recompute recompute : Recompute.values()) {
              size(mesh, micro, recompute).ifPresent(sized::add);
            }
          }
        }
      }
    }
    return sized;
  }

  private Optional<Sized> size(ParallelConfig mesh, int micro, Recompute recompute) {
    try {
      RunConfig candidate = config.with(mesh, config.train().with(micro, recompute));
      return Optional.of(
          new Sized(
              candidate,
              Planner.fullestBytes(candidate, hardware, schedule(candidate)),
              Planner.leastSeconds(candidate, hardware)));
    } catch (ConfigException e) {
      impossible.merge(String.valueOf(e.getMessage()).replaceFirst(":.*", ""), 1, Integer::sum);
      return Optional.empty();
    }
  }

  private Schedule schedule(RunConfig candidate) {
    ParallelConfig mesh = candidate.parallel();
    int count = candidate.train().globalBatchSize();
    int microbatches = count / (candidate.train().microBatchSize() * mesh.dp());
    return schedules.computeIfAbsent(
        new Pipes(mesh.pp(), mesh.chunks(), Math.min(microbatches, FULL * mesh.pp())),
        pipes -> Pipeline.of(candidate).schedule(pipes.microbatches()));
  }

  /** Divisors of {@code of}, up to a limit. */
  private static List<Integer> divisors(int limit, int of) {
    return IntStream.rangeClosed(1, Math.min(limit, of))
        .filter(size -> of % size == 0)
        .boxed()
        .toList();
  }

  /** What else there is to choose of a mesh, as far as it makes a difference. */
  private List<ParallelConfig> variants(int tp, int dp, int pp) {
    List<ParallelConfig> variants = new ArrayList<>();
    Set<Object> seen = new HashSet<>();
    for (int chunks : pp == 1 ? List.of(1) : CHUNKS) {
      for (Balance balance : Balance.values()) {
        for (boolean preExit : List.of(false, true)) {
          for (boolean shareRows : tp == 1 ? List.of(false) : List.of(false, true)) {
            ParallelConfig mesh = variant(tp, dp, pp, chunks, balance, preExit, shareRows);
            if (seen.add(List.of(chunks, shareRows, split(mesh)))) {
              variants.add(mesh);
            }
          }
        }
      }
    }
    return variants;
  }

  /** Which layers and exits are where, or why that cannot be. */
  private Object split(ParallelConfig mesh) {
    try {
      return Placement.of(
          config.architecture(), mesh, config.data().sequenceLength(), Learning.EVERYTHING);
    } catch (ConfigException e) {
      return String.valueOf(e.getMessage());
    }
  }

  private ParallelConfig variant(
      int tp, int dp, int pp, int chunks, Balance balance, boolean preExit, boolean shareRows) {
    return new ParallelConfig(
        tp,
        dp,
        pp,
        shareRows,
        PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
        chunks,
        balance,
        List.of(),
        preExit,
        0,
        0,
        config.parallel().bucketMegabytes(),
        config.parallel().timeoutSeconds());
  }

  /** Powers of two that a replica's part of the batch can be cut into. */
  private List<Integer> microbatches(int dp) {
    int share = config.train().globalBatchSize() / dp;
    return IntStream.iterate(1, size -> size <= Math.max(1, share), size -> 2 * size)
        .filter(size -> size == 1 || share % size == 0)
        .boxed()
        .toList();
  }
}
