package org.eellm.eval.sweep;

import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.SortedMap;
import org.eellm.decode.cost.Bound;
import org.eellm.decode.cost.StepTimings;
import org.eellm.decode.speculate.StepCosts;
import org.eellm.model.Head;

/**
 * Seconds that the parts of a decoding step take, of one text at a time.
 *
 * @param step whatever happens once in a step
 * @param rows of blocks that layers and the final head were measured with, ascending from 1
 * @param layers a layer's, for each of these
 * @param heads the final head's, for each of these
 * @param exits each exit's of one row, by layer
 * @param drafts the same of the ids that exits draft from
 * @param repeated what a row takes in all layers below each exit right after another one, as rows
 *     of drafts do, by layer
 * @param limit what a step can be no faster than; absent where it is not known
 */
public record DecodingCostModel(
    double step,
    List<Integer> rows,
    List<Double> layers,
    List<Double> heads,
    SortedMap<Integer, Double> exits,
    SortedMap<Integer, Double> drafts,
    SortedMap<Integer, Double> repeated,
    Optional<Limit> limit)
    implements StepCosts {
  /** Times one row's step from which on further rows are dear. */
  static final double DEAR = 1.2;

  /**
   * What steps of the full model can be no faster than.
   *
   * @param bound with one row
   * @param withinCache whether the weights fit the processor's last cache
   * @param dearRows the fewest rows measured that take more than {@value #DEAR} times what one row
   *     takes; absent where none do
   * @param dearRatio what these take, in times of one row; that of the most rows measured where
   *     none do
   */
  public record Limit(Bound bound, boolean withinCache, OptionalInt dearRows, double dearRatio) {

    /** In a sentence. */
    public String text() {
      String place = withinCache ? ", and the weights fit the processor's cache" : "";
      String further =
          dearRows.isPresent()
              ? "further rows are dear from %d on, which take %.2f times as long"
                  .formatted(dearRows.getAsInt(), dearRatio)
              : "no number of rows that was measured is dear: the most take %.2f times as long"
                  .formatted(dearRatio);
      return "A step of one row is bound by %s%s; %s.".formatted(bound, place, further);
    }
  }

  public DecodingCostModel {
    rows = List.copyOf(rows);
    layers = List.copyOf(layers);
    heads = List.copyOf(heads);
  }

  /** What steps took that were measured. */
  public static DecodingCostModel of(StepTimings costs) {
    return new DecodingCostModel(
        costs.overhead(),
        costs.rows(),
        costs.layers(),
        costs.heads(),
        costs.exits(),
        costs.drafts(),
        costs.repeated(),
        costs.bound().map(bound -> limit(bound, costs)));
  }

  private static Limit limit(Bound bound, StepTimings costs) {
    double one = costs.steps().getFirst();
    boolean withinCache = costs.withinCache().orElse(false);
    for (int i = 1; i < costs.steps().size(); i++) {
      double ratio = costs.steps().get(i) / one;
      if (ratio > DEAR) {
        return new Limit(bound, withinCache, OptionalInt.of(costs.rows().get(i)), ratio);
      }
    }
    return new Limit(bound, withinCache, OptionalInt.empty(), costs.steps().getLast() / one);
  }

  /** Of a layer and a block of rows; between and beyond those measured on straight lines. */
  double layer(int count) {
    return at(layers, count);
  }

  /** Of the final head that is asked of several rows, on the same lines. */
  double head(int count) {
    return at(heads, count);
  }

  /** Of the final head and one row. */
  double head() {
    return heads.getFirst();
  }

  /** Of an exit and one row. */
  double exit(int layer) {
    return of(exits, layer);
  }

  /** Of an exit's draft. */
  double draft(int layer) {
    return of(drafts, layer);
  }

  /** The same where exits are asked for the ids that they draft from, as gates ask them. */
  DecodingCostModel ofGates() {
    return new DecodingCostModel(step, rows, layers, heads, drafts, drafts, repeated, limit);
  }

  @Override
  public double overhead() {
    return step;
  }

  @Override
  public double full(Head finalHead, int count) {
    return finalHead.layer() * layer(count) + head(count);
  }

  /** A row of a draft mostly comes right after another one. */
  @Override
  public double below(Head exit, int count) {
    return count == 1 ? repeatedBelow(exit.layer()) : exit.layer() * layer(count);
  }

  @Override
  public double above(Head exit, Head finalHead, int count) {
    return (finalHead.layer() - exit.layer()) * layer(count) + head(count);
  }

  @Override
  public double draft(Head exit, int count) {
    return count * draft(exit.layer());
  }

  /** What was measured is all there is. */
  @Override
  public boolean learns() {
    return false;
  }

  /** Of all layers below an exit and a row that comes right after another one. */
  double repeatedBelow(int layer) {
    return of(repeated, layer);
  }

  private static double of(SortedMap<Integer, Double> byLayer, int layer) {
    Double seconds = byLayer.get(layer);
    if (seconds == null) {
      throw new IllegalArgumentException("no exit was measured after layer " + layer);
    }
    return seconds;
  }

  private double at(List<Double> figures, int count) {
    if (figures.size() == 1) {
      return count * figures.getFirst();
    }
    int above = 1;
    while (above < figures.size() - 1 && rows.get(above) < count) {
      above++;
    }
    double share = (double) (count - rows.get(above - 1)) / (rows.get(above) - rows.get(above - 1));
    return figures.get(above - 1) + share * (figures.get(above) - figures.get(above - 1));
  }
}
