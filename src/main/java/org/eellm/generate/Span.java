package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;

/**
 * A sequence's rows in a block: consecutive positions.
 *
 * @param first position of the first row
 * @param count rows
 */
record Span(Sequence sequence, int first, int count) {

  /** The position after the last row. */
  int end() {
    return first + count;
  }

  /** Rows of all spans. */
  static int rows(List<Span> spans) {
    return spans.stream().mapToInt(Span::count).sum();
  }

  /** Spans cut and grouped in order, so that no group has more than {@code maxRows} rows. */
  static List<List<Span>> chunks(List<Span> spans, int maxRows) {
    if (rows(spans) <= maxRows) {
      return List.of(spans);
    }
    List<List<Span>> chunks = new ArrayList<>();
    List<Span> chunk = new ArrayList<>();
    int room = maxRows;
    for (Span span : spans) {
      for (int first = span.first(); first < span.end(); ) {
        int count = Math.min(room, span.end() - first);
        chunk.add(new Span(span.sequence(), first, count));
        first += count;
        room -= count;
        if (room == 0) {
          chunks.add(chunk);
          chunk = new ArrayList<>();
          room = maxRows;
        }
      }
    }
    if (!chunk.isEmpty()) {
      chunks.add(chunk);
    }
    return chunks;
  }
}
