package org.eellm.generate;

import java.util.HashMap;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.tensor.Kept;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * The keys and values of a sequence: for each attention that was ever run, a block of memory for
 * the longest the sequence may get. Attentions are numbered as {@link
 * org.eellm.model.KeyValues#attend} says.
 */
final class SequenceCache implements AutoCloseable {
  private final int maxLength;
  private final ScalarType format;
  private final Kept kept = new Kept();
  private final Map<Integer, Slot> slots = new HashMap<>();

  /**
   * @param all [2 K, maxLength, D]
   * @param keys its first half, [1, K, maxLength, D]
   * @param values its second half, [1, K, maxLength, D]
   */
  private record Slot(Tensor all, Tensor keys, Tensor values) {}

  /**
   * @param format number format to store in; what is written is converted
   */
  SequenceCache(int maxLength, ScalarType format) {
    this.maxLength = maxLength;
    this.format = format;
  }

  /**
   * Stores the keys and values of consecutive positions.
   *
   * @param keyValue keys of all heads, then values, [n, 2 K, D]
   */
  void write(int slot, int first, Tensor keyValue) {
    slots
        .computeIfAbsent(slot, absent -> allocate(keyValue))
        .all()
        .narrow(1, first, keyValue.size(0))
        .copy_(keyValue.transpose(0, 1));
  }

  private Slot allocate(Tensor example) {
    try (Scope scope = Scope.open()) {
      long heads = example.size(1) / 2;
      Tensor all = Tensors.empty(format, example.device(), 2 * heads, maxLength, example.size(2));
      return new Slot(
          kept.keep(all),
          kept.keep(all.narrow(0, 0, heads).unsqueeze(0)),
          kept.keep(all.narrow(0, heads, heads).unsqueeze(0)));
    }
  }

  /** The keys of positions below {@code length}, [1, K, length, D]. */
  Tensor keys(int slot, int length) {
    return slot(slot).keys().narrow(2, 0, length);
  }

  /** The values of positions below {@code length}, [1, K, length, D]. */
  Tensor values(int slot, int length) {
    return slot(slot).values().narrow(2, 0, length);
  }

  private Slot slot(int slot) {
    Slot present = slots.get(slot);
    if (present == null) {
      throw new IllegalStateException("attention " + slot + " has not run");
    }
    return present;
  }

  @Override
  public void close() {
    kept.close();
    slots.clear();
  }
}
