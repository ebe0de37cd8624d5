package org.eellm.kernel.assembler;

import static org.eellm.kernel.assembler.CpuFeature.ASIMD;
import static org.eellm.kernel.assembler.CpuFeature.ASIMDDP;
import static org.eellm.kernel.assembler.CpuFeature.BF16;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

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
  private final Set<CpuFeature> needs = EnumSet.of(ASIMD);

  /** A general register of 64 bits. */
  public record X(int number) {}

  /** A vector register of 128 bits. */
  public record V(int number) {

    /** The register that many numbers on. */
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

  /** The function. */
  public final MachineCode finish() {
    ByteBuffer bytes =
        ByteBuffer.allocate(code.size() * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    code.forEach(bytes::putInt);
    return new MachineCode(bytes.array(), bytes.capacity(), Set.copyOf(needs));
  }

  /** A place that a jump backwards ends at. */
  public final Label here() {
    Label label = new Label();
    label.position = code.size();
    return label;
  }

  // General registers.

  public final void mov(X to, X from) {
    code.add(0xAA0003E0 | from.number << 16 | to.number);
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

  /** Jumps back where a register is not 0. */
  public final void cbnz(X register, Label back) {
    code.add(0xB5000000 | (back.position - code.size() & 0x7FFFF) << 5 | register.number);
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

  /** {@code ldr s, [base], step}: as {@link #ldrS}, and adds the step, below 256, to the base. */
  public final void ldrThenAdd(V to, X base, int step) {
    code.add(0xBC400400 | (step & 0xFF) << 12 | operands(to.number, base.number, 0));
  }

  /** A number of 32 bits for all lanes. */
  public final void ld1r(V to, X base) {
    code.add(0x4D40C800 | operands(to.number, base.number, 0));
  }

  /** {@code str q, [base, offset]}. */
  public final void strQ(V from, X base, int offset) {
    code.add(0x3D800000 | unsigned(offset, 16) << 10 | operands(from.number, base.number, 0));
  }

  // Vectors.

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

  public final void eor(V to, V first, V second) {
    code.add(0x6E201C00 | operands(to.number, first.number, second.number));
  }

  public final void shl(V to, V from, int bits) {
    code.add(0x4F005400 | Integer.SIZE + bits << 16 | operands(to.number, from.number, 0));
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
