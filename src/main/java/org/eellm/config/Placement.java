package org.eellm.config;

import static org.eellm.config.ConfigException.require;

import java.util.ArrayList;
import java.util.List;
import org.eellm.config.ParallelConfig.Balance;

/**
 * Which part of the model each virtual stage of the pipeline holds.
 *
 * @param slices in the order data flows through them
 */
public record Placement(List<Slice> slices) {

  /**
   * Consecutive layers and the heads that belong to them.
   *
   * @param firstLayer the first layer, counted from 0
   * @param endLayer the layer after the last, counted from 0
   * @param exits layers, from 1, of the exits here; with {@code preExit} the first may be {@code
   *     firstLayer}, which reads the slice's input
   * @param embeds whether it begins with the embedding
   * @param concludes whether it ends with the final head
   */
  public record Slice(
      int firstLayer, int endLayer, List<Integer> exits, boolean embeds, boolean concludes) {
    public Slice {
      exits = List.copyOf(exits);
    }

    /** Number of layers. */
    public int layers() {
      return endLayer - firstLayer;
    }
  }

  public Placement {
    slices = List.copyOf(slices);
  }

  /** The model in one piece. */
  public static Placement whole(Architecture architecture) {
    return of(architecture, ParallelConfig.alone(), 1, Learning.EVERYTHING);
  }

  /**
   * Deals out the layers and exits.
   *
   * @param sequenceLength for the work of attention where the balance is by cost
   * @param learning says which layers there are to deal out
   * @throws ConfigException if there are more virtual stages than layers, or the given numbers do
   *     not add up
   */
  public static Placement of(
      Architecture architecture, ParallelConfig parallel, int sequenceLength, Learning learning) {
    int layers = learning.layers(architecture);
    int stages = parallel.pp() * parallel.chunks();
    require(
        stages <= layers,
        "parallel.pp",
        "%d stages x %d chunks are more than the %s %d layers; use at most pp %d with chunks 1"
            .formatted(
                parallel.pp(),
                parallel.chunks(),
                learning == Learning.EXITS ? "last exit's" : "model's",
                layers,
                layers));
    boolean onBoundary = parallel.preExit() && stages > 1;
    require(
        !onBoundary || !architecture.exits().mlp(),
        "parallel.pre_exit",
        "an exit with a branch MLP (exits.head mlp) takes the place of its layer's MLP and cannot"
            + " leave its stage; remove one of them");
    List<Integer> counts = parallel.layersPerStage();
    if (counts.isEmpty()) {
      counts =
          parallel.balance() == Balance.EVEN
              ? even(layers, stages)
              : byCost(architecture, stages, parallel.preExit(), sequenceLength, learning);
    }
    int sum = counts.stream().mapToInt(Integer::intValue).sum();
    require(
        sum == layers,
        "parallel.layers_per_stage",
        "%s adds up to %d, but the %s has %d layers; give it %d, such as %s"
            .formatted(
                counts,
                sum,
                learning == Learning.EXITS ? "last exit" : "model",
                layers,
                layers,
                even(layers, stages)));
    List<Slice> slices = new ArrayList<>();
    int first = 0;
    for (int count : counts) {
      slices.add(slice(architecture, first, first + count, parallel.preExit(), learning));
      first += count;
    }
    return new Placement(slices);
  }

  private static Slice slice(
      Architecture architecture, int first, int end, boolean preExit, Learning learning) {
    int layers = learning.layers(architecture);
    List<Integer> exits =
        architecture.exits().layers().stream()
            .filter(
                layer ->
                    preExit
                        ? first <= layer && (layer < end || (layer == layers && end == layers))
                        : first < layer && layer <= end)
            .toList();
    boolean concludes = end == layers && learning != Learning.EXITS;
    return new Slice(first, end, exits, first == 0, concludes);
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
    // best[s][n]: the least possible cost of the dearest of s slices over the last n layers.
    double[][] best = new double[stages + 1][layers + 1];
    int[][] choice = new int[stages + 1][layers + 1];
    for (int n = 0; n <= layers; n++) {
      best[0][n] = n == 0 ? 0 : Double.POSITIVE_INFINITY;
    }
    for (int s = 1; s <= stages; s++) {
      for (int n = 0; n <= layers; n++) {
        best[s][n] = Double.POSITIVE_INFINITY;
        for (int count = n - s + 1; count >= 1; count--) {
          int first = layers - n;
          Slice slice = slice(architecture, first, first + count, preExit, learning);
          double cost = Math.max(cost(architecture, slice, sequenceLength), best[s - 1][n - count]);
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
    ModelConfig model = architecture.model();
    ExitLayout exits = architecture.exits();
    double layer = layerWork(model, sequenceLength);
    double output = (double) model.vocabSize() * model.hiddenSize();
    double exit = output + (exits.mlp() ? mlpWork(model) : 0) + (exits.block() ? layer : 0);
    return slice.layers() * layer + slice.exits().size() * exit + (slice.concludes() ? output : 0);
  }

  private static double layerWork(ModelConfig model, int sequenceLength) {
    double query = (double) model.numHeads() * model.headDim();
    double keyValue = 2.0 * model.numKeyValueHeads() * model.headDim();
    return model.hiddenSize() * (2 * query + keyValue)
        + mlpWork(model)
        + 2.0 * sequenceLength * query;
  }

  private static double mlpWork(ModelConfig model) {
    int matrices = model.activation() == ModelConfig.Activation.SWIGLU ? 3 : 2;
    return (double) matrices * model.hiddenSize() * model.ffnHiddenSize();
  }
}
