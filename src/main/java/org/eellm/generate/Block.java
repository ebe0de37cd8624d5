package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.eellm.tensor.Tensors;

/**
 * The hidden states of some sequences' rows, one sequence after the other.
 *
 * @param x [n, hidden], or [n, 2 hidden] between parallel branches ({@link
 *     org.eellm.model.ResidualPath})
 */
record Block(List<Span> spans, Tensor x) {

  /**
   * One sequence's part of a block.
   *
   * @param rows [span.count(), width of x]
   */
  record Part(Span span, Tensor rows) {

    /** This part with all that waits in front of it, which waits no longer. */
    Part behind(PendingRows pending) {
      int count = pending.count();
      return count == 0
          ? this
          : new Part(
              new Span(span.sequence(), span.first() - count, span.count() + count),
              pending.join(rows));
    }

    /** Its first rows. */
    Part first(int count) {
      return new Part(new Span(span.sequence(), span.first(), count), rows.narrow(0, 0, count));
    }

    /** Its last rows. */
    Part last(int count) {
      return span.count() == count
          ? this
          : new Part(
              new Span(span.sequence(), span.end() - count, count),
              rows.narrow(0, span.count() - count, count));
    }
  }

  /** At least one part. */
  static Block of(List<Part> parts) {
    return new Block(
        parts.stream().map(Part::span).toList(),
        Tensors.stack(parts.stream().map(Part::rows).toList()));
  }

  /** Its parts, which share its memory. */
  List<Part> parts() {
    if (spans.size() == 1) {
      return List.of(new Part(spans.getFirst(), x));
    }
    List<Part> parts = new ArrayList<>();
    long row = 0;
    for (Span span : spans) {
      parts.add(new Part(span, x.narrow(0, row, span.count())));
      row += span.count();
    }
    return parts;
  }

  /**
   * The last rows of every sequence, one sequence after the other, [sum of counts, hidden].
   *
   * @param counts how many of each, in order
   */
  Tensor lastRows(List<Integer> counts) {
    if (counts.stream().mapToInt(Integer::intValue).sum() == x.size(0)) {
      return x;
    }
    List<Tensor> rows = new ArrayList<>();
    long end = 0;
    for (int i = 0; i < counts.size(); i++) {
      end += spans.get(i).count();
      rows.add(x.narrow(0, end - counts.get(i), counts.get(i)));
    }
    return Tensors.stack(rows);
  }

  /** Positions in order; int64 for every row. */
  static long[] positions(List<Span> spans) {
    long[] positions = new long[Span.rows(spans)];
    int row = 0;
    for (Span span : spans) {
      for (int i = 0; i < span.count(); i++) {
        positions[row++] = span.first() + i;
      }
    }
    return positions;
  }
}
