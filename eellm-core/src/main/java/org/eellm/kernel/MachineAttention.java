package org.eellm.kernel;

import static org.eellm.kernel.vector.NativeNumbers.MEMORY;

import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import org.eellm.kernel.AttentionCode.Products;
import org.eellm.kernel.AttentionCode.Strides;
import org.eellm.kernel.AttentionLoop.Field;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.row.CallList;
import org.eellm.kernel.row.MachineRows;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeFunction;
import org.eellm.kernel.vector.NativeInts;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.WeightFormat;

/** The arithmetic of attention by {@link AttentionCode}, where the processor takes that. */
final class MachineAttention implements AttentionKernel {
  private static final int GROUP = PagedAttention.GROUP;
  private static final int TILE = AttentionCode.MOST_ROWS;
  private static final int VECTOR_BYTES = NativeNumbers.BYTES;
  private static final int LINE = 16; // numbers of a cache line

  /** Positions of a call: the garbage collector waits for its end. A multiple of a group. */
  static final int MOST_POSITIONS = 4096;

  private static final Map<Shape, Functions> FUNCTIONS = new ConcurrentHashMap<>();

  /**
   * What functions are made for.
   *
   * @param softcap of scores, or 0
   */
  record Shape(PageLayout layout, float softcap) {}

  /** Functions; those by rows begin with one row's. */
  record Functions(
      NativeFunction[] products,
      NativeFunction[] halfProducts,
      NativeFunction[] firstMixtures,
      NativeFunction[] mixtures,
      NativeFunction largest,
      NativeFunction exponentials,
      NativeFunction scale,
      NativeFunction divide,
      NativeFunction factor,
      NativeFunction loop,
      NativeFunction windowLoop) {

    /**
     * The functions for a shape.
     *
     * @throws OutOfMemoryError if the system gives no executable memory
     */
    static Functions of(Shape shape) {
      NativeFunction[] all =
          ExecutableMemory.store(codes(shape, VECTOR_BYTES * Byte.SIZE))
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
          all[single + 3],
          all[single + 4],
          all[single + 5],
          all[single + 6]);
    }

