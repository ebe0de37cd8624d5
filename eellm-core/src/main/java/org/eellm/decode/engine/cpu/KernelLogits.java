package org.eellm.decode.engine.cpu;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.eellm.decode.head.HeadOutput;
import org.eellm.kernel.LogitArithmetic;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.model.Head;
import org.eellm.model.TensorParallel;

/**
 * A head's logits of some rows, float32, [rows, width], with each row's largest and its softmax's
 * normaliser, which are computed along with the logits. Other figures are computed when asked for.
 */
final class KernelLogits implements HeadOutput, AutoCloseable {
  /** Logits that are looked at as one item. */
  static final int CHUNK = 4096;

  private final Head head;
  private final LogitScale scale;
  private final int vocabSize;
  private final int outputs; // of this rank
  private final int width;
  private final int chunks;
  private final NativeBuffer parts;
  private final int hiddenWidth; // of the states that are kept; 0 to keep none
  private FloatArray hiddenWeights = FloatArray.allocate(0); // of the gate that asked last
  private NativeBuffer hidden = NativeBuffer.allocate(0);
  private NativeBuffer logits = NativeBuffer.allocate(0);
  private float[] chunkMaxima = {}; // by row and chunk
  private int[] chunkPlaces = {};
  private float[] chunkSums = {}; // of exponentials
  private float[] largest = {};
  private int[] best = {};
  private double[] normalizers = {};
  private int rows;
  private final Map<Double, HeadOutput> tempered = new HashMap<>();

  /**
   * @param vocabSize ids that count
   * @param outputs of the head's matrix on each rank
   * @param ranks that share the matrix
   */
  KernelLogits(Head head, LogitScale scale, int vocabSize, int outputs, int ranks) {
    this(head, scale, vocabSize, outputs, ranks, 0);
  }

  /** The same head's of a short list, with the hidden states that it was scored from. */
  KernelLogits ofShortList(int ids, int outputs, int hiddenWidth) {
    return new KernelLogits(head, scale, ids, outputs, 1, hiddenWidth);
  }

  private KernelLogits(
      Head head, LogitScale scale, int vocabSize, int outputs, int ranks, int hiddenWidth) {
    this.head = head;
    this.scale = scale;
    this.hiddenWidth = hiddenWidth;
    this.vocabSize = vocabSize;
    this.outputs = outputs;
    width = padded(outputs * ranks);
    chunks = Math.ceilDiv(vocabSize, CHUNK);
    parts =
        NativeBuffer.allocate(ranks == 1 ? 0 : 4L * Workspace.MAX_ROWS * partWidth() * (ranks + 1));
  }

  private static int padded(int outputs) {
    return Math.ceilDiv(outputs, PackedMatrix.BLOCK) * PackedMatrix.BLOCK;
  }

  /** Where this rank's logits go, where several share a head: [rows, {@link #partWidth}]. */
  long part() {
    return parts.address();
  }

  int partWidth() {
    return padded(outputs);
  }

  /** Puts the ranks' logits of rows together. */
  void join(TensorParallel parallel, int at, int rows) {
    long count = (long) rows * partWidth();
    long all = part() + 4L * Workspace.MAX_ROWS * partWidth();
    parallel.gather(part(), count, all);
    for (int rank = 0; rank < parallel.size(); rank++) {
      for (int row = 0; row < rows; row++) {
        long from = all + 4L * (rank * count + (long) row * partWidth());
        MemorySegment.copy(
            MemorySegment.ofAddress(from).reinterpret(4L * outputs),
            0,
            MemorySegment.ofAddress(row(at + row) + 4L * rank * outputs).reinterpret(4L * outputs),
            0,
            4L * outputs);
      }
    }
  }

  /** Makes room; logits and figures are yet to be written. */
  void begin(int count) {
    rows = count;
    tempered.clear();
    if (largest.length < count) {
      int room = Math.max(count, 2 * largest.length);
      logits.close();
      logits = NativeBuffer.allocate(4L * room * width);
      hidden.close();
      hidden = NativeBuffer.allocate(4L * room * hiddenWidth);
      chunkMaxima = new float[room * chunks];
      chunkPlaces = new int[room * chunks];
      chunkSums = new float[room * chunks];
      largest = new float[room];
      best = new int[room];
      normalizers = new double[room];
    }
  }

  int width() {
    return width;
  }

  LogitScale scale() {
    return scale;
  }

  long row(int row) {
    return logits.address() + 4L * row * width;
  }

  /** Whether the normed hidden state that an item's logits come from is kept along with it. */
  boolean keepsHidden(int item) {
    return hiddenWidth > 0 && item % chunks == 0;
  }

  int rowOf(int item) {
    return item / chunks;
  }

  void keepHidden(int row, float[] normed) {
    FloatArithmetic.write(normed, 0, hiddenAddress(row), hiddenWidth);
  }

  /** Address of the normed hidden state that a row's logits come from. */
  long hiddenAddress(int row) {
    return hidden.address() + 4L * row * hiddenWidth;
  }

  /** Items of {@link #findLargest} and of {@link #sum} for so many rows. */
  int items(int count) {
    return count * chunks;
  }

  void findLargest(int item) {
    int row = item / chunks;
    int first = item % chunks * CHUNK;
    int count = Math.min(CHUNK, vocabSize - first);
    scale.apply(row(row) + 4L * first, count);
    float max = LogitArithmetic.max(row(row) + 4L * first, count);
    chunkMaxima[item] = max;
    chunkPlaces[item] = first + LogitArithmetic.place(max, row(row) + 4L * first, count);
  }

