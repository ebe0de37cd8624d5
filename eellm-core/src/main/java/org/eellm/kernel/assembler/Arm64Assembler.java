package org.eellm.kernel.assembler;

import static org.eellm.kernel.assembler.CpuFeature.ASIMD;
import static org.eellm.kernel.assembler.CpuFeature.ASIMDDP;
import static org.eellm.kernel.assembler.CpuFeature.BF16;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Writes a function of AArch64 by its procedure call standard, instruction by instruction, with the
 * names and the order of operands of Arm's manual. Each instruction has 32 bits. Vectors have four
 * lanes of 32 bits where a method says nothing else.
 *
 * <p>Functions change only registers that need not be given back: {@code x0} to {@code x17}, {@code
 * v0} to {@code v7} and {@code v16} to {@code v31}.
 */
public abstract class Arm64Assembler {
  private final List<Integer> code = new ArrayList<>();
  private final Map<Integer, Label> jumps = new TreeMap<>(); // by their places
  private final Set<CpuFeature> needs = EnumSet.of(ASIMD);

  /** A general register of 64 bits. */
  public record X(int number) {}

  /** A vector register of 128 bits. */
  public record V(int number) {

    public V plus(int count) {
      return new V(number + count);
    }
  }

  public static X x(int number) {
    return new X(number);
  }

  public static V v(int number) {
    return new V(number);
  }

