package org.eellm.cli.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.eellm.schedule.Costs;

/**
 * A model cut into virtual stages, as {@code eellm schedule} simulates it: how many layers each
 * has, and which heads. Time is in forward passes of one layer; a layer's backward pass takes twice
 * that.
 *
 * @param layers for each virtual stage, its number of layers
 * @param exits for each virtual stage, the layers, from 1, whose output its exits read
 * @param finalHead on the last virtual stage
 */
record SimulatedLayout(List<Integer> layers, List<List<Integer>> exits, FinalHead finalHead) {
  private static final double BACKWARD = 2;

  /** On which side of a boundary between virtual stages the exit on it runs. */
  enum Boundary {
    BEFORE,
    BEHIND
  }

  /** Whether the final head learns in the step, or is left out as in tuning. */
  enum FinalHead {
    LEARNS,
    IDLE
  }

  /** Cuts a model as evenly as possible; the first virtual stages have what is left over. */
  static SimulatedLayout of(
      int totalLayers,
      int virtualStages,
      List<Integer> exitLayers,
      Boundary boundary,
      FinalHead finalHead) {
    List<Integer> layers =
        IntStream.range(0, virtualStages)
            .mapToObj(v -> totalLayers / virtualStages + (v < totalLayers % virtualStages ? 1 : 0))
            .toList();
    List<List<Integer>> exits = new ArrayList<>();
    int begin = 0;
    for (int v = 0; v < virtualStages; v++) {
      int end = begin + layers.get(v);
      boolean first = v == 0;
      boolean last = v == virtualStages - 1;
      int from = boundary == Boundary.BEFORE || first ? begin + 1 : begin;
      int to = boundary == Boundary.BEFORE || last ? end : end - 1;
      exits.add(
          exitLayers.stream().filter(layer -> layer >= from && layer <= to).sorted().toList());
      begin = end;
    }
    return new SimulatedLayout(layers, exits, finalHead);
  }

  /** The virtual stages that have early exits. */
  List<Integer> exitStages() {
    return IntStream.range(0, exits.size()).filter(v -> !exits.get(v).isEmpty()).boxed().toList();
  }

  /** The heads of a virtual stage that learn: its exits, and the final head on the last one. */
  private int heads(int virtualStage) {
    boolean last = virtualStage == exits.size() - 1;
    return exits.get(virtualStage).size() + (last && finalHead == FinalHead.LEARNS ? 1 : 0);
  }

  /** The layers of a virtual stage, from 1, as in {@code 9-16}. */
  String layerRange(int virtualStage) {
    int begin = layers.subList(0, virtualStage).stream().mapToInt(Integer::intValue).sum();
    int end = begin + layers.get(virtualStage);
    return begin + 1 == end ? String.valueOf(end) : (begin + 1) + "-" + end;
  }

  /**
   * The virtual stages' costs, in forward passes of one layer.
   *
   * @param head a head forward and backward
   * @param transfer a message between stages
   */
  Costs costs(double head, double transfer) {
    List<Double> heads = IntStream.range(0, exits.size()).mapToObj(v -> heads(v) * head).toList();
    List<Double> backward = layers.stream().map(count -> BACKWARD * count).toList();
    List<Double> forward = layers.stream().map(Integer::doubleValue).toList();
    return new Costs(forward, backward, forward, heads, false, transfer);
  }
}
