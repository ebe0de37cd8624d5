package org.eellm.kernel.matmul;

import static java.lang.constant.ConstantDescs.CD_float;
import static java.lang.constant.ConstantDescs.CD_int;
import static java.lang.constant.ConstantDescs.CD_long;
import static java.lang.constant.ConstantDescs.CD_void;

import java.lang.classfile.CodeBuilder;
import java.lang.classfile.Label;
import java.lang.constant.MethodTypeDesc;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Writes the inner loops of products as bytecode, one for each number of rows and vectors.
 *
 * <p>They cannot be one loop over arrays of vectors, since sums have to stay in registers; nor may
 * they call methods of ours, since the JVM's compiler stops inlining those in a method of this many
 * operations, and every call then allocates its vectors: five to ten times slower, silently. The
 * Vector API's own methods are exempt. So each is written out, by this class.
 */
public final class TileKernels {
  private static final MethodTypeDesc RUN =
      MethodTypeDesc.of(
          CD_void,
          CD_long,
          CD_long,
          CD_long,
          CD_long,
          CD_long,
          CD_int,
          CD_float.arrayType(),
          CD_int,
          CD_int,
          CD_long,
          CD_long);

  // Local variables: the parameters, and what follows them.
  private static final int W = 1; // four longs
  private static final int STEP_BYTES = 9;
  private static final int STEPS = 11;
  private static final int X = 12;
  private static final int AT = 13;
  private static final int ROW_INPUTS = 14;
  private static final int Y = 15;
  private static final int ROW_BYTES = 17;
  private static final int STEP = 19; // int
  private static final int OFFSET = 20; // long
  private static final int ROWS = 22; // where rows of x begin, from the first one's begin; ints

  private static final Map<Variant, TileKernel> KERNELS = new ConcurrentHashMap<>();

  private TileKernels() {}

  /**
   * Which kernel.
   *
   * @param rows of x
   * @param format of the weights; of {@link WeightFormat#INT8} bytes with a sign, without scales
   * @param streams of weights, 1 to 4
   * @param vectors of outputs in each stream, next to each other
   * @param adds whether the sums begin with what y has
   * @param order of the sums
   */
  public record Variant(
      WeightFormat format, int rows, int streams, int vectors, boolean adds, SumOrder order) {

    /** One with a chain for each output. */
    public Variant(WeightFormat format, int rows, int streams, int vectors, boolean adds) {
      this(format, rows, streams, vectors, adds, SumOrder.CHAIN);
    }
  }

  /** The kernel, written when it is first asked for. */
  public static TileKernel of(Variant variant) {
    return KERNELS.computeIfAbsent(
        variant,
        missing ->
            VectorCode.define(
                TileKernel.class,
                RUN,
                code -> new Body(code, new VectorCode(code), missing).write()));
  }

  /** Writes one kernel's loop. */
  private record Body(CodeBuilder code, VectorCode vector, Variant variant) {

    void write() {
      begin();
      code.iconst_0().istore(STEP).lconst_0().lstore(OFFSET);
      Label loop = code.newLabel();
      Label end = code.newLabel();
      code.labelBinding(loop).iload(STEP).iload(STEPS).if_icmpge(end);
      int vectors = variant.streams * variant.vectors;
      if (variant.format == WeightFormat.INT8) {
        bytes(vectors);
        advance();
      } else if (variant.order == SumOrder.CHAIN) {
        numbers(vectors, (row, v, _) -> sum(row, v));
        advance();
      } else {
        halves(vectors);
      }
      code.goto_(loop).labelBinding(end);
      finish();
      code.return_();
    }

    private void advance() {
      code.iinc(STEP, 1);
      code.lload(OFFSET).lload(STEP_BYTES).ladd().lstore(OFFSET);
    }

    /** As many steps as a tile has, with sums of their own for each of the inputs together. */
    private void halves(int vectors) {
      int inputs = variant.format.inputsTogether();
      for (int half = half(0, 0, 0); half < half(0, 0, inputs); half++) {
        vector.zero();
        code.astore(half);
      }
      Label loop = code.newLabel();
      code.labelBinding(loop);
      numbers(vectors, this::half);
      advance();
      code.iload(STEP).loadConstant(SumOrder.TILE_INPUTS / inputs - 1).iand().ifne(loop);
      for (int row = 0; row < variant.rows; row++) {
        for (int v = 0; v < vectors; v++) {
          code.aload(sum(row, v)).aload(half(row, v, 0)).aload(half(row, v, 1));
          vector.add();
          vector.add();
          code.astore(sum(row, v));
        }
      }
    }

    /** Which variable a product is added to. */
    @FunctionalInterface
    private interface Sums {
      int of(int row, int v, int input);
    }

