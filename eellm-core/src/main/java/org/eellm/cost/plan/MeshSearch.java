package org.eellm.cost.plan;

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
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.cost.Hardware;
import org.eellm.schedule.Schedule;

/**
 * Looks for the quickest way to train a model on some number of devices: mesh, split of the layers,
 * schedule, place of the exits on boundaries, microbatch, recomputation. Global batch, sequence
 * length, model and {@code cp} stay as they are, so that every candidate trains the same. Schedules
 * are one-forward-one-backward without fills, interleaved where there are chunks, and zero bubble.
 *
 * <p>It looks at all candidates. What does not fit is told by its memory, and what cannot be the
 * quickest, or the quickest of its mesh, by a lower bound of its time, before anything is
 * simulated; neither changes the result.
 */
public final class MeshSearch {
  private static final List<Integer> CHUNKS = List.of(1, 2, 4, 8);

  /** Microbatches, a stage, from which on no more of them are alive at a time. */
  static final int FULL = 3;

  /**
   * The best meshes, and counts of the candidates.
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

  private record ScheduleKey(PipelineSchedule schedule, int stages, int chunks, int microbatches) {}

  private record LayoutKey(int virtualStages, Balance balance, boolean preExit) {}

  /**
   * A candidate.
   *
   * @param memory bytes of the fullest rank
   * @param bound seconds that a step takes at least
   */
  private record Candidate(RunConfig config, Planner planner, long memory, double bound) {
    String mesh() {
      ParallelConfig parallel = config.parallel();
      return parallel.tp() + " " + parallel.dp() + " " + parallel.pp();
    }
  }

  /** A candidate that was simulated. */
  private record TimedCandidate(Planner planner, double seconds) {}

  private final RunConfig config;
  private final Hardware hardware;
  private final int devices;
  private final Map<ScheduleKey, Schedule> schedules = new HashMap<>();
  private final Map<LayoutKey, StageLayout> placements = new HashMap<>();
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
    List<Candidate> candidates = candidates();
    List<Candidate> fitting =
        candidates.stream()
            .filter(candidate -> candidate.memory() <= hardware.memoryBytes())
            .sorted(Comparator.comparingDouble(Candidate::bound))
            .toList();
    Map<String, TimedCandidate> best = new TreeMap<>();
    for (Candidate candidate : fitting) {
      if (candidate.bound() >= limit(best, count)) {
        break; // The others' bounds are higher still.
      }
      TimedCandidate quickest = best.get(candidate.mesh());
      if (quickest == null || candidate.bound() < quickest.seconds()) {
        double seconds = candidate.planner().plan().time().total();
        if (quickest == null || seconds < quickest.seconds()) {
          best.put(candidate.mesh(), new TimedCandidate(candidate.planner(), seconds));
        }
      }
    }
    Optional<Plan> nearest =
        candidates.stream()
            .filter(candidate -> candidate.memory() > hardware.memoryBytes())
            .min(Comparator.comparingLong(Candidate::memory))
            .map(candidate -> candidate.planner().plan());
    return new Result(
        candidates.size() + impossible.values().stream().mapToInt(Integer::intValue).sum(),
        impossible,
        candidates.size() - fitting.size(),
        nearest,
        best.values().stream()
            .sorted(Comparator.comparingDouble(TimedCandidate::seconds))
            .limit(count)
            .map(timed -> timed.planner().plan())
            .toList());
  }

  /** A step's time from which on a mesh would no longer be told. */
  private static double limit(Map<String, TimedCandidate> best, int count) {
    return best.values().stream()
        .mapToDouble(TimedCandidate::seconds)
        .sorted()
        .skip(count - 1L)
        .findFirst()
        .orElse(Double.POSITIVE_INFINITY);
  }

  private List<Candidate> candidates() {
    List<Candidate> sized = new ArrayList<>();
    int sharing = config.parallel().cp();
    if (devices % sharing != 0) {
      throw new ConfigException(
          "parallel.cp: %d, which a search leaves as it is, does not divide %d devices; use others"
              .formatted(sharing, devices));
    }
    for (int tp : divisors(hardware.devicesPerNode(), devices / sharing)) {
      for (int pp : divisors(config.model().numLayers(), devices / sharing / tp)) {
        int dp = devices / sharing / tp / pp;
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

  private Optional<Candidate> size(ParallelConfig mesh, int micro, Recompute recompute) {
    try {
      RunConfig candidate = config.with(mesh, config.train().with(micro, recompute));
      Planner planner = new Planner(new RunSchedules(candidate, stageLayout(mesh)), hardware);
      return Optional.of(
          new Candidate(
              candidate,
              planner,
              planner.fullestBytes(schedule(candidate)),
              planner.leastSeconds()));
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
        new ScheduleKey(
            mesh.schedule(), mesh.pp(), mesh.chunks(), Math.min(microbatches, FULL * mesh.pp())),
        scheduleKey ->
            new RunSchedules(candidate, stageLayout(mesh)).schedule(scheduleKey.microbatches()));
  }

  private StageLayout stageLayout(ParallelConfig mesh) {
    return placements.computeIfAbsent(
        new LayoutKey(mesh.pp() * mesh.chunks(), mesh.balance(), mesh.preExit()),
        _ ->
            StageLayout.of(
                config.architecture(), mesh, config.data().sequenceLength(), Learning.EVERYTHING));
  }

  /** Divisors of {@code of}, up to a limit. */
  private static List<Integer> divisors(int limit, int of) {
    return IntStream.rangeClosed(1, Math.min(limit, of))
        .filter(size -> of % size == 0)
        .boxed()
        .toList();
  }

  /** Variants of a mesh that differ in chunks, balance, exits' places, shared rows or schedule. */
  private List<ParallelConfig> variants(int tp, int dp, int pp) {
    List<ParallelConfig> variants = new ArrayList<>();
    Set<Object> seen = new HashSet<>();
    ParallelConfig plain = config.parallel().reshaped(tp, dp, pp);
    for (int chunks : pp == 1 ? List.of(1) : CHUNKS) {
      for (Balance balance : Balance.values()) {
        for (boolean preExit : List.of(false, true)) {
          for (boolean shareRows : tp == 1 ? List.of(false) : List.of(false, true)) {
            ParallelConfig mesh =
                plain.withStages(chunks, balance, preExit).withSequenceParallel(shareRows);
            if (seen.add(List.of(chunks, shareRows, split(mesh)))) {
              variants.add(mesh);
              if (pp > 1 && chunks == 1) {
                variants.add(mesh.withSchedule(PipelineSchedule.ZERO_BUBBLE));
              }
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
      return stageLayout(mesh);
    } catch (ConfigException e) {
      return String.valueOf(e.getMessage());
    }
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
