package org.eellm.decode.engine.torch;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.decode.head.HeadOutput;
import org.eellm.model.Head;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * A head's logits for one token of each of some sequences, and figures of them, each computed for
 * all rows when first asked for. The vocabulary stays where the model is; only the figures come to
 * Java.
 */
final class TorchLogits implements HeadOutput {
  private static final long[] LAST = {-1};
  private static final float[] UNKNOWN = {};

  private final Head head;
  private final Tensor logits;
  private final Tensor hidden;
  private final double temperature;
  private final Map<Double, TorchLogits> tempered = new HashMap<>();
  private int[] best = {};
  private float[] largest = UNKNOWN;
  private float[] second = UNKNOWN;
  private float[] normalizer = UNKNOWN;
  private float[] entropy = UNKNOWN;

  /**
   * @param logits float32, [rows, vocabulary]; lives as long as this is used
   * @param hidden states behind the head's norm, [rows, hidden]; live as long
   */
  TorchLogits(Head head, Tensor logits, Tensor hidden) {
    this(head, logits, hidden, 1);
  }

  private TorchLogits(Head head, Tensor logits, Tensor hidden, double temperature) {
    this.head = head;
    this.logits = logits;
    this.hidden = hidden;
    this.temperature = temperature;
  }

  @Override
  public TorchLogits tempered(double by) {
    return tempered.computeIfAbsent(
        by,
        divisor -> {
          findLargest();
          TorchLogits other = new TorchLogits(head, logits, hidden, temperature * divisor);
          other.largest = largest;
          other.best = best;
          return other;
        });
  }

  /** At this temperature, [rows, vocabulary]. */
  private Tensor atTemperature() {
    return temperature == 1 ? logits : logits.div(Tensors.scalar(temperature));
  }

  @Override
  public Head head() {
    return head;
  }

  @Override
  public int best(int row) {
    findLargest();
    return best[row];
  }

  @Override
  public double maxProbability(int row) {
    findLargest();
    return probability(largest[row], row);
  }

  @Override
  public double margin(int row) {
    findLargest();
    if (second == UNKNOWN) {
      try (Scope scope = Scope.open()) {
        second =
            logits.size(1) == 1
                ? Tensors.toFloats(torch.full_like(logits, Tensors.scalar(-Double.MAX_VALUE)))
                : Tensors.toFloats(torch.topk(logits, 2).get0().select(1, 1));
      }
    }
    return probability(largest[row], row) - probability(second[row], row);
  }

  @Override
  public double entropy(int row) {
    if (entropy == UNKNOWN) {
      try (Scope scope = Scope.open()) {
        Tensor logProbabilities = torch.log_softmax(atTemperature(), -1);
        entropy =
            Tensors.toFloats(
                torch.exp(logProbabilities).mul_(logProbabilities).sum(LAST).neg_()); // [rows]
      }
    }
    return entropy[row];
  }

  @Override
  public double logProbability(int row, int id) {
    if (id == best(row)) {
      return logProbability(largest[row], row);
    }
    try (Scope _ = Scope.open()) {
      return logProbability(Tensors.toFloats(logits.select(0, row).narrow(0, id, 1))[0], row);
    }
  }

  @Override
  public List<TokenScore> top(int row, int count) {
    try (Scope _ = Scope.open()) {
      T_TensorTensor_T found = torch.topk(logits.select(0, row), Math.min(count, logits.size(1)));
      float[] values = Tensors.toFloats(found.get0());
      long[] ids = Tensors.toLongs(found.get1());
      return IntStream.range(0, ids.length)
          .mapToObj(i -> new TokenScore(Math.toIntExact(ids[i]), logProbability(values[i], row)))
          .toList();
    }
  }

  @Override
  public float[] logits(int row) {
    try (Scope scope = Scope.open()) {
      return Tensors.toFloats(atTemperature().select(0, row));
    }
  }

  @Override
  public float logit(int row, int id) {
    return id == best(row)
        ? (float) (largest[row] / temperature)
        : (float) (logits(row, new int[] {id})[0] / temperature);
  }

  float[] logits(int row, int[] ids) {
    try (Scope _ = Scope.open()) {
      return Tensors.toFloats(chosen(logits.select(0, row), 0, ids));
    }
  }

  /** A copy with the logits of some ids alone, which {@code memory} retains. */
  TorchLogits of(int[] ids, RetainedTensors memory) {
    return new TorchLogits(head, memory.retain(chosen(logits, 1, ids)), hidden);
  }

  private static Tensor chosen(Tensor from, int dimension, int[] ids) {
    return from.index_select(dimension, Tensors.ofInts(ids, from.device(), ids.length));
  }

  @Override
  public float[] hidden(int row) {
    try (Scope _ = Scope.open()) {
      return Tensors.toFloats(hidden.select(0, row).to(ScalarType.Float));
    }
  }

  private void findLargest() {
    if (largest == UNKNOWN) {
      try (Scope scope = Scope.open()) {
        T_TensorTensor_T found = torch.max(logits, 1);
        largest = Tensors.toFloats(found.get0());
        best = LongStream.of(Tensors.toLongs(found.get1())).mapToInt(Math::toIntExact).toArray();
      }
    }
  }

  private double probability(float logit, int row) {
    return Math.exp(logProbability(logit, row));
  }

  private double logProbability(float logit, int row) {
    if (normalizer == UNKNOWN) {
      try (Scope scope = Scope.open()) {
        normalizer = Tensors.toFloats(torch.logsumexp(atTemperature(), LAST));
      }
    }
    return logit / temperature - normalizer[row];
  }
}
