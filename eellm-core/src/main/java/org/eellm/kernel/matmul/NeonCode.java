package org.eellm.kernel.matmul;

import org.eellm.kernel.assembler.Arm64Assembler;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Machine code for products of a few rows with packed weights on AArch64, in every format. It has
 * the parameters of {@link BlockCode}, of which it does not use the last: a group has one chunk of
 * {@link GroupCode#CHUNK} inputs. Of several rows it takes the outputs of a block in slices, each
 * whole cache lines, so that 16 sums are in registers.
 *
 * <p>Every output adds up as on x86-64: one chain of fused multiplications, in bfloat16 of each
 * pair the second first, by {@code bfmlalt} and {@code bfmlalb} or by {@code fmla} of numbers made
 * float32; in groups as integers, by {@code sdot}. ({@code bfdot} rounds otherwise.)
 */
final class NeonCode extends Arm64Assembler {
  /** Most rows, of whose sums 16 registers have a cache line. */
  static final int MOST_ROWS = 4;

  private static final int SUMS = 16;
  private static final int BYTES = 16; // of a vector
  private static final int STEP_BYTES = BlockCode.STEP_BYTES;
  private static final int GROUP_STEPS = GroupCode.CHUNK / 4; // four inputs each
  private static final int NUMBERS = 4; // where a group of x has them, behind what 4 bits add
  private static final int SCALE = NUMBERS + GroupCode.CHUNK;

  private static final X W = x(0);
  private static final X BLOCKS = x(1);
  private static final X[] ROWS = {x(2), x(8), x(9), x(10)}; // of x
  private static final X X_BYTES = x(3);
  private static final X[] OUTPUTS = {x(4), x(14), x(15), x(16)}; // rows of y
  private static final X Y_BYTES = x(5);
  private static final X BLOCK_UNITS = x(6);
  private static final X WEIGHTS = x(11); // the next
  private static final X USED_BYTES = x(12); // of a row of x
  private static final X LEFT_BYTES = x(13);

  private static final V INPUT = v(0); // of the first row
  private static final V WEIGHT = v(4);
  private static final V OTHER = v(5);
  private static final V OUTPUT = v(6);
  private static final V MASK = v(7);
  private static final V SUM = v(16); // the first

  private final WeightFormat format;
  private final int rows;
  private final boolean hasBfloat16;
  private final int vectors; // of a slice

  private NeonCode(WeightFormat format, int rows, boolean hasBfloat16) {
    this.format = format;
    this.rows = rows;
    this.hasBfloat16 = hasBfloat16;
    vectors = SUMS / Integer.highestOneBit(2 * rows - 1); // a power of two
  }

  /**
   * The function.
   *
   * @param rows of x, 1 to {@link #MOST_ROWS}
   */
  static MachineCode of(WeightFormat format, int rows, CodeTarget target) {
    return new NeonCode(format, rows, target == CodeTarget.NEON_BF16).write();
  }

  private MachineCode write() {
    if (format.hasGroups()) {
      mov(USED_BYTES, X_BYTES);
      moviBytes(MASK, format.bits() == 8 ? 0x80 : 0x0F);
    } else {
      lsr(USED_BYTES, BLOCK_UNITS, 4); // 64 outputs have one input in common, of 4 bytes
      moviMask(MASK, 0b11001100);
    }
    for (int row = 1; row < rows; row++) {
      add(ROWS[row], ROWS[row - 1], X_BYTES);
    }
    Label block = here();
    for (int row = 1; row < rows; row++) {
      add(OUTPUTS[row], OUTPUTS[row - 1], Y_BYTES);
    }
    for (int slice = 0; slice < SUMS / vectors; slice++) {
      outputs(slice);
    }
    mov(W, WEIGHTS);
    add(OUTPUTS[0], OUTPUTS[0], STEP_BYTES);
    sub(BLOCKS, BLOCKS, 1);
    cbnz(BLOCKS, block);
    ret();
    return finish();
  }

  private void outputs(int slice) {
    mov(WEIGHTS, W);
    mov(LEFT_BYTES, USED_BYTES);
    clearSums();
    if (format.hasGroups()) {
      store(slice);
    }
    Label next = here();
    int bytes = format.hasGroups() ? group(slice) : step(slice);
    sub(LEFT_BYTES, LEFT_BYTES, bytes);
    cbnz(LEFT_BYTES, next);
    for (int row = 0; row < rows; row++) {
      sub(ROWS[row], ROWS[row], USED_BYTES);
    }
    if (!format.hasGroups()) {
      store(slice);
    }
  }

  private V sum(int row, int v) {
    return SUM.plus(row * vectors + v);
  }

  private void clearSums() {
    for (int sum = 0; sum < rows * vectors; sum++) {
      moviMask(SUM.plus(sum), 0);
    }
  }

  private void store(int slice) {
    for (int row = 0; row < rows; row++) {
      for (int v = 0; v < vectors; v++) {
        strQ(sum(row, v), OUTPUTS[row], place(slice, v));
      }
    }
  }

  /** Where the outputs of a slice's vector begin among those of a block, in bytes of 32 bits. */
  private int place(int slice, int v) {
    return (slice * vectors + v) * BYTES;
  }

  /** Adds the products of an input, or of a pair; gives how many bytes a row moved. */
  private int step(int slice) {
    boolean widens = format == WeightFormat.BFLOAT16 && !hasBfloat16;
    for (int row = 0; row < rows; row++) {
      ldrThenAdd(INPUT.plus(row), ROWS[row], Integer.BYTES);
      if (widens) {
        shll(INPUT.plus(row), INPUT.plus(row));
      }
    }
    for (int v = 0; v < vectors; v++) {
      ldrQ(WEIGHT, WEIGHTS, place(slice, v));
      if (widens) {
        and(OTHER, WEIGHT, MASK);
        shl(WEIGHT, WEIGHT, Short.SIZE);
      }
      for (int half = format.inputsTogether() - 1; half >= 0; half--) {
        for (int row = 0; row < rows; row++) {
          if (format == WeightFormat.FLOAT32 || widens) {
            fmla(sum(row, v), half == 1 ? OTHER : WEIGHT, INPUT.plus(row), half);
          } else if (half == 1) {
            bfmlalt(sum(row, v), WEIGHT, INPUT.plus(row), half);
          } else {
            bfmlalb(sum(row, v), WEIGHT, INPUT.plus(row), half);
          }
        }
      }
    }
    add(WEIGHTS, WEIGHTS, STEP_BYTES);
    return Integer.BYTES;
  }

  /** Adds the products of a group to y; gives how many bytes a row moved. */
  private int group(int slice) {
    beginSums();
    for (int step = 0; step < GROUP_STEPS; step++) {
      if (step % 4 == 0) {
        for (int row = 0; row < rows; row++) {
          ldurQ(INPUT.plus(row), ROWS[row], NUMBERS + 4 * step);
        }
      }
      for (int v = 0; v < vectors; v++) {
        load(step, place(slice, v));
        for (int row = 0; row < rows; row++) {
          sdot(sum(row, v), WEIGHT, INPUT.plus(row), step % 4);
        }
      }
    }
    int weightBytes = GROUP_STEPS * STEP_BYTES * format.bits() / 8;
    add(WEIGHTS, WEIGHTS, weightBytes);
    scale(slice);
    add(WEIGHTS, WEIGHTS, STEP_BYTES / 2); // the scales
    int rowBytes = SCALE + Float.BYTES;
    for (int row = 0; row < rows; row++) {
      add(ROWS[row], ROWS[row], rowBytes);
    }
    return rowBytes;
  }

  /** Lets sums begin with what the offset of weights of 4 bits would add, negative. */
  private void beginSums() {
    if (format.bits() == 8) { // whose sign is turned over, so that they have none
      clearSums();
      return;
    }
    for (int row = 0; row < rows; row++) {
      ld1r(sum(row, 0), ROWS[row]);
      for (int v = 1; v < vectors; v++) {
        mov(sum(row, v), sum(row, 0));
      }
    }
  }

  /** A byte has a weight of 8 bits, or two of 4: the lower of one step, the upper of the next. */
  private void load(int step, int place) {
    if (format.bits() == 8) {
      ldrQ(WEIGHT, WEIGHTS, step * STEP_BYTES + place);
      eor(WEIGHT, WEIGHT, MASK);
      return;
    }
    ldrQ(WEIGHT, WEIGHTS, step / 2 * STEP_BYTES + place);
    if (step % 2 == 0) {
      and(WEIGHT, WEIGHT, MASK);
    } else {
      ushrBytes(WEIGHT, WEIGHT, 4);
    }
  }

  /** Adds the group's sums to y, times the scales of weights and of x. */
  private void scale(int slice) {
    for (int row = 0; row < rows; row++) {
      ldrS(INPUT.plus(row), ROWS[row], SCALE);
    }
    for (int v = 0; v < vectors; v++) {
      int place = place(slice, v);
      ldrD(WEIGHT, WEIGHTS, place / 2);
      fcvtl(WEIGHT, WEIGHT);
      for (int row = 0; row < rows; row++) {
        fmul(OTHER, WEIGHT, INPUT.plus(row), 0);
        scvtf(sum(row, v), sum(row, v));
        ldrQ(OUTPUT, OUTPUTS[row], place);
        fmla(OUTPUT, sum(row, v), OTHER);
        strQ(OUTPUT, OUTPUTS[row], place);
      }
    }
  }
}
