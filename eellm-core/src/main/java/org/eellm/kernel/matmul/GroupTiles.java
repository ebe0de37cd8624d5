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
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Writes the loops of {@link GroupTile} as bytecode, for the reasons that {@link TileKernels} have.
 * Sums of a group are float32: of integers below 2^24 those are exact in any order, so that results
 * are those of {@link GroupCode} to the bit.
 */
final class GroupTiles {
  private static final MethodTypeDesc RUN =
      MethodTypeDesc.of(
          CD_void,
          CD_long,
          CD_long,
          CD_int,
          CD_float.arrayType(),
          CD_int,
          CD_int,
          CD_long,
          CD_long);

  // Local variables: the parameters, and what follows them.
  private static final int W = 1;
  private static final int SCALES = 3;
  private static final int GROUPS = 5;
  private static final int X = 6;
  private static final int AT = 7;
  private static final int UNITS = 8;
  private static final int Y = 9;
  private static final int ROW_BYTES = 11;
  private static final int GROUP = 13;
  private static final int STEP = 14;
  private static final int SHIFT = 15;
  private static final int ROWS = 16; // where rows of x begin, from the first one's begin; ints

  private static final int STEP_BYTES = 4 * PackedMatrix.BLOCK;
  private static final int SCALE_BYTES = 2 * PackedMatrix.BLOCK;

  private static final Map<Variant, GroupTile> KERNELS = new ConcurrentHashMap<>();

  private GroupTiles() {}

  /**
   * Which kernel.
   *
   * @param rows of x
   * @param vectors of outputs next to each other
   */
  record Variant(WeightFormat format, int rows, int vectors) {}

  /** The kernel, written when it is first asked for. */
  static GroupTile of(Variant variant) {
    return KERNELS.computeIfAbsent(
        variant,
        missing ->
            VectorCode.define(
                GroupTile.class,
                RUN,
                code -> new Body(code, new VectorCode(code), missing).write()));
  }

  /** Writes one kernel. */
  private record Body(CodeBuilder code, VectorCode vector, Variant variant) {

    void write() {
      for (int row = 0; row < variant.rows; row++) {
        code.iload(UNITS).loadConstant(row).imul().istore(ROWS + row);
        for (int v = 0; v < variant.vectors; v++) {
          int at = row * variant.vectors + v;
          vector.zero();
          vector.store(() -> output(at));
        }
      }
      int group = variant.format.group();
      loop(
          GROUP,
          () -> code.iload(GROUPS),
          () -> {
            begin();
            loop(
                STEP,
                () -> code.loadConstant(group),
                () -> {
                  shift();
                  step();
                });
            add();
            code.iinc(AT, QuantizedInput.MORE_UNITS);
            int groupBytes = group / variant.format.inputsTogether() * STEP_BYTES + SCALE_BYTES;
            forward(W, groupBytes);
            forward(SCALES, groupBytes);
          });
      code.return_();
    }

    private void loop(int counter, Runnable count, Runnable body) {
      Label start = code.newLabel();
      Label end = code.newLabel();
      code.iconst_0().istore(counter);
      code.labelBinding(start).iload(counter);
      count.run();
      code.if_icmpge(end);
      body.run();
      code.iinc(counter, 1).goto_(start).labelBinding(end);
    }

    private void forward(int address, int by) {
      code.lload(address).loadConstant((long) by).ladd().lstore(address);
    }

    /** Lets sums begin with what the weights' offset from 0 would add, negative. */
    private void begin() {
      for (int row = 0; row < variant.rows; row++) {
        int at = row;
        vector.broadcast(
            () -> {
              input(at, 0);
              code.loadConstant(variant.format.offset() / 8f).fmul();
            });
        for (int v = 0; v < variant.vectors; v++) {
          if (v + 1 < variant.vectors) {
            code.dup();
          }
          code.astore(sum(row, v));
        }
      }
    }

    /** An input; the loop is short, since the JVM leaves a long method of vectors uncompiled. */
    private void step() {
      int bits = variant.format.bits();
      for (int v = 0; v < variant.vectors; v++) {
        int offset = v * NativeNumbers.BYTES;
        vector.load(
            VectorCode.INTS,
            () -> {
              code.lload(W).loadConstant((long) offset).ladd();
              code.iload(STEP).loadConstant(variant.format.inputsTogether()).idiv();
              code.loadConstant(STEP_BYTES).imul().i2l().ladd();
            });
        vector.lanewise("LSHR", () -> code.iload(SHIFT));
        vector.lanewise("AND", (1 << bits) - 1);
        vector.toFloats();
        code.astore(weights(v));
      }
      for (int row = 0; row < variant.rows; row++) {
        int of = row;
        vector.broadcast(() -> input(of, 1));
        code.astore(broadcasted());
        for (int v = 0; v < variant.vectors; v++) {
          code.aload(weights(v)).aload(broadcasted()).aload(sum(row, v));
          vector.multiplyAdd();
          code.astore(sum(row, v));
        }
      }
      code.iinc(AT, 1);
    }

    /** Where the number of an input is among the 32 bits. */
    private void shift() {
      code.iload(STEP).iconst_3().iand().loadConstant(8).imul();
      if (variant.format.bits() == 4) {
        code.iload(STEP).iconst_4().iand().iadd();
      }
      code.istore(SHIFT);
    }

    /** Adds the group's sums to y, times the scales of weights and of x. */
    private void add() {
      for (int v = 0; v < variant.vectors; v++) {
        loadScales(v);
      }
      for (int row = 0; row < variant.rows; row++) {
        int of = row;
        vector.broadcast(() -> input(of, 1));
        code.astore(broadcasted());
        for (int v = 0; v < variant.vectors; v++) {
          int at = row * variant.vectors + v;
          code.aload(sum(row, v)).aload(scale(v)).aload(broadcasted());
          vector.multiply();
          vector.load(VectorCode.FLOATS, () -> output(at));
          vector.multiplyAdd();
          vector.store(() -> output(at));
        }
      }
    }

    /**
     * Makes float32 numbers of scales in float16. What is infinite or no number becomes infinite:
     * its power of two is one that only overflows.
     */
    private void loadScales(int v) {
      long offset = 2L * v * NativeNumbers.WIDTH;
      vector.load(VectorCode.SHORTS, () -> code.lload(SCALES).loadConstant(offset).ladd());
      vector.widen();
      vector.lanewise("LSHL", 13);
      vector.lanewise("AND", 0x8FFFE000); // of the copies of the sign the first
      vector.bitsAsFloats();
      times(0x1p112f); // what the exponents differ by
      times(0x1p112f);
      times(0x1p-112f);
      code.astore(scale(v));
    }

    private void times(float factor) {
      vector.broadcast(() -> code.loadConstant(factor));
      vector.multiply();
    }

    /** Puts a number of a row of x on the stack. */
    private void input(int row, int offset) {
      code.aload(X).iload(AT).iload(ROWS + row).iadd().loadConstant(offset).iadd().faload();
    }

    /** Puts the address of an output on the stack. */
    private void output(int at) {
      code.lload(Y).lload(ROW_BYTES).loadConstant((long) (at / variant.vectors)).lmul().ladd();
      code.loadConstant((long) (at % variant.vectors) * NativeNumbers.BYTES).ladd();
    }

    private int sum(int row, int v) {
      return ROWS + variant.rows + row * variant.vectors + v;
    }

    private int weights(int v) {
      return sum(variant.rows, v);
    }

    private int scale(int v) {
      return sum(variant.rows + 1, v);
    }

    private int broadcasted() {
      return sum(variant.rows + 2, 0);
    }
  }
}