    /** A group of inputs: all that lie together. */
    private void numbers(int vectors, Sums sums) {
      int inputs = variant.format.inputsTogether();
      for (int v = 0; v < vectors; v++) {
        loadWeights(v);
      }
      for (int i = inputs - 1; i >= 0; i--) { // the last first, as vdpbf16ps does
        for (int v = 0; v < vectors; v++) {
          takeInput(v, i);
        }
        for (int row = 0; row < variant.rows; row++) {
          broadcast(row, i);
          for (int v = 0; v < vectors; v++) {
            int sum = sums.of(row, v, i);
            code.aload(input(v)).aload(broadcasted()).aload(sum);
            vector.multiplyAdd();
            code.astore(sum);
          }
        }
      }
      code.iload(AT).loadConstant(inputs).iadd().istore(AT);
    }

    /**
     * A group of inputs in bytes with a sign. They take turns in a loop, since four times the
     * operations of one would be more than the JVM's compiler takes.
     */
    private void bytes(int vectors) {
      int shift = broadcasted() + 1;
      code.loadConstant(24).istore(shift);
      Label loop = code.newLabel();
      Label end = code.newLabel();
      code.labelBinding(loop).iload(shift).iflt(end);
      for (int v = 0; v < vectors; v++) {
        loadWeights(v);
        code.aload(weights(v));
        vector.lanewise("LSHL", () -> code.iload(shift));
        vector.lanewise("ASHR", 24);
        vector.toFloats();
        code.astore(input(v));
      }
      for (int row = 0; row < variant.rows; row++) {
        broadcast(row, 0);
        for (int v = 0; v < vectors; v++) {
          code.aload(input(v)).aload(broadcasted()).aload(sum(row, v));
          vector.multiplyAdd();
          code.astore(sum(row, v));
        }
      }
      code.iinc(AT, 1).iinc(shift, -8);
      code.goto_(loop).labelBinding(end);
    }

    private void begin() {
      for (int row = 0; row < variant.rows; row++) {
        code.iload(ROW_INPUTS).loadConstant(row).imul().istore(ROWS + row);
        for (int v = 0; v < variant.streams * variant.vectors; v++) {
          if (variant.adds) {
            int of = row;
            int at = v;
            vector.load(VectorCode.FLOATS, () -> output(of, at));
          } else {
            vector.zero();
          }
          code.astore(sum(row, v));
        }
      }
    }

    private void finish() {
      for (int row = 0; row < variant.rows; row++) {
        for (int v = 0; v < variant.streams * variant.vectors; v++) {
          int of = row;
          int at = v;
          code.aload(sum(row, v));
          vector.store(() -> output(of, at));
        }
      }
    }

    /** Puts the address of an output on the stack. */
    private void output(int row, int v) {
      code.lload(Y).lload(ROW_BYTES).loadConstant((long) row).lmul().ladd();
      code.loadConstant((long) v * NativeNumbers.BYTES).ladd();
    }

    private void loadWeights(int v) {
      boolean wide = variant.format == WeightFormat.FLOAT32;
      int stream = W + 2 * (v / variant.vectors);
      long offset = (long) (v % variant.vectors) * NativeNumbers.BYTES;
      vector.load(
          wide ? VectorCode.FLOATS : VectorCode.INTS,
          () -> code.lload(stream).lload(OFFSET).ladd().loadConstant(offset).ladd());
      code.astore(weights(v));
    }

    /** Makes float32 numbers of one input's weights. */
    private void takeInput(int v, int input) {
      code.aload(weights(v));
      switch (variant.format) {
        case FLOAT32 -> {}
        case BFLOAT16 -> {
          if (input == 0) {
            vector.lanewise("LSHL", 16);
          } else {
            vector.lanewise("AND", 0xFFFF0000);
          }
          vector.bitsAsFloats();
        }
        case INT8, INT4 -> throw new IllegalArgumentException(variant.toString());
      }
      code.astore(input(v));
    }

    private void broadcast(int row, int input) {
      vector.broadcast(
          () ->
              code.aload(X).iload(AT).iload(ROWS + row).iadd().loadConstant(input).iadd().faload());
      code.astore(broadcasted());
    }

    private int sum(int row, int v) {
      return ROWS + variant.rows + row * variant.streams * variant.vectors + v;
    }

    private int weights(int v) {
      return sum(variant.rows, v);
    }

    private int input(int v) {
      return sum(variant.rows + 1, v);
    }

    private int broadcasted() {
      return sum(variant.rows + 2, 0);
    }

    private int half(int row, int v, int input) {
      return sum(variant.rows + 3 + input * variant.rows + row, v);
    }
  }
}
