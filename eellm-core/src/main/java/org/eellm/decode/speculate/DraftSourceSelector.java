package org.eellm.decode.speculate;

/**
 * Which of two ways to draft gives a batch more tokens a second: its texts by themselves, in the
 * step that judges them, or exits, which need steps of their own. The better one is at work, and
 * now and then the other one, to see whether things have changed.
 */
final class DraftSourceSelector {
  /** Who drafts. */
  enum Drafter {
    EXITS,
    TEXT;

    private Drafter other() {
      return this == EXITS ? TEXT : EXITS;
    }
  }

  /** Steps of a turn. */
  static final int STEPS = 24;

  /** Turns of which one is the slower drafter's. */
  static final int TURNS = 8;

  /** Weight of a turn in a drafter's running mean. */
  private static final double RATE = 0.5;

  private final double[] speeds =
      new double[2]; // tokens a nanosecond, by drafter; 0 before its turn
  private Drafter drafter = Drafter.EXITS;
  private int turns;
  private int steps; // of the turn
  private int tokens;
  private long start;

  /** Who drafts now. */
  Drafter drafter() {
    return drafter;
  }

  /**
   * Starts a step of a batch.
   *
   * @param nanos the time
   */
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
    speeds[place] = speeds[place] == 0 ? speed : speeds[place] + RATE * (speed - speeds[place]);
    turns++;
    Drafter other = drafter.other();
    boolean better = speeds[other.ordinal()] > speeds[place];
    boolean isTrial = turns % TURNS == 0;
    if (speeds[other.ordinal()] == 0 || better != isTrial) {
      drafter = other;
    }
  }

  /** Tells of tokens that are emitted. */
  void add(int count) {
    tokens += count;
  }

  /** Forgets the turn that has begun. */
  void pause() {
    steps = 0;
  }
}
