package org.eellm.decode.speculate;

import java.util.Arrays;
import org.eellm.cost.ParameterCount;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;

/**
 * The costs of steps here, learned from the steps themselves, in units of a branch with one row.
 * How much more several rows cost than one is the model's and the processor's own; for numbers of
 * rows that never came, it is estimated from their neighbours.
 *
 * <p>Whether a draft pays hangs on what its rows cost beside one row, which no count of operations
 * tells: reading the weights takes most of the time, so that a second row is almost free on one
 * machine and not on another. So every step is a measurement, and prices are ratios to one unit:
 * where others slow the machine down, the unit moves, and the choices stay. A benchmark at the
 * start would delay the first token and soon be out of date, and means would follow each stall;
 * running medians count a stall like any other sample. It costs two readings of a clock for each
 * segment and head, some 10 KB of heap for each of their lists of prices, and patience: a price
 * moves by 2 % a sample, so it takes some 35 of them to double.
 */
public final class OnlineCostModel {
  /** Rows whose costs are told apart. */
  private static final int MOST = 256;

  /** The cost of a further row, as a share of the first, as long as nothing is known. */
  private static final double FURTHER_ROW = 0.15;

  /** How far a sample may be off what was expected to say something about prices. */
  private static final double OUTLIER_RATIO = 2;

  /** How far prices move with a sample, in logarithms. */
  private static final double STEP = 0.02;

  /** Rows beyond one whose costs decay towards the estimate, and by how much. */
  private static final int DECAYED_ROWS = 15;

  private static final double DECAY = 0.01;

  /** What a draft head's layer is taken to cost at first: its branches and its projection. */
  private static final double ASSUMED_BRANCHES = 3;

  private static final RunningMedian NO_ANCHOR = new RunningMedian(0);

  private final RunningMedian unit = new RunningMedian(0.1); // seconds of a branch with one row
  private final int[] ends; // branches up to each exit's, and to the top
  private final RunningMedian[][]
      prices; // of a branch, by what exit it is below and by rows, in units
  private final RunningMedian[][] heads; // by head and by rows, in units
  private final RunningMedian[][] drafts; // the same of the short list
  private final RunningMedian[] draftHead; // of its layer and prediction, by rows, in units
  private final RunningMedian overhead = new RunningMedian(STEP); // of a step, in units
  private final boolean learns;
  private int maxRowsSeen; // most rows that ever came
  private int lastDecayed; // the number of rows whose cost decayed last
  private RunningMedian anchor = NO_ANCHOR; // the price that stays
  private final double assumedHead; // in units
  private double spent; // seconds on branches and heads in this step

  /**
   * A running median: it moves by a part of itself towards each sample, so that a sample counts the
   * same however far it is off; as far up as down, or unit and prices would fall together. Of the
   * first ones, which are slow until Java has compiled, the least counts.
   */
  private static final class RunningMedian {
    private static final int FIRST = 8;

    private final double step;
    private double value;
    private int samples;

    RunningMedian(double step) {
      this.step = step;
    }

