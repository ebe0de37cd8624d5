package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.eellm.generate.Block.Part;
import org.eellm.tensor.Kept;
import org.eellm.tensor.Tensors;

/** Hidden states of consecutive positions of a sequence that wait to go on together. */
final class PendingRows implements AutoCloseable {
  private final Kept kept = new Kept();
  private final List<Part> parts = new ArrayList<>();
  private int count;

  /** How many rows wait. */
  int count() {
    return count;
  }

  /** Lets further rows wait, which are copied. */
  void add(Part part) {
    parts.add(new Part(part.span(), kept.keep(part.rows().clone())));
    count += part.span().count();
  }

  /**
   * Takes all that wait, and {@code rows} behind them, [count + n, hidden]. Where nothing waits the
   * result is {@code rows} itself.
   */
  Tensor join(Tensor rows) {
    if (count == 0) {
      return rows;
    }
    List<Tensor> all = new ArrayList<>(parts.stream().map(Part::rows).toList());
    all.add(rows);
    Tensor joined = Tensors.stack(all);
    close();
    return joined;
  }

  /** Forgets the rows of position {@code end} and beyond. */
  void cut(int end) {
    while (!parts.isEmpty() && parts.getLast().span().end() > end) {
      Part last = parts.removeLast();
      count -= last.span().count();
      int rest = end - last.span().first();
      if (rest > 0) {
        Part shorter = last.first(rest);
        parts.add(new Part(shorter.span(), kept.keep(shorter.rows())));
        count += rest;
      }
    }
  }

  @Override
  public void close() {
    kept.close();
    parts.clear();
    count = 0;
  }
}
