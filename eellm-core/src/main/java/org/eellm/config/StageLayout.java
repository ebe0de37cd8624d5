package org.eellm.config;

import static org.eellm.config.ConfigException.require;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.eellm.config.ParallelConfig.Balance;

/**
 * Which part of the model each virtual stage of the pipeline holds.
 *
 * @param slices in the order data flows through them
 */
public record StageLayout(List<Slice> slices) {

  /**
   * Consecutive layers and the heads that belong to them.
   *
   * @param firstLayer the first layer, counted from 0
   * @param endLayer the layer after the last, counted from 0
   * @param exits layers, from 1, of the exits here; with {@code preExit} the first may be {@code
   *     firstLayer}, which reads the slice's input
   * @param hasEmbedding whether it begins with the embedding
   * @param hasFinalHead whether it ends with the final head
   */
  public record Slice(
      int firstLayer,
      int endLayer,
      List<Integer> exits,
      boolean hasEmbedding,
      boolean hasFinalHead) {
    public Slice {
      exits = List.copyOf(exits);
    }

    /** Number of layers. */
    public int layers() {
      return endLayer - firstLayer;
    }
  }

  public StageLayout {
    slices = List.copyOf(slices);
  }

  /** The model in one piece. */
  public static StageLayout whole(Architecture architecture) {
    return of(architecture, ParallelConfig.singleRank(), 1, Learning.EVERYTHING);
  }

  /**
   * Deals out the layers and exits.
   *
   * @param sequenceLength for the work of attention where the balance is by cost
   * @param learning says which layers there are to deal out
   * @throws ConfigException if there are more virtual stages than layers, or the given numbers do
   *     not add up
   */
  public static StageLayout of(
      Architecture architecture, ParallelConfig parallel, int sequenceLength, Learning learning) {
    requirePossible(architecture, parallel, learning);
    int layers = learning.layers(architecture);
    int stages = parallel.pp() * parallel.chunks();
    List<Integer> counts = parallel.layersPerStage();
    if (counts.isEmpty()) {
      counts =
          parallel.balance() == Balance.EVEN
              ? even(layers, stages)
              : byCost(architecture, stages, parallel.preExit(), sequenceLength, learning);
    }
    return dealt(
        counts, architecture.exits().layers(), parallel.preExit(), learning != Learning.EXITS);
  }

  /**
   * Deals out layers and exits evenly; the first virtual stages have what is left over.
   *
   * @param exits layers, from 1, ascending
   * @param finalHead whether the last virtual stage has it
   */
  public static StageLayout even(
      int layers, List<Integer> exits, int stages, boolean preExit, boolean finalHead) {
    return dealt(even(layers, stages), exits, preExit, finalHead);
  }

  private static StageLayout dealt(
      List<Integer> counts, List<Integer> allExits, boolean preExit, boolean finalHead) {
    int layers = counts.stream().mapToInt(Integer::intValue).sum();
    List<Slice> slices = new ArrayList<>();
    int next = 0;
    for (int count : counts) {
      int first = next;
      int end = first + count;
      List<Integer> exits =
          allExits.stream()
              .filter(exit -> first <= holder(exit, layers, preExit))
              .filter(exit -> holder(exit, layers, preExit) < end)
              .toList();
      slices.add(new Slice(first, end, exits, first == 0, end == layers && finalHead));
      next = end;
    }
    return new StageLayout(slices);
  }

  /** Refuses what {@link #of} refuses, without dealing out anything. */
  static void requirePossible(
      Architecture architecture, ParallelConfig parallel, Learning learning) {
    int layers = learning.layers(architecture);
    int stages = parallel.pp() * parallel.chunks();
    require(
        stages <= layers,
        "parallel.pp",
        "%d stages x %d chunks are more than the %s %d layers; use at most pp %d with chunks 1",
        parallel.pp(),
        parallel.chunks(),
        learning == Learning.EXITS ? "last exit's" : "model's",
        layers,
        layers);
    boolean onBoundary = parallel.preExit() && stages > 1;
    require(
        !onBoundary || !architecture.exits().mlp(),
        "parallel.pre_exit",
        "an exit with a branch MLP (exits.head mlp) takes the place of its layer's MLP and cannot"
            + " leave its stage; remove one of them");
    List<Integer> counts = parallel.layersPerStage();
    int sum = counts.stream().mapToInt(Integer::intValue).sum();
    require(
        counts.isEmpty() || sum == layers,
        "parallel.layers_per_stage",
        "%s adds up to %d, but the %s has %d layers; give it %d, such as %s",
        counts,
        sum,
        learning == Learning.EXITS ? "last exit" : "model",
        layers,
        layers,
        even(layers, stages));
  }

  /** The layer, counted from 0, on whose slice an exit is. */
  private static int holder(int exit, int layers, boolean preExit) {
    return preExit && exit < layers ? exit : exit - 1;
  }

  private static List<Integer> even(int layers, int stages) {
    List<Integer> counts = new ArrayList<>();
    for (int stage = 0; stage < stages; stage++) {
      counts.add(layers / stages + (stage < layers % stages ? 1 : 0));
    }
    return counts;
  }

  /**
   * The contiguous split whose dearest slice is cheapest; of equals, the one with the most layers
   * in front, where no head waits.
   */
  private static List<Integer> byCost(
      Architecture architecture,
      int stages,
      boolean preExit,
      int sequenceLength,
      Learning learning) {
    int layers = learning.layers(architecture);
    // before[n]: how many exits the first n layers hold.
    int[] before = new int[layers + 1];
    for (int exit : architecture.exits().layers()) {
      before[holder(exit, layers, preExit) + 1]++;
    }
    Arrays.parallelPrefix(before, Integer::sum);
    ForwardWork parts = ForwardWork.of(architecture, sequenceLength);
    // best[s][n]: the least possible cost of the dearest of s slices over the last n layers.
    double[][] best = new double[stages + 1][layers + 1];
    int[][] choice = new int[stages + 1][layers + 1];
    Arrays.fill(best[0], 1, layers + 1, Double.POSITIVE_INFINITY);
    for (int s = 1; s <= stages; s++) {
      for (int n = 0; n <= layers; n++) {
        best[s][n] = Double.POSITIVE_INFINITY;
        int first = layers - n;
        for (int count = n - s + 1; count >= 1; count--) {
          int exits = before[first + count] - before[first];
          boolean hasFinalHead = count == n && learning != Learning.EXITS;
          double cost = Math.max(parts.slice(count, exits, hasFinalHead), best[s - 1][n - count]);
          if (cost < best[s][n]) {
            best[s][n] = cost;
            choice[s][n] = count;
          }
        }
      }
    }
    List<Integer> counts = new ArrayList<>();
    int left = layers;
    for (int s = stages; s > 0; s--) {
      counts.add(choice[s][left]);
      left -= choice[s][left];
    }
    return counts;
  }

  /** Forward work of a slice for a token, in multiply-adds; backward is twice that everywhere. */
  public static double cost(Architecture architecture, Slice slice, int sequenceLength) {
    return ForwardWork.of(architecture, sequenceLength)
        .slice(slice.layers(), slice.exits().size(), slice.hasFinalHead());
  }
}