    void add(double sample) {
      if (value == 0) {
        value = sample;
      } else if (samples < FIRST) {
        value = Math.min(value, sample);
      } else {
        value *= Math.exp(Math.signum(sample - value) * step);
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
   *
   * @param clocksTell whether the time of a call is that of what it does
   */
  public OnlineCostModel(DecodingModel model, boolean clocksTell) {
    ParameterCount parameters = ParameterCount.of(model.architecture());
    int headCount = model.allHeads().size();
    learns = clocksTell && model.parallel().size() == 1;
    assumedHead =
        (double) parameters.finalHead() * model.allHeads().getLast().tap() / parameters.trunk();
    ends = model.allHeads().stream().mapToInt(Head::tap).distinct().toArray();
    prices = medians(ends.length);
    heads = medians(headCount);
    drafts = medians(headCount);
    draftHead = medians(1)[0];
  }

  /** For so many things, by rows. */
  private static RunningMedian[][] medians(int count) {
    RunningMedian[][] medians = new RunningMedian[count][MOST + 1];
    for (RunningMedian[] some : medians) {
      Arrays.setAll(some, _ -> new RunningMedian(STEP));
    }
    return medians;
  }

  /** Whether clocks may be asked what steps take. */
  boolean learns() {
    return learns;
  }

  /**
   * Takes the time of some branches.
   *
   * @param from the first one's number
   * @param to the number after the last one's
   */
  public void addBranches(int from, int to, int rows, double seconds) {
    spent += seconds;
    if (rows > MOST || !learns) {
      return;
    }
    maxRowsSeen = Math.max(maxRowsSeen, rows);
    double each = seconds / (to - from);
    if (unit.value == 0) {
      unit.value = each / expected(rows);
    }
    for (int part = 0, start = 0; part < ends.length; start = ends[part++]) {
      if (from < ends[part] && to > start) {
        add(part, rows, each);
      }
    }
  }

  private void add(int part, int rows, double seconds) {
    RunningMedian price = prices[part][rows];
    boolean inlier = true;
    if (price.isKnown()) {
      double expected = unit.value * price(part, rows);
      // A machine that others use is slower at times by much, and all its prices are the same.
      inlier = seconds < OUTLIER_RATIO * expected;
      unit.add(seconds / price(part, rows));
    }
    decay(part);
    if (inlier && price != anchor) {
      price.add(seconds / unit.value);
      // One price stays, else unit and prices would drift apart together.
      anchor = anchor == NO_ANCHOR && price.isKnown() ? price : anchor;
    }
  }

  /**
   * Lets one price that is above what is expected fall a little: what was measured before Java had
   * compiled it would never be tried again.
   */
  private void decay(int part) {
    lastDecayed = lastDecayed % DECAYED_ROWS + 1;
    RunningMedian price = prices[part][1 + lastDecayed];
    double expected = prices[part][1].value * expected(1 + lastDecayed);
    if (price.isKnown() && price != anchor && price.value > expected) {
      price.value += DECAY * (expected - price.value);
    }
  }

  /** Takes the time of a head's prediction, of all ids or of those that exits draft from. */
  public void addHead(int head, boolean ofDrafts, int rows, double seconds) {
    spent += seconds;
    if (unit.value > 0 && rows <= MOST) {
      maxRowsSeen = Math.max(maxRowsSeen, rows);
      (ofDrafts ? drafts : heads)[head][rows].add(seconds / unit.value);
    }
  }

  /** Takes the time of a draft head's layer and prediction, which come before a step. */
  public void addDraftHead(int rows, double seconds) {
    if (unit.value > 0 && rows <= MOST) {
      maxRowsSeen = Math.max(maxRowsSeen, rows);
      draftHead[rows].add(seconds / unit.value);
    }
  }

  public void addStep(double seconds) {
    if (unit.value > 0) {
      overhead.add(Math.max(0, seconds - spent) / unit.value);
    }
    spent = 0;
  }

  /** Of a step beside layers and heads. */
  double overhead() {
    return overhead.value;
  }

  /** Of all layers and the final head's prediction, with what samplers take of each row. */
  double full(Head finalHead, int rows) {
    return branches(0, finalHead.tap(), rows) + ofHead(heads, finalHead.index(), rows);
  }

  /** Of the layers below an exit, which rows of drafts pass one after the other. */
  double below(Head exit, int rows) {
    return branches(0, exit.tap(), rows);
  }

  /** Of the layers above an exit and the final head's prediction. */
  double above(Head exit, Head finalHead, int rows) {
    return branches(exit.tap(), finalHead.tap(), rows) + ofHead(heads, finalHead.index(), rows);
  }

  /**
   * The cost of some branches.
   *
   * @param from the first one's number
   * @param to the number after the last one's
   */
  private double branches(int from, int to, int rows) {
    double sum = 0;
    for (int part = 0, start = 0; part < ends.length; start = ends[part++]) {
      int count = Math.min(to, ends[part]) - Math.max(from, start);
      sum += count > 0 ? count * price(part, rows) : 0;
    }
    return sum;
  }

  double draft(Head exit, int rows) {
    return ofHead(drafts, exit.index(), rows);
  }

  /** Of a draft head's layer and prediction; assumed, where it was never asked. */
  double draftHead(int rows) {
    if (isKnown(draftHead)) {
      return price(draftHead, rows);
    }
    RunningMedian[] top = prices[ends.length - 1];
    return ASSUMED_BRANCHES * price(top, rows) + ofHead(drafts, 0, rows);
  }

  /** The cost of a head's prediction; where it was never asked, another one's or an assumed one. */
  private double ofHead(RunningMedian[][] medians, int head, int rows) {
    if (isKnown(medians[head])) {
      return price(medians[head], rows);
    }
    for (RunningMedian[] other : medians) {
      if (isKnown(other)) {
        return price(other, rows);
      }
    }
    RunningMedian[] top = prices[ends.length - 1];
    return assumedHead * price(top, rows) / price(top, 1);
  }

  private static boolean isKnown(RunningMedian[] byRows) {
    for (RunningMedian price : byRows) {
      if (price.isKnown()) {
        return true;
      }
    }
    return false;
  }

  /** The cost of a branch with so many rows. Layers that drafts pass often may stay in a cache. */
  private double price(int part, int rows) {
    return price(prices[part], rows);
  }

  private double price(RunningMedian[] byRows, int rows) {
    if (rows > MOST) {
      return price(byRows, MOST) * rows / MOST;
    }
    int first = 0; // the fewest known
    int below = 0; // the nearest known
    double floor = 0; // more rows cost no less
    for (int fewer = 1; fewer <= rows; fewer++) {
      if (byRows[fewer].isKnown()) {
        first = first == 0 ? fewer : first;
        below = fewer;
        floor = Math.max(floor, byRows[fewer].value);
      }
    }
    if (below == rows) {
      return floor;
    }
    int above = rows + 1;
    while (above <= maxRowsSeen && !byRows[above].isKnown()) {
      above++;
    }
    if (below == 0) {
      return above > maxRowsSeen
          ? expected(rows)
          : byRows[above].value * expected(rows) / expected(above);
    }
    if (above > maxRowsSeen) {
      double assumed = floor * (expected(rows) / expected(below) - 1);
      double measured = (floor - byRows[first].value) * (rows - below) / Math.max(1, below - first);
      return floor + Math.max(assumed, measured);
    }
    double share = (double) (rows - below) / (above - below);
    return floor + share * Math.max(0, byRows[above].value - floor);
  }

  private static double expected(int rows) {
    return 1 + FURTHER_ROW * (rows - 1);
  }
}
