package org.eellm.kernel;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import org.eellm.kernel.MachineAttention.Shape;
import org.eellm.kernel.NeonAttentionCode.Row;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeFunction;
import org.eellm.kernel.vector.NativeInts;
import org.eellm.kernel.vector.NativeNumbers;

/**
 * The arithmetic of attention by {@link NeonAttentionCode}, a group of positions at a time;
 * positions are written in Java.
 */
final class NeonAttention implements AttentionKernel {
  private static final int POSITIONS = PageLayout.POSITIONS;
  private static final int TILE = NeonAttentionCode.MOST_ROWS;
  private static final Map<Shape, Optional<Functions>> FUNCTIONS = new ConcurrentHashMap<>();

  /** Functions; those by rows begin with one row's. */
  record Functions(
      List<NativeFunction> scores,
      List<NativeFunction> mixtures,
      NativeFunction weighing,
      NativeFunction division) {

    private static Optional<Functions> of(Shape shape) {
      return ExecutableMemory.store(codes(shape))
          .map(List::of)
          .map(
              all ->
                  new Functions(
                      all.subList(0, TILE),
                      all.subList(TILE, 2 * TILE),
                      all.get(2 * TILE),
                      all.getLast()));
    }

    /** Their code: by rows, of scores, then of mixtures; of weights, and of the division. */
    static List<Supplier<MachineCode>> codes(Shape shape) {
      PageLayout layout = shape.layout();
      List<Supplier<MachineCode>> codes = new ArrayList<>();
      for (int i = 1; i <= TILE; i++) {
        int rows = i;
        codes.add(() -> NeonAttentionCode.scores(layout, rows));
      }
      for (int i = 1; i <= TILE; i++) {
        int rows = i;
        codes.add(() -> NeonAttentionCode.mixture(layout, rows));
      }
      codes.add(() -> NeonAttentionCode.weighing(layout, shape.softcap()));
      codes.add(() -> NeonAttentionCode.division(layout));
      return codes;
    }
  }

  private final PageLayout layout;
  private final ScoreFunction function;
  private final Functions functions;
  private final JavaAttention writer;
  private final Row places;
  private final NativeBuffer tile;
  private int window = Integer.MAX_VALUE;
  private int replaced = NONE;
  private long replacement;

  private NeonAttention(PageLayout layout, ScoreFunction function, Functions functions) {
    this.layout = layout;
    this.function = function;
    this.functions = functions;
    writer = new JavaAttention(layout, function, false);
    places = new Row(layout);
    tile = NativeBuffer.allocate(places.tileBytes());
  }

  /** For pages of a layout, where the process may use its code. */
  static Optional<AttentionKernel> of(PageLayout layout, ScoreFunction function) {
    return FUNCTIONS
        .computeIfAbsent(new Shape(layout, function.softcap()), Functions::of)
        .map(functions -> new NeonAttention(layout, function, functions));
  }

  @Override
  public int rows() {
    return TILE;
  }

  @Override
  public void rotate(long head, long cosines, long sines, int pairs) {
    writer.rotate(head, cosines, sines, pairs);
  }

  @Override
  public void write(long page, int offset, long key, long value) {
    writer.write(page, offset, key, value);
  }

  @Override
  public void window(int positions) {
    window = positions;
  }

  private long row(int row) {
    return tile.address() + (long) row * places.bytes();
  }

  @Override
  public void take(int row, long queries, int count) {
    int width = layout.width();
    for (int i = 0; i < count; i++) {
      long from = queries + 4L * i * width;
      long to = row(row + i) + places.query();
      for (int j = 0; j < width; j++) {
        NativeNumbers.putFloat(
            NativeNumbers.getFloat(from + 4L * j) * function.scale(), to + 4L * j);
      }
    }
  }

  @Override
  public void sum(
      NativeInts pages, long first, long pageBytes, NativeInts limits, int from, int count) {
    int end = limits.get(from + count - 1);
    int firstPage = Math.max(0, limits.get(from) - window) / POSITIONS;
    int lastPage = (end - 1) / POSITIONS;
    clear(count);
    int together = NeonAttentionCode.GROUP / POSITIONS;
    for (int group = firstPage / together * together; group <= lastPage; group += together) {
      int begin = Math.max(group, firstPage);
      int last = Math.min(group + together - 1, lastPage);
      for (int page = begin; page <= last; page++) {
        score(first + pageBytes * pages.get(page), page - group, count);
      }
      int seen = Math.min(window, end); // so that no difference overflows
      functions.weighing.call(
          tile.address(), limits.address(from), count, (long) group * POSITIONS, seen, 0, 0, 0);
      for (int page = begin; page <= last; page++) {
        long at = page == replaced ? replacement : first + pageBytes * pages.get(page);
        mix(at, page - group, Math.min(POSITIONS, end - page * POSITIONS), count);
      }
    }
  }

  /** Begins the sums of so many rows. */
  private void clear(int count) {
    for (int row = 0; row < count; row++) {
      for (int at = Row.TOTALS; at < places.query(); at += Float.BYTES) {
        NativeNumbers.putFloat(0, row(row) + at);
      }
      NativeNumbers.putFloat(Float.NEGATIVE_INFINITY, row(row) + Row.MAX);
    }
  }

  /** The scores of the group's page {@code i}. */
  private void score(long page, int i, int count) {
    long offset = 4L * POSITIONS * i;
    functions
        .scores
        .get(count - 1)
        .call(page, layout.keySteps(), row(0) + places.query(), row(0) + Row.SCORES + offset);
    if (layout.hasScales()) {
      layout.readScales(
          page,
          tile.address() + places.keyScales() + offset,
          tile.address() + places.valueScales() + offset);
    }
  }

  /** Adds the values of the group's page {@code i}, of so many positions. */
  private void mix(long page, int i, int positions, int count) {
    long weights = row(0) + Row.WEIGHTS + 4L * POSITIONS * i;
    int steps = Math.ceilDiv(positions, layout.format().inputsTogether());
    functions
        .mixtures
        .get(count - 1)
        .call(page + layout.keyBytes(), steps, weights, row(0) + Row.SUMS);
  }

  @Override
  public void replace(int page, long address) {
    replaced = page;
    replacement = address;
  }

  @Override
  public boolean divide(int count, long out) {
    return (int) functions.division.call(tile.address(), out, count, 0) >= 0;
  }

  @Override
  public void close() {
    tile.close();
  }
}
