package org.eellm.kernel;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.product.RowArithmetic;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.weight.WeightFormat;

/** The arithmetic of attention by {@link AttentionCode}. */
final class MachineAttention implements AttentionKernel {
  private static final int GROUP = PagedAttention.GROUP;
  private static final int PAGES = PagedAttention.PAGES;
  private static final int TILE = AttentionCode.MOST_ROWS;

  private static final Linker LINKER = Linker.nativeLinker();
  private static final Linker.Option SHORT = Linker.Option.critical(false);

  // Constants, so that calls are compiled into their callers.
  private static final MethodHandle PRODUCTS =
      LINKER.downcallHandle(
          FunctionDescriptor.ofVoid(
              JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
              JAVA_LONG, JAVA_LONG, JAVA_LONG),
          SHORT);
  private static final MethodHandle LARGEST =
      LINKER.downcallHandle(
          FunctionDescriptor.of(JAVA_FLOAT, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_FLOAT),
          SHORT);
  private static final MethodHandle EXPONENTIALS =
      LINKER.downcallHandle(
          FunctionDescriptor.ofVoid(
              JAVA_LONG,
              JAVA_LONG,
              JAVA_LONG,
              JAVA_LONG,
              JAVA_LONG,
              JAVA_LONG,
              JAVA_LONG,
              JAVA_FLOAT),
          SHORT);
  private static final MethodHandle SCALE =
      LINKER.downcallHandle(FunctionDescriptor.ofVoid(JAVA_LONG, JAVA_LONG, JAVA_FLOAT), SHORT);
  private static final MethodHandle DIVIDE =
      LINKER.downcallHandle(
          FunctionDescriptor.ofVoid(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG), SHORT);

  private static final Map<Shape, Functions> FUNCTIONS = new ConcurrentHashMap<>();

  /** What decides on the functions: the format of keys and values, and the vectors of a value. */
  private record Shape(WeightFormat format, int valueVectors) {}

  /** Addresses of functions; those by rows begin with one row's. */
  private record Functions(
      MemorySegment[] products,
      MemorySegment[] halfProducts,
      MemorySegment[] firstMixtures,
      MemorySegment[] mixtures,
      MemorySegment largest,
      MemorySegment exponentials,
      MemorySegment scale,
      MemorySegment divide) {

    static Functions of(Shape shape) {
      WeightFormat format = shape.format;
      List<byte[]> codes = new ArrayList<>();
      for (int rows = 1; rows <= TILE; rows++) {
        codes.add(new AttentionCode.Products(format, rows, PAGES, 1, false).code());
        codes.add(new AttentionCode.Products(format, rows, PAGES / 2, 1, false).code());
        codes.add(new AttentionCode.Products(format, rows, 1, shape.valueVectors, false).code());
        codes.add(new AttentionCode.Products(format, rows, 1, shape.valueVectors, true).code());
      }
      boolean scaled = format == WeightFormat.INT8;
      codes.add(AttentionCode.largest(scaled));
      codes.add(AttentionCode.exponentials(scaled));
      codes.add(AttentionCode.scaling());
      codes.add(AttentionCode.division());
      MemorySegment[] all = ExecutableMemory.store(codes).orElseThrow();
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

    private static MemorySegment[] every4th(MemorySegment[] all, int from) {
      MemorySegment[] some = new MemorySegment[TILE];
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
    int vectors = layout.valueWidth() / Lanes.WIDTH;
    valueVectors = vectors % 4 == 0 ? 4 : 1;
    functions = FUNCTIONS.computeIfAbsent(new Shape(layout.format(), valueVectors), Functions::of);
    queryBytes = 4L * layout.keySteps() * layout.format().inputsTogether();
    sumBytes = 4L * layout.valueWidth();
    queries = NativeBuffer.allocate(TILE * queryBytes);
    sums = NativeBuffer.allocate(TILE * sumBytes);
    quotients = NativeBuffer.allocate(sumBytes);
    PagedAttention.fillWithOnes(scales);
  }

  /** Whether the processor takes the code, and the system gives memory for it. */
  static boolean works() {
    return Probe.RESULT;
  }

  private static final class Probe {
    private static final boolean RESULT =
        Lanes.WIDTH == 16
            && ExecutableMemory.has("avx512f")
            && ExecutableMemory.store(List.of(AttentionCode.scaling())).isPresent();
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
    Lanes.MEMORY.asSlice(totals.address(), (long) count * Lanes.BYTES).fill((byte) 0);
  }

  @Override
  public void score(long[] keys, long within, boolean half, int count) {
    products(
        (half ? functions.halfProducts : functions.products)[count - 1],
        keys[0] + within,
        keys[1],
        keys[2],
        keys[3],
        4L * PageLayout.POSITIONS,
        layout.keySteps(),
        queries.address(),
        queryBytes,
        scores.address(),
        4L * GROUP);
  }

  @Override
  public float weigh(int row, int vectors, int visible, float before) {
    long at = scores.address() + 4L * GROUP * row;
    long total = totals.address() + (long) row * Lanes.BYTES;
    long mask = visible >= GROUP ? -1 : visible <= 0 ? 0 : (1L << visible) - 1;
    try {
      float max =
          (float)
              LARGEST.invokeExact(functions.largest, at, (long) vectors, mask, keyScales(), before);
      if (max > before && before > Float.NEGATIVE_INFINITY) {
        float factor = AttentionKernel.factor(before, max);
        SCALE.invokeExact(functions.scale, total, 1L, factor);
        long rowSums = sums.address() + row * sumBytes;
        SCALE.invokeExact(functions.scale, rowSums, sumBytes / Lanes.BYTES, factor);
      }
      EXPONENTIALS.invokeExact(
          functions.exponentials,
          at,
          (long) vectors,
          mask,
          keyScales(),
          valueScales(),
          weights.address() + 4L * GROUP * row,
          total,
          max);
      return max > before ? max : before;
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new LinkageError("exponentials in machine code", e);
    }
  }

  @Override
  public void mix(long values, int steps, int position, boolean first, int count) {
    MemorySegment function = (first ? functions.firstMixtures : functions.mixtures)[count - 1];
    long callBytes = (long) valueVectors * Lanes.BYTES;
    for (long from = 0; from < sumBytes; from += callBytes) {
      products(
          function,
          values + from,
          0,
          0,
          0,
          layout.valueStepBytes(),
          steps,
          weights.address() + 4L * position,
          4L * GROUP,
          sums.address() + from,
          sumBytes);
    }
  }

  private static void products(
      MemorySegment function,
      long w0,
      long w1,
      long w2,
      long w3,
      long stepBytes,
      long steps,
      long x,
      long xRowBytes,
      long y,
      long yRowBytes) {
    try {
      PRODUCTS.invokeExact(function, w0, w1, w2, w3, stepBytes, steps, x, xRowBytes, y, yRowBytes);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new LinkageError("attention's products in machine code", e);
    }
  }

  @Override
  public void divide(int row, float[] out, int to) {
    try {
      DIVIDE.invokeExact(
          functions.divide,
          sums.address() + row * sumBytes,
          sumBytes / Lanes.BYTES,
          totals.address() + (long) row * Lanes.BYTES,
          quotients.address());
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new LinkageError("a division in machine code", e);
    }
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
