package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.eellm.tensor.Kept;
import org.eellm.tensor.Tensors;

/** Hidden states of consecutive positions of a sequence that wait to go on together. */
final class PendingRows implements AutoCloseable {
  private final Kept kept = new Kept();
  private final List<Tensor> parts = new ArrayList<>();
  private int count;

  /** How many rows wait. */
  int count() {
    return count;
  }

  /**
   * Lets further rows wait.
   *
   * @param rows [n, hidden]; copied
   */
  void add(Tensor rows) {
    parts.add(kept.keep(rows.clone()));
    count += (int) rows.size(0);
  }

  /**
   * Takes all that wait, and {@code rows} behind them, [count + n, hidden]. Where nothing waits the
   * result is {@code rows} itself.
   */
  Tensor join(Tensor rows) {
    if (count == 0) {
      return rows;
    }
    List<Tensor> all = new ArrayList<>(parts);
    all.add(rows);
    Tensor joined = Tensors.stack(all);
    close();
    return joined;
  }

  @Override
  public void close() {
    kept.close();
    parts.clear();
    count = 0;
  }
}
