package org.eellm.decode.speculate;

/**
 * Which of two ways to draft gives a batch more tokens a second: its texts by themselves, in the
 * step that judges them, or exits, which need steps of their own. The better one is at work, and
 * now and then the other one, to see whether things have changed: more and more rarely, as long as
 * they have not.
 */
final class DraftSourceSelector {
  enum Drafter {
    EXITS,
    TEXT;

    private Drafter other() {
      return this == EXITS ? TEXT : EXITS;
    }
  }

  /** Steps of a period, in which one drafter is at work. */
  static final int STEPS = 24;

  /** Periods from a trial of the slower drafter to the next, at first and at most. */
  private static final int FIRST_INTERVAL = 8;

  private static final int MAX_INTERVAL = 32;

  /** Weight of a period in a drafter's running mean. */
  private static final double RATE = 0.5;

  private final double[] speeds = new double[2]; // tokens a nanosecond, by drafter; 0 if unknown
  private Drafter drafter = Drafter.EXITS;
  private Drafter better = Drafter.EXITS;
  private int periods; // since the last trial
  private int interval = FIRST_INTERVAL;
  private int steps; // of the period
  private int tokens;
  private long start;

  Drafter drafter() {
    return drafter;
  }

  /** Starts a step of a batch. */
  void begin(long nanos) {
    if (steps == STEPS) {
      conclude((double) tokens / (nanos - start));
      steps = 0;
    }
    if (steps == 0) {
      start = nanos;
      tokens = 0;
    }
    steps++;
  }

  private void conclude(double speed) {
    int place = drafter.ordinal();
    boolean isOld = speeds[place] == 0 || drafter != better; // of an earlier trial, if of any
    speeds[place] = isOld ? speed : speeds[place] + RATE * (speed - speeds[place]);
    Drafter other = drafter.other();
    if (speeds[other.ordinal()] == 0) {
      drafter = other;
      return;
    }
    Drafter faster = speeds[other.ordinal()] > speeds[place] ? other : drafter;
    if (faster != better) {
      better = faster;
      interval = FIRST_INTERVAL;
      periods = 0;
    }
    periods++;
    drafter = better;
    if (periods == interval) {
      periods = 0;
      interval = Math.min(2 * interval, MAX_INTERVAL);
      drafter = better.other();
    }
  }

  /** Tells of tokens that are emitted. */
  void add(int count) {
    tokens += count;
  }

  /** Forgets the period that has begun. */
  void pause() {
    steps = 0;
  }
}