    /** Their code: by rows, products of keys, of half as many, of values first and later. */
    static List<Supplier<MachineCode>> codes(Shape shape, int vectorBits) {
      PageLayout layout = shape.layout;
      float softcap = shape.softcap;
      WeightFormat format = layout.format();
      int lines = valueLines(layout);
      int groupBytes = PagedAttention.VECTORS * vectorBits / Byte.SIZE; // of scores
      int pages = groupBytes / Float.BYTES / PageLayout.POSITIONS;
      Strides ofKeys =
          new Strides(
              4 * PageLayout.POSITIONS, queryBytes(layout), groupBytes, (int) layout.keyBytes());
      int sumBytes = 4 * layout.valueWidth();
      Strides ofValues = new Strides((int) layout.valueStepBytes(), groupBytes, sumBytes, 0);
      List<Supplier<MachineCode>> codes = new ArrayList<>();
      for (int rows = 1; rows <= TILE; rows++) {
        for (Products products :
            List.of(
                new Products(format, rows, pages, 1, false, ofKeys),
                new Products(format, rows, pages / 2, 1, false, ofKeys),
                new Products(format, rows, 1, lines, false, ofValues),
                new Products(format, rows, 1, lines, true, ofValues))) {
          codes.add(() -> products.code(vectorBits));
        }
      }
      boolean scaled = format == WeightFormat.INT8;
      codes.add(() -> new AttentionCode(vectorBits).largest(scaled, softcap));
      codes.add(() -> new AttentionCode(vectorBits).exponentials(scaled, softcap));
      codes.add(() -> new AttentionCode(vectorBits).scaling());
      codes.add(() -> new AttentionCode(vectorBits).division());
      codes.add(() -> new AttentionCode(vectorBits).factor());
      codes.add(() -> AttentionLoop.of(layout, 4 * LINE * lines, false, vectorBits));
      codes.add(() -> AttentionLoop.of(layout, 4 * LINE * lines, true, vectorBits));
      return codes;
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
  private final float scale; // of queries
  private final long queryBytes; // from a row to the next
  private final long sumBytes; // the same
  private final NativeBuffer queries;
  private final NativeBuffer scores = NativeBuffer.allocate(4L * TILE * GROUP);
  private final NativeBuffer weights = NativeBuffer.allocate(4L * TILE * GROUP);
  private final NativeBuffer totals = NativeBuffer.allocate((long) TILE * VECTOR_BYTES);
  private final NativeBuffer scales = NativeBuffer.allocate(2 * 4L * GROUP);
  private final NativeBuffer sums;
  private final float[] key8; // float32, on its way to 8 bits
  private final CallList calls = new CallList();
  private int window = Integer.MAX_VALUE;
  private final NativeBuffer fields = NativeBuffer.allocate(TILE * Field.bytes()); // by rows

  MachineAttention(PageLayout layout, ScoreFunction function) {
    this.layout = layout;
    functions = FUNCTIONS.computeIfAbsent(new Shape(layout, function.softcap()), Functions::of);
    scale = function.scale();
    queryBytes = queryBytes(layout);
    sumBytes = 4L * layout.valueWidth();
    queries = NativeBuffer.allocate(TILE * queryBytes);
    sums = NativeBuffer.allocate(TILE * sumBytes);
    key8 = new float[layout.width()];
    for (int count = 1; count <= TILE; count++) {
      writeFields(count);
    }
  }

  private static int queryBytes(PageLayout layout) {
    return 4 * layout.keySteps() * layout.format().inputsTogether();
  }

  private static int valueLines(PageLayout layout) {
    int lines = layout.valueWidth() / LINE;
    return lines % 4 == 0 ? 4 : 1;
  }

  private void writeFields(int count) {
    write(count, Field.COUNT, count);
    write(count, Field.QUERIES, queries.address());
    write(count, Field.SCORES, scores.address());
    write(count, Field.WEIGHTS, weights.address());
    write(count, Field.TOTALS, totals.address());
    write(count, Field.SUMS, sums.address());
    write(count, Field.KEY_SCALES, scales.address());
    write(count, Field.VALUE_SCALES, scales.address() + 4L * GROUP);
    write(count, Field.REPLACED, NONE);
    write(count, Field.PRODUCTS, functions.products[count - 1].address().address());
    write(count, Field.HALF_PRODUCTS, functions.halfProducts[count - 1].address().address());
    write(count, Field.FIRST_MIXTURES, functions.firstMixtures[count - 1].address().address());
    write(count, Field.MIXTURES, functions.mixtures[count - 1].address().address());
    write(count, Field.LARGEST, functions.largest.address().address());
    write(count, Field.EXPONENTIALS, functions.exponentials.address().address());
    write(count, Field.SCALE, functions.scale.address().address());
    write(count, Field.FACTOR, functions.factor.address().address());
  }

  private void write(int count, Field field, long value) {
    MEMORY.set(ValueLayout.JAVA_LONG_UNALIGNED, fields(count) + field.offset(), value);
  }

  private long fields(int count) {
    return fields.address() + (count - 1) * Field.bytes();
  }

  @Override
  public int rows() {
    return TILE;
  }

  @Override
  public void rotate(long head, long cosines, long sines, int pairs) {
    if (pairs > 0) {
      MachineRows.rotate(calls, head, head + 2L * layout.width(), cosines, sines, pairs);
    }
  }

  @Override
  public void write(long page, int offset, long key, long value) {
    int width = layout.width();
    switch (layout.format()) {
      case FLOAT32 -> {
        MachineRows.spread(calls, key, width, offset, page);
        FloatArithmetic.copy(value, layout.valueOf(page, offset), width);
      }
      case BFLOAT16 -> {
        MachineRows.store(calls, key, width, key);
        if (width % 2 == 1) {
          finish();
          NativeNumbers.put(0, key + 2L * width);
        }
        MachineRows.spread(calls, key, layout.keySteps(), offset, page);
        MachineRows.storeHalves(calls, value, width, offset % 2, layout.valueOf(page, offset));
      }
      case INT8 -> {
        finish();
        FloatArithmetic.read(key, key8, 0, width);
        layout.writeBytes(page, offset, key8, value, key);
        MachineRows.spread(calls, key, layout.keySteps(), offset, page);
      }
      case INT4 -> throw new IllegalStateException();
    }
  }

  @Override
  public void window(int positions) {
    window = positions;
  }

  @Override
  public void take(int row, long queries, int count) {
    int width = layout.width();
    boolean whole = 4L * width == queryBytes;
    for (int i = 0; i < (whole ? 1 : count); i++) {
      long to = this.queries.address() + (row + i) * queryBytes;
      MachineRows.multiply(
          calls, queries + 4L * i * width, whole ? count * width : width, scale, to);
    }
  }

  @Override
  public void sum(
      NativeInts pages, long first, long pageBytes, NativeInts limits, int from, int count) {
    int end = limits.get(from + count - 1);
    int begin = Math.max(0, limits.get(from) - window) / GROUP * GROUP;
    for (int at = begin; at < end; at += MOST_POSITIONS) {
      if (at > begin) {
        calls.run();
      }
      calls.add(
          end > window ? functions.windowLoop : functions.loop,
          pages.address(0),
          limits.address(from),
          fields(count),
          Math.min(end, at + MOST_POSITIONS),
          first,
          pageBytes,
          window,
          at > begin ? at : 0);
    }
  }

  @Override
  public void replace(int page, long address) {
    write(1, Field.REPLACED, page);
    write(1, Field.REPLACEMENT, address);
  }

  @Override
  public boolean divide(int count, long out) {
    long vectors = sumBytes / VECTOR_BYTES;
    calls.add(functions.divide, sums.address(), vectors, totals.address(), out, count, 0, 0, 0);
    return (int) calls.run() >= 0;
  }

  @Override
  public void finish() {
    calls.run();
  }

  @Override
  public void forget() {
    calls.clear();
  }

  @Override
  public void close() {
    queries.close();
    scores.close();
    weights.close();
    totals.close();
    scales.close();
    sums.close();
    fields.close();
  }
}