  public final MachineCode finish() {
    jumps.forEach((at, label) -> code.set(at, code.get(at) | (label.position - at & 0x7FFFF) << 5));
    ByteBuffer bytes =
        ByteBuffer.allocate(code.size() * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    code.forEach(bytes::putInt);
    return new MachineCode(bytes.array(), bytes.capacity(), Set.copyOf(needs));
  }

  /** A place that jumps end at. */
  public final Label here() {
    Label label = new Label();
    bind(label);
    return label;
  }

  /** Lets jumps to a label end here. */
  public final void bind(Label label) {
    label.position = code.size();
  }

  // General registers.

  public final void mov(X to, X from) {
    code.add(0xAA0003E0 | from.number << 16 | to.number);
  }

  /** {@code movz} and {@code movk} of 32 bits; the upper ones become 0. */
  public final void mov(X to, int value) {
    code.add(0x52800000 | (value & 0xFFFF) << 5 | to.number);
    code.add(0x72A00000 | value >>> 16 << 5 | to.number);
  }

  public final void add(X to, X first, X second) {
    code.add(0x8B000000 | operands(to.number, first.number, second.number));
  }

  public final void add(X to, X first, int second) {
    code.add(0x91000000 | unsigned(second, 1) << 10 | operands(to.number, first.number, 0));
  }

  public final void sub(X to, X first, X second) {
    code.add(0xCB000000 | operands(to.number, first.number, second.number));
  }

  public final void sub(X to, X first, int second) {
    code.add(0xD1000000 | unsigned(second, 1) << 10 | operands(to.number, first.number, 0));
  }

  public final void lsr(X to, X from, int bits) {
    code.add(0xD340FC00 | bits << 16 | operands(to.number, from.number, 0));
  }

  public final void cbz(X register, Label label) {
    jumps.put(code.size(), label);
    code.add(0xB4000000 | register.number);
  }

  public final void cbnz(X register, Label label) {
    jumps.put(code.size(), label);
    code.add(0xB5000000 | register.number);
  }

  public final void ret() {
    code.add(0xD65F03C0);
  }

  // Memory.

  /** {@code ldr q, [base, offset]}: a vector. */
  public final void ldrQ(V to, X base, int offset) {
    code.add(0x3DC00000 | unsigned(offset, 16) << 10 | operands(to.number, base.number, 0));
  }

  /** {@code ldur q, [base, offset]}: a vector, from any offset below 256. */
  public final void ldurQ(V to, X base, int offset) {
    code.add(0x3CC00000 | (offset & 0xFF) << 12 | operands(to.number, base.number, 0));
  }

  /** {@code ldr d, [base, offset]}: the lower half of a vector; the upper becomes 0. */
  public final void ldrD(V to, X base, int offset) {
    code.add(0xFD400000 | unsigned(offset, 8) << 10 | operands(to.number, base.number, 0));
  }

  /** {@code ldr s, [base, offset]}: the first lane of a vector; others become 0. */
  public final void ldrS(V to, X base, int offset) {
    code.add(0xBD400000 | unsigned(offset, 4) << 10 | operands(to.number, base.number, 0));
  }

  /**
   * {@code ldr [base], step}: the first lane of a vector, the lower half, or all; the rest becomes
   * 0. Adds the step to the base.
   *
   * @param step 4, 8 or 16: as many bytes are read
   */
  public final void ldrThenAdd(V to, X base, int step) {
    int opcode =
        switch (step) {
          case 4 -> 0xBC400400;
          case 8 -> 0xFC400400;
          case 16 -> 0x3CC00400;
          default -> throw new IllegalArgumentException(step + " bytes; a vector takes 4, 8 or 16");
        };
    code.add(opcode | step << 12 | operands(to.number, base.number, 0));
  }

  /** {@code ldr w, [base], 4}: 32 bits without a sign, and adds their size to the base. */
  public final void ldrThenAdd(X to, X base) {
    code.add(0xB8404400 | operands(to.number, base.number, 0));
  }

  /** A number of 32 bits for all lanes. */
  public final void ld1r(V to, X base) {
    code.add(0x4D40C800 | operands(to.number, base.number, 0));
  }

  /** {@code str q, [base, offset]}. */
  public final void strQ(V from, X base, int offset) {
    code.add(0x3D800000 | unsigned(offset, 16) << 10 | operands(from.number, base.number, 0));
  }

  /** {@code str s, [base, offset]}: the first lane. */
  public final void strS(V from, X base, int offset) {
    code.add(0xBD000000 | unsigned(offset, 4) << 10 | operands(from.number, base.number, 0));
  }

  // Vectors.

  /** {@code fmov w, s}: the first lane. */
  public final void mov(X to, V from) {
    code.add(0x1E260000 | operands(to.number, from.number, 0));
  }

  /** {@code dup}: the lower 32 bits of a register in all lanes. */
  public final void dup(V to, X from) {
    code.add(0x4E040C00 | operands(to.number, from.number, 0));
  }

  /** {@code dup}: one lane in all. */
  public final void dup(V to, V from, int lane) {
    code.add(0x4E040400 | lane << 19 | operands(to.number, from.number, 0));
  }

  /** {@code mov to.s[lane], from}: the lower 32 bits of a register into one lane. */
  public final void insert(V to, int lane, X from) {
    code.add(0x4E041C00 | lane << 19 | operands(to.number, from.number, 0));
  }

  public final void mov(V to, V from) {
    code.add(0x4EA01C00 | operands(to.number, from.number, from.number));
  }

  /** The same in every byte. */
  public final void moviBytes(V to, int value) {
    code.add(0x4F00E400 | immediate(value) | to.number);
  }

  /** In both halves, all bits of the bytes whose bit is in a mask. */
  public final void moviMask(V to, int bytes) {
    code.add(0x6F00E400 | immediate(bytes) | to.number);
  }

  public final void and(V to, V first, V second) {
    code.add(0x4E201C00 | operands(to.number, first.number, second.number));
  }

  public final void orr(V to, V first, V second) {
    code.add(0x4EA01C00 | operands(to.number, first.number, second.number));
  }

  /** {@code to = first & ~second}. */
  public final void bic(V to, V first, V second) {
    code.add(0x4E601C00 | operands(to.number, first.number, second.number));
  }

  /** Where a bit is set, that of the first, else that of the second. */
  public final void bsl(V to, V first, V second) {
    code.add(0x6E601C00 | operands(to.number, first.number, second.number));
  }

  public final void eor(V to, V first, V second) {
    code.add(0x6E201C00 | operands(to.number, first.number, second.number));
  }

  public final void shl(V to, V from, int bits) {
    code.add(0x4F005400 | Integer.SIZE + bits << 16 | operands(to.number, from.number, 0));
  }

  public final void sshr(V to, V from, int bits) {
    code.add(0x4F000400 | 2 * Integer.SIZE - bits << 16 | operands(to.number, from.number, 0));
  }

  /** {@code ushr} of bytes. */
  public final void ushrBytes(V to, V from, int bits) {
    code.add(0x6F000400 | 2 * Byte.SIZE - bits << 16 | operands(to.number, from.number, 0));
  }

  /** {@code shll} of the four lower lanes of 16 bits, which become the upper halves of lanes. */
  public final void shll(V to, V from) {
    code.add(0x2E613800 | operands(to.number, from.number, 0));
  }

  /** {@code fcvtl} of the four lower lanes of 16 bits: float16 to float32. */
  public final void fcvtl(V to, V from) {
    code.add(0x0E217800 | operands(to.number, from.number, 0));
  }

  public final void scvtf(V to, V from) {
    code.add(0x4E21D800 | operands(to.number, from.number, 0));
  }

  public final void add(V to, V first, V second) {
    code.add(0x4EA08400 | operands(to.number, first.number, second.number));
  }

  /** Of integers: all bits of a lane where the first is greater. */
  public final void cmgt(V to, V first, V second) {
    code.add(0x4EA03400 | operands(to.number, first.number, second.number));
  }

  /** As {@link #cmgt}, or equal. */
  public final void cmge(V to, V first, V second) {
    code.add(0x4EA03C00 | operands(to.number, first.number, second.number));
  }

  /** The largest lane as an integer without a sign, in the first lane. */
  public final void umaxv(V to, V from) {
    code.add(0x6EB0A800 | operands(to.number, from.number, 0));
  }

  public final void fcmgt(V to, V first, V second) {
    code.add(0x6EA0E400 | operands(to.number, first.number, second.number));
  }

  public final void fcmeq(V to, V first, V second) {
    code.add(0x4E20E400 | operands(to.number, first.number, second.number));
  }

  public final void fadd(V to, V first, V second) {
    code.add(0x4E20D400 | operands(to.number, first.number, second.number));
  }

  /** The sums of neighbours, of the first's lanes and then of the second's. */
  public final void faddp(V to, V first, V second) {
    code.add(0x6E20D400 | operands(to.number, first.number, second.number));
  }

  public final void fsub(V to, V first, V second) {
    code.add(0x4EA0D400 | operands(to.number, first.number, second.number));
  }

  public final void fdiv(V to, V first, V second) {
    code.add(0x6E20FC00 | operands(to.number, first.number, second.number));
  }

  /** The larger; NaN where one is. */
  public final void fmax(V to, V first, V second) {
    code.add(0x4E20F400 | operands(to.number, first.number, second.number));
  }

  /** The smaller; NaN where one is. */
  public final void fmin(V to, V first, V second) {
    code.add(0x4EA0F400 | operands(to.number, first.number, second.number));
  }

  /** The largest lane, in the first lane; NaN if one is. */
  public final void fmaxv(V to, V from) {
    code.add(0x6E30F800 | operands(to.number, from.number, 0));
  }

  public final void fmul(V to, V first, V second) {
    code.add(0x6E20DC00 | operands(to.number, first.number, second.number));
  }

  /** {@code to = first * second[lane]}. */
  public final void fmul(V to, V first, V second, int lane) {
    code.add(0x4F809000 | lane(lane) | operands(to.number, first.number, second.number));
  }

  /** {@code to = to + first * second}, rounded once. */
  public final void fmla(V to, V first, V second) {
    code.add(0x4E20CC00 | operands(to.number, first.number, second.number));
  }

  /** {@code to = to + first * second[lane]}, rounded once. */
  public final void fmla(V to, V first, V second, int lane) {
    code.add(0x4F801000 | lane(lane) | operands(to.number, first.number, second.number));
  }

  /** Adds the products of four bytes with a sign, in each lane, with those of a lane. */
  public final void sdot(V to, V first, V second, int lane) {
    needs.add(ASIMDDP);
    code.add(0x4F80E000 | lane(lane) | operands(to.number, first.number, second.number));
  }

  /**
   * As {@link #fmla(V, V, V, int)} of the lower bfloat16 number of each lane, with one of eight.
   *
   * @param second one of the first 16 registers
   */
  public final void bfmlalb(V to, V first, V second, int lane) {
    bfmlal(0x0FC0F000, to, first, second, lane);
  }

  /** As {@link #bfmlalb} of the upper number of each lane. */
  public final void bfmlalt(V to, V first, V second, int lane) {
    bfmlal(0x4FC0F000, to, first, second, lane);
  }

  private void bfmlal(int opcode, V to, V first, V second, int lane) {
    needs.add(BF16);
    int place = lane(lane >> 1) | (lane & 1) << 20;
    code.add(opcode | place | operands(to.number, first.number, second.number));
  }

  // Where operands are in an encoding.

  private static int operands(int to, int first, int second) {
    return second << 16 | first << 5 | to;
  }

  private static int lane(int lane) {
    return (lane & 1) << 21 | lane >> 1 << 11;
  }

  private static int immediate(int bits) {
    return bits >> 5 << 16 | (bits & 31) << 5;
  }

  /** A number in units, of which an instruction has 12 bits. */
  private static int unsigned(int value, int unit) {
    if (value < 0 || value % unit != 0 || value / unit > 0xFFF) {
      throw new IllegalArgumentException(
          "%d is not up to 4095 times %d, as the instruction needs it".formatted(value, unit));
    }
    return value / unit;
  }
}
