package org.eellm.decode.pipeline;

import java.nio.ByteBuffer;
import java.util.List;
import org.eellm.decode.head.HeadOutput;
import org.eellm.model.Head;
import org.jspecify.annotations.Nullable;

/**
 * The output of a head of any stage, as the first stage sees it. Unlike a runner's own output it
 * stays valid when the head is asked again: by then another step is under way, whose tokens have
 * met this head and are yet to meet later ones.
 */
final class RemoteOutput implements HeadOutput {
  private final Head head;
  private final double temperature;
  private final Source source;
  private @Nullable Logits logits; // once they are there

  /**
   * Logits of rows.
   *
   * @param rows logits at temperature 1, by row; none where the best ids were all that was asked
   *     for
   * @param best the most probable id of each
   * @param bestLogProbability the natural logarithm of its probability
   * @param margin how far its probability is above the next one's
   */
  record Logits(float[][] rows, int[] best, double[] bestLogProbability, double[] margin) {
    private static Logits empty(int count, int width) {
      return new Logits(
          new float[count][width], new int[count], new double[count], new double[count]);
    }

    static Logits of(HeadOutput output, int count) {
      Logits copy = bestOf(output, count);
      for (int row = 0; row < count; row++) {
        copy.rows[row] = output.logits(row);
      }
      return copy;
    }

    /** A copy of a runner's output without the logits. */
    static Logits bestOf(HeadOutput output, int count) {
      Logits copy = empty(count, 0);
      for (int row = 0; row < count; row++) {
        copy.best[row] = output.best(row);
        copy.bestLogProbability[row] = output.logProbability(row, copy.best[row]);
        copy.margin[row] = output.margin(row);
      }
      return copy;
    }

    float[] ofAllIds(int row) {
      if (rows[row].length == 0) {
        throw new IllegalStateException("the best id was all that was asked for");
      }
      return rows[row];
    }

    byte[] encode() {
      int width = rows.length == 0 ? 0 : rows[0].length;
      int each = Integer.BYTES + 2 * Double.BYTES + Float.BYTES * width;
      ByteBuffer bytes = ByteBuffer.allocate(2 * Integer.BYTES + rows.length * each);
      bytes.putInt(rows.length).putInt(width);
      for (int row = 0; row < rows.length; row++) {
        bytes.putInt(best[row]).putDouble(bestLogProbability[row]).putDouble(margin[row]);
        bytes.asFloatBuffer().put(rows[row]);
        bytes.position(bytes.position() + Float.BYTES * width);
      }
      return bytes.array();
    }

    static Logits decode(ByteBuffer from) {
      int count = from.getInt();
      int width = from.getInt();
      Logits read = empty(count, width);
      for (int row = 0; row < count; row++) {
        read.best[row] = from.getInt();
        read.bestLogProbability[row] = from.getDouble();
        read.margin[row] = from.getDouble();
        from.asFloatBuffer().get(read.rows[row]);
        from.position(from.position() + Float.BYTES * width);
      }
      return read;
    }
  }

  @FunctionalInterface
  interface Source {
    /** Waits for the logits; asked once. */
    Logits get();

    default boolean isThere() {
      return true;
    }
  }

  RemoteOutput(Head head, Source source) {
    this(head, source, 1);
  }

  private RemoteOutput(Head head, Source source, double temperature) {
    this.head = head;
    this.source = source;
    this.temperature = temperature;
  }

  private Logits logits() {
    if (logits == null) {
      logits = source.get();
    }
    return logits;
  }

  @Override
  public Head head() {
    return head;
  }

  @Override
  public void await() {
    logits();
  }

  @Override
  public boolean isThere() {
    return logits != null || source.isThere();
  }

  @Override
  public int best(int row) {
    return logits().best[row];
  }

  @Override
  public double maxProbability(int row) {
    return Math.exp(logits().bestLogProbability[row]);
  }

  @Override
  public double margin(int row) {
    return logits().margin[row];
  }

  @Override
  public double logProbability(int row, int id) {
    Logits all = logits();
    int best = all.best[row];
    double below = id == best ? 0 : (double) all.ofAllIds(row)[id] - all.ofAllIds(row)[best];
    return all.bestLogProbability[row] + below / temperature;
  }

  @Override
  public List<TokenScore> top(int row, int count) {
    return TokenScore.top(logits().ofAllIds(row), count, id -> logProbability(row, id));
  }

  @Override
  public float[] logits(int row) {
    float[] copy = logits().ofAllIds(row).clone();
    for (int id = 0; id < copy.length && temperature != 1; id++) {
      copy[id] = (float) (copy[id] / temperature);
    }
    return copy;
  }

  @Override
  public HeadOutput tempered(double by) {
    return by == 1
        ? this
        : new RemoteOutput(head, () -> atTemperature(logits(), temperature * by), temperature * by);
  }

  /** Logits, and the best ones' probabilities at a temperature. */
  private static Logits atTemperature(Logits all, double temperature) {
    double[] best = new double[all.best.length];
    double[] margin = new double[best.length];
    for (int row = 0; row < best.length; row++) {
      double sum = 0;
      double second = 0; // its ratio to the best
      for (int id = 0; id < all.ofAllIds(row).length; id++) {
        double below = (double) all.rows[row][id] - all.rows[row][all.best[row]];
        double ratio = Math.exp(below / temperature);
        sum += ratio;
        second = id == all.best[row] ? second : Math.max(second, ratio);
      }
      best[row] = -Math.log(sum);
      margin[row] = (1 - second) / sum;
    }
    return new Logits(all.rows, all.best, best, margin);
  }
}
