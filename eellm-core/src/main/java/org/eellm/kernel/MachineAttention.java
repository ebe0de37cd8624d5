package org.eellm.kernel;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.eellm.kernel.AttentionCode.Products;
import org.eellm.kernel.AttentionCode.Strides;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.product.RowArithmetic;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeFunction;
import org.eellm.kernel.weight.WeightFormat;

/**
 * The arithmetic of attention by {@link AttentionCode}, where {@link
 * org.eellm.kernel.machine.RowFunctions#work} says that the processor takes it.
 */
final class MachineAttention implements AttentionKernel {
  private static final int GROUP = PagedAttention.GROUP;
  private static final int PAGES = PagedAttention.PAGES;
  private static final int TILE = AttentionCode.MOST_ROWS;

  private static final Map<PageLayout, Functions> FUNCTIONS = new ConcurrentHashMap<>();

  /** Addresses of functions; those by rows begin with one row's. */
  private record Functions(
      NativeFunction[] products,
      NativeFunction[] halfProducts,
      NativeFunction[] firstMixtures,
      NativeFunction[] mixtures,
      NativeFunction largest,
      NativeFunction exponentials,
      NativeFunction scale,
      NativeFunction divide) {

    /**
     * The functions for a layout.
     *
     * @throws OutOfMemoryError if the system gives no executable memory
     */
    static Functions of(PageLayout layout) {
      WeightFormat format = layout.format();
      int vectors = valueVectors(layout);
      Strides ofKeys =
          new Strides(
              4 * PageLayout.POSITIONS, queryBytes(layout), 4 * GROUP, (int) layout.keyBytes());
      int sumBytes = 4 * layout.valueWidth();
      Strides ofValues = new Strides((int) layout.valueStepBytes(), 4 * GROUP, sumBytes, 0);
      List<byte[]> codes = new ArrayList<>();
      for (int rows = 1; rows <= TILE; rows++) {
        codes.add(new Products(format, rows, PAGES, 1, false, ofKeys).code());
        codes.add(new Products(format, rows, PAGES / 2, 1, false, ofKeys).code());
        codes.add(new Products(format, rows, 1, vectors, false, ofValues).code());
        codes.add(new Products(format, rows, 1, vectors, true, ofValues).code());
      }
      boolean scaled = format == WeightFormat.INT8;
      codes.add(AttentionCode.largest(scaled));
      codes.add(AttentionCode.exponentials(scaled));
      codes.add(AttentionCode.scaling());
      codes.add(AttentionCode.division());
      NativeFunction[] all =
          ExecutableMemory.store(codes)
              .orElseThrow(
                  () -> new OutOfMemoryError("the system refuses memory for machine code"));
      int single = 4 * TILE;
      return new Functions(
          every4th(all, 0),
          every4th(all, 1),
          every4th(all, 2),
          every4th(all, 3),
          all[single],
          all[single + 1],
          all[single + 2],
          all[single + 3]);
    }

    private static NativeFunction[] every4th(NativeFunction[] all, int from) {
      NativeFunction[] some = new NativeFunction[TILE];
      for (int i = 0; i < TILE; i++) {
        some[i] = all[4 * i + from];
      }
      return some;
    }
  }

  private final PageLayout layout;
  private final Functions functions;
  private final int valueVectors; // of a call
  private final long queryBytes; // from a row to the next
  private final long sumBytes; // the same
  private final NativeBuffer queries;
  private final NativeBuffer scores = NativeBuffer.allocate(4L * TILE * GROUP);
  private final NativeBuffer weights = NativeBuffer.allocate(4L * TILE * GROUP);
  private final NativeBuffer totals = NativeBuffer.allocate((long) TILE * Lanes.BYTES);
  private final NativeBuffer scales = NativeBuffer.allocate(2 * 4L * GROUP);
  private final NativeBuffer sums;
  private final NativeBuffer quotients; // of a row

