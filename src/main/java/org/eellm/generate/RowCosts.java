package org.eellm.generate;

import java.util.Arrays;
import org.eellm.config.ParameterCount;
import org.eellm.model.Decoder;

/**
 * What steps cost here, learned from the steps themselves, in units of a branch with one row. How
 * much more several rows cost than one is the model's and the processor's own; for numbers of rows
 * that never came, it is estimated from their neighbours.
 */
final class RowCosts {
  /** Rows whose costs are told apart. */
  private static final int MOST = 256;

  /** What a further row costs, as a share of the first, as long as nothing is known. */
  private static final double FURTHER_ROW = 0.15;

  /** How far a sample may be off what was expected to say something about prices. */
  private static final double ORDINARY = 2;

  /** How far prices move with a sample. */
  private static final double STEP = 0.02;

  private final Median unit = new Median(0.1); // seconds of a branch with one row
  private final Median[] prices = new Median[MOST + 1]; // of a branch, by rows, in units
  private final Median[] heads; // with one row, in units
  private final Median[] drafts; // the same of the short list
  private final Median overhead = new Median(STEP); // of a step, in units
  private final boolean learns;
  private int anchor; // the number of rows whose price stays
  private final double assumedHead; // in units
  private double spent; // seconds on branches and heads in this step

  /**
   * A running median: it moves by a part of itself towards each sample, so that a sample counts the
   * same however far it is off. Of the first ones, which are slow until Java has compiled, the
   * least counts.
   */
  private static final class Median {
    private static final int FIRST = 8;

    private final double step;
    private double value;
    private int samples;

    Median(double step) {
      this.step = step;
    }

    void add(double sample) {
      if (value == 0) {
        value = sample;
      } else if (samples < FIRST) {
        value = Math.min(value, sample);
      } else {
        value *= 1 + Math.signum(sample - value) * step;
      }
      samples++;
    }

    boolean isKnown() {
      return samples >= FIRST;
    }
  }

  /**
   * The costs of a model, of which nothing is known yet. Ranks that share a layer have to choose
   * alike, and so learn nothing from their clocks.
   */
  RowCosts(Decoder model) {
    ParameterCount parameters = ParameterCount.of(model.architecture());
    int headCount = model.allHeads().size();
    learns = model.parallel().size() == 1;
    assumedHead =
        (double) parameters.finalHead() * model.allHeads().getLast().tap() / parameters.trunk();
    Arrays.setAll(prices, _ -> new Median(STEP));
    heads = new Median[headCount];
    drafts = new Median[headCount];
    Arrays.setAll(heads, _ -> new Median(STEP));
    Arrays.setAll(drafts, _ -> new Median(STEP));
  }

  /** Takes the time of some branches. */
  void addBranches(int count, int rows, double seconds) {
    spent += seconds;
    if (rows > MOST || !learns) {
      return;
    }
    double each = seconds / count;
    if (unit.value == 0) {
      unit.value = each / expected(rows);
    }
    boolean ordinary = true;
    if (prices[rows].isKnown()) {
      double expected = unit.value * price(rows);
      // A machine that others use is slower at times by much, and all its prices are the same.
      ordinary = each < ORDINARY * expected && expected < ORDINARY * each;
      unit.add(each / price(rows));
    }
    if (ordinary && rows != anchor) {
      prices[rows].add(each / unit.value);
      // One price stays, else unit and prices would drift apart together.
      anchor = anchor == 0 && prices[rows].isKnown() ? rows : anchor;
    }
  }

  /** Takes the time of a head's prediction, of all ids or of those that exits draft from. */
  void addHead(int head, boolean ofDrafts, int rows, double seconds) {
    spent += seconds;
    if (unit.value > 0) {
      (ofDrafts ? drafts : heads)[head].add(seconds / (unit.value * price(rows)));
    }
  }

  /** Takes the time of a whole step. */
  void addStep(double seconds) {
    if (unit.value > 0) {
      overhead.add(Math.max(0, seconds - spent) / unit.value);
    }
    spent = 0;
  }

  /** What a step costs beside branches and heads. */
  double overhead() {
    return overhead.value;
  }

  /** What some branches cost. */
  double branches(int count, int rows) {
    return count * price(rows);
  }

  /** What a head's prediction costs; where it was never asked, as much as another one's. */
  double head(int head, int rows) {
    return known(heads, head) * price(rows);
  }

  /** What an exit's draft costs. */
  double draft(int exit, int rows) {
    return known(drafts, exit) * price(rows);
  }

  private double known(Median[] medians, int index) {
    if (medians[index].isKnown()) {
      return medians[index].value;
    }
    for (Median other : medians) {
      if (other.isKnown()) {
        return other.value;
      }
    }
    return assumedHead;
  }

  /** What a branch costs with so many rows. */
  private double price(int rows) {
    if (rows > MOST) {
      return price(MOST) * rows / MOST;
    }
    int below = 0; // the nearest known
    double floor = 0; // more rows cost no less
    for (int fewer = 1; fewer <= rows; fewer++) {
      if (prices[fewer].isKnown()) {
        below = fewer;
        floor = Math.max(floor, prices[fewer].value);
      }
    }
    if (below == rows) {
      return floor;
    }
    int above = rows + 1;
    while (above <= MOST && !prices[above].isKnown()) {
      above++;
    }
    if (below == 0) {
      return above > MOST ? expected(rows) : prices[above].value * expected(rows) / expected(above);
    }
    if (above > MOST) {
      return floor * expected(rows) / expected(below);
    }
    double share = (double) (rows - below) / (above - below);
    return floor + share * Math.max(0, prices[above].value - floor);
  }

  private static double expected(int rows) {
    return 1 + FURTHER_ROW * (rows - 1);
  }
}
