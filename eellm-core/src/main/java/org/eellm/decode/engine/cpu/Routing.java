package org.eellm.decode.engine.cpu;

import java.util.Arrays;
import org.eellm.config.Experts;
import org.eellm.config.ModelConfig;
import org.eellm.kernel.matmul.PackedInput;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeNumbers;

/**
 * Which experts the rows of a pass go to, and the buffers of their way there and back. A row has as
 * many choices as it goes through experts, the best first; sorted by expert, all choices of an
 * expert follow each other.
 */
final class Routing implements AutoCloseable {
  private final Experts experts;
  final PackedInput normed; // for the router: [rows, hidden]
  private final NativeBuffer scores; // [rows, scoreWidth]
  final int scoreWidth;
  final PackedInput sorted; // [choices, hidden]
  final PackedInput activations; // [choices, inner width]
  private final NativeBuffer outputs; // [choices, outputWidth]
  final int outputWidth;
  private final int[] chosen; // experts, [rows, per token]
  private final float[] weights; // the same
  private final int[] places; // the same, among the sorted
  private final int[] next; // the place of an expert's next choice
  private final int[] withRows; // experts that have rows
  private final int[] starts; // of their choices
  private int present; // how many have rows

  /**
   * @param shard the model's shape with this rank's part of experts
   */
  Routing(ModelKernels kernels, ModelConfig shard) {
    experts = shard.experts();
    int choices = Workspace.MAX_ROWS * experts.perToken();
    normed = kernels.routers().allocate(Workspace.MAX_ROWS, shard.hiddenSize());
    scoreWidth = Workspace.padded(experts.count());
    scores = NativeBuffer.allocate(4L * Workspace.MAX_ROWS * scoreWidth);
    sorted = kernels.layers().allocate(choices, shard.hiddenSize());
    activations = kernels.layers().allocate(choices, experts.hiddenSize());
    outputWidth = Workspace.padded(shard.hiddenSize());
    outputs = NativeBuffer.allocate(4L * choices * outputWidth);
    chosen = new int[choices];
    weights = new float[choices];
    places = new int[choices];
    next = new int[experts.count()];
    withRows = new int[experts.count()];
    starts = new int[experts.count() + 1];
  }

  /** Begins anew, with so many rows. */
  void begin(int rows) {
    normed.begin(rows);
    sorted.begin(rows * experts.perToken());
    activations.begin(rows * experts.perToken());
  }

  /** Address of a row's scores. */
  long scores(int row) {
    return scores.address() + 4L * row * scoreWidth;
  }

  /** Chooses a row's experts by its scores, and weighs them; of equals the first. */
  void choose(int row) {
    int first = row * experts.perToken();
    int end = first;
    for (int expert = 0; expert < experts.count(); expert++) {
      float score = NativeNumbers.getFloat(scores(row) + 4L * expert);
      if (end < first + experts.perToken()) {
        end++;
      } else if (!(score > weights[end - 1])) {
        continue;
      }
      int at = end - 1;
      for (; at > first && score > weights[at - 1]; at--) {
        chosen[at] = chosen[at - 1];
        weights[at] = weights[at - 1];
      }
      chosen[at] = expert;
      weights[at] = score;
    }
    weigh(row, first, end);
  }

  /** The softmax of all scores, or of the chosen ones. */
  private void weigh(int row, int first, int end) {
    float largest = weights[first];
    double sum = 0;
    if (experts.normWeights()) {
      for (int i = first; i < end; i++) {
        sum += Math.exp(weights[i] - largest);
      }
    } else {
      for (int expert = 0; expert < experts.count(); expert++) {
        sum += Math.exp(NativeNumbers.getFloat(scores(row) + 4L * expert) - largest);
      }
    }
    for (int i = first; i < end; i++) {
      weights[i] = (float) (Math.exp(weights[i] - largest) / sum);
    }
  }

  /** Sorts the choices of so many rows by their experts. */
  void sort(int rows) {
    int count = rows * experts.perToken();
    Arrays.fill(next, 0);
    for (int i = 0; i < count; i++) {
      next[chosen[i]]++;
    }
    present = 0;
    int start = 0;
    for (int expert = 0; expert < experts.count(); expert++) {
      int own = next[expert];
      next[expert] = start;
      if (own > 0) {
        withRows[present] = expert;
        starts[present++] = start;
        start += own;
      }
    }
    starts[present] = start;
    for (int i = 0; i < count; i++) {
      places[i] = next[chosen[i]]++;
    }
  }

  /** Puts a normed row to each of its experts. */
  void put(int row, FloatArray values) {
    for (int choice = 0; choice < experts.perToken(); choice++) {
      int place = places[row * experts.perToken() + choice];
      sorted.put(place, 0, values, 0, sorted.in());
    }
  }

  /** How many experts have rows. */
  int present() {
    return present;
  }

  /** The expert of an index below {@link #present}. */
  int expert(int index) {
    return withRows[index];
  }

  /** The first choice of the expert of an index, among the sorted. */
  int start(int index) {
    return starts[index];
  }

  /** The one behind its last. */
  int end(int index) {
    return starts[index + 1];
  }

  /** The weight of a row's choice. */
  float weight(int row, int choice) {
    return weights[row * experts.perToken() + choice];
  }

  /** Address of what an expert gives for a choice among the sorted. */
  long output(int place) {
    return outputs.address() + 4L * place * outputWidth;
  }

  /** Address of what an expert gives for a row's choice. */
  long output(int row, int choice) {
    return output(places[row * experts.perToken() + choice]);
  }

  @Override
  public void close() {
    normed.close();
    scores.close();
    sorted.close();
    activations.close();
    outputs.close();
  }
}