  MachineAttention(PageLayout layout) {
    this.layout = layout;
    valueVectors = valueVectors(layout);
    functions = FUNCTIONS.computeIfAbsent(layout, Functions::of);
    queryBytes = queryBytes(layout);
    sumBytes = 4L * layout.valueWidth();
    queries = NativeBuffer.allocate(TILE * queryBytes);
    sums = NativeBuffer.allocate(TILE * sumBytes);
    quotients = NativeBuffer.allocate(sumBytes);
    PagedAttention.fillWithOnes(scales);
  }

  private static int queryBytes(PageLayout layout) {
    return 4 * layout.keySteps() * layout.format().inputsTogether();
  }

  private static int valueVectors(PageLayout layout) {
    int vectors = layout.valueWidth() / Lanes.WIDTH;
    return vectors % 4 == 0 ? 4 : 1;
  }

  @Override
  public int rows() {
    return TILE;
  }

  @Override
  public void begin(float[] queries, int at, int count) {
    int width = layout.width();
    if (4L * width == queryBytes) {
      RowArithmetic.write(queries, at, this.queries.address(), count * width);
    } else {
      for (int row = 0; row < count; row++) {
        long to = this.queries.address() + row * queryBytes;
        RowArithmetic.write(queries, at + row * width, to, width);
      }
    }
    PagedAttention.clear(totals.address(), count * Lanes.WIDTH);
  }

  @Override
  public void score(long[] keys, long within, boolean half, int count) {
    NativeFunction[] products = half ? functions.halfProducts : functions.products;
    products[count - 1].call(
        keys[0] + within,
        keys[1],
        keys[2],
        keys[3],
        layout.keySteps(),
        queries.address(),
        scores.address(),
        0);
  }

  @Override
  public float weigh(int row, int vectors, int visible, float before) {
    long at = scores.address() + 4L * GROUP * row;
    long total = totals.address() + (long) row * Lanes.BYTES;
    long mask = visible >= GROUP ? -1 : visible <= 0 ? 0 : (1L << visible) - 1;
    float max =
        Float.intBitsToFloat(
            (int) functions.largest.call(at, vectors, mask, keyScales(), bits(before), 0, 0, 0));
    if (max > before && before > Float.NEGATIVE_INFINITY) {
      long factor = bits(AttentionKernel.factor(before, max));
      functions.scale.call(total, 1, factor, 0);
      functions.scale.call(sums.address() + row * sumBytes, sumBytes / Lanes.BYTES, factor, 0);
    }
    functions.exponentials.call(
        at,
        vectors,
        mask,
        keyScales(),
        valueScales(),
        weights.address() + 4L * GROUP * row,
        total,
        bits(max));
    return max > before ? max : before;
  }

  private static long bits(float number) {
    return Float.floatToRawIntBits(number);
  }

  @Override
  public void mix(long values, long next, int steps, int position, boolean first, int count) {
    NativeFunction function = (first ? functions.firstMixtures : functions.mixtures)[count - 1];
    long callBytes = (long) valueVectors * Lanes.BYTES;
    for (long from = 0; from < sumBytes; from += callBytes) {
      function.call(
          values + from,
          next + from,
          0,
          0,
          steps,
          weights.address() + 4L * position,
          sums.address() + from,
          0);
    }
  }

  @Override
  public void divide(int row, float[] out, int to) {
    functions.divide.call(
        sums.address() + row * sumBytes,
        sumBytes / Lanes.BYTES,
        totals.address() + (long) row * Lanes.BYTES,
        quotients.address());
    RowArithmetic.read(quotients.address(), out, to, layout.width());
  }

  @Override
  public long keyScales() {
    return scales.address();
  }

  @Override
  public long valueScales() {
    return scales.address() + 4L * GROUP;
  }

  @Override
  public void close() {
    queries.close();
    scores.close();
    weights.close();
    totals.close();
    scales.close();
    sums.close();
    quotients.close();
  }
}