  /** Sums the exponentials of an item, once all items' largest are found. */
  void sum(int item) {
    int row = item / chunks;
    int first = item % chunks * CHUNK;
    int count = Math.min(CHUNK, vocabSize - first);
    float max = chunkMaxima[row * chunks];
    for (int chunk = 1; chunk < chunks; chunk++) {
      max = Math.max(max, chunkMaxima[row * chunks + chunk]);
    }
    chunkSums[item] = LogitArithmetic.sumOfExponentials(row(row) + 4L * first, count, max, 1);
  }

  /** Puts the figures of rows together, once all items are summed. */
  void conclude(int from, int to) {
    for (int row = from; row < to; row++) {
      int first = row * chunks;
      int at = first;
      for (int chunk = first + 1; chunk < first + chunks; chunk++) {
        if (chunkMaxima[chunk] > chunkMaxima[at] || Float.isNaN(chunkMaxima[chunk])) {
          at = chunk;
        }
      }
      double sum = 0;
      for (int chunk = first; chunk < first + chunks; chunk++) {
        sum += chunkSums[chunk];
      }
      largest[row] = chunkMaxima[at];
      best[row] = chunkPlaces[at];
      normalizers[row] = largest[row] + Math.log(sum);
    }
  }

  @Override
  public Head head() {
    return head;
  }

  @Override
  public int best(int row) {
    return best[row];
  }

  @Override
  public double maxProbability(int row) {
    return Math.exp(largest[row] - normalizers[row]);
  }

  @Override
  public double margin(int row) {
    return margin(row, 1, normalizers[row]);
  }

  private double margin(int row, double temperature, double normalizer) {
    int above = best[row] + 1;
    double second =
        Math.max(
            LogitArithmetic.max(row(row), best[row]),
            LogitArithmetic.max(row(row) + 4L * above, vocabSize - above));
    return Math.exp(largest[row] / temperature - normalizer)
        - Math.exp(second / temperature - normalizer);
  }

  @Override
  public float logit(int row, int id) {
    return NativeNumbers.getFloat(row(row) + 4L * id);
  }

  @Override
  public double logProbability(int row, int id) {
    return logit(row, id) - normalizers[row];
  }

  @Override
  public List<TokenScore> top(int row, int count) {
    return TokenScore.top(logits(row), count, id -> logProbability(row, id));
  }

  @Override
  public float[] logits(int row) {
    float[] copy = new float[vocabSize];
    FloatArithmetic.read(row(row), copy, 0, vocabSize);
    return copy;
  }

  @Override
  public float[] hidden(int row) {
    requireHidden();
    float[] copy = new float[hiddenWidth];
    FloatArithmetic.read(hiddenAddress(row), copy, 0, hiddenWidth);
    return copy;
  }

  @Override
  public double timesHidden(int row, float[] weights) {
    requireHidden();
    if (hiddenWeights.values() != weights) {
      hiddenWeights = FloatArray.of(weights);
    }
    return FloatArithmetic.dot(hiddenAddress(row), hiddenWeights, hiddenWidth);
  }

  private void requireHidden() {
    if (hiddenWidth == 0) {
      throw new IllegalStateException("hidden states are kept where a short list is asked for");
    }
  }

  @Override
  public HeadOutput tempered(double by) {
    return by == 1 ? this : tempered.computeIfAbsent(by, Tempered::new);
  }

  @Override
  public void close() {
    parts.close();
    logits.close();
    hidden.close();
  }

  /** These logits at a temperature; normalisers are computed when first asked for. */
  private final class Tempered implements HeadOutput {
    private final double temperature;
    private final double[] known = new double[rows];

    Tempered(double temperature) {
      this.temperature = temperature;
      Arrays.fill(known, Double.NaN);
    }

    private double normalizer(int row) {
      if (Double.isNaN(known[row])) {
        double sum =
            LogitArithmetic.sumOfExponentials(
                row(row), vocabSize, largest[row], (float) (1 / temperature));
        known[row] = largest[row] / temperature + Math.log(sum);
      }
      return known[row];
    }

    @Override
    public Head head() {
      return head;
    }

    @Override
    public int best(int row) {
      return best[row];
    }

    @Override
    public double maxProbability(int row) {
      return Math.exp(largest[row] / temperature - normalizer(row));
    }

    @Override
    public double margin(int row) {
      return KernelLogits.this.margin(row, temperature, normalizer(row));
    }

    @Override
    public double logProbability(int row, int id) {
      return KernelLogits.this.logit(row, id) / temperature - normalizer(row);
    }

    @Override
    public float logit(int row, int id) {
      return (float) (KernelLogits.this.logit(row, id) / temperature);
    }

    @Override
    public List<TokenScore> top(int row, int count) {
      float[] untempered = KernelLogits.this.logits(row);
      return TokenScore.top(untempered, count, id -> logProbability(row, id));
    }

    @Override
    public float[] logits(int row) {
      float[] copy = KernelLogits.this.logits(row);
      for (int id = 0; id < copy.length; id++) {
        copy[id] = (float) (copy[id] / temperature);
      }
      return copy;
    }

    @Override
    public float[] hidden(int row) {
      return KernelLogits.this.hidden(row);
    }

    @Override
    public double timesHidden(int row, float[] weights) {
      return KernelLogits.this.timesHidden(row, weights);
    }

    @Override
    public HeadOutput tempered(double by) {
      return KernelLogits.this.tempered(temperature * by);
    }
  }
}
