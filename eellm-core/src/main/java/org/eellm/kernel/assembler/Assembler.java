package org.eellm.kernel.assembler;

import java.util.function.Consumer;

/**
 * Writes a function of x86-64 by the System V convention, instruction by instruction. Functions
 * extend this class, so that they read like assembly.
 */
public abstract class Assembler extends VectorInstructions {
  private static final Gp[] PRESERVED = {RBX, RBP, R12, R13, R14, R15};

  private Gp[] saved = {};
  private int room;

  /**
   * A function to be written.
   *
   * @param vectorBits of its vectors: 512 for AVX-512, 256 for AVX2. Of AVX2's 16 vector registers
   *     masks take the last two, and what comes by for a moment the one before. Those from 16 on
   *     are for constants, which then lie behind the code.
   */
  protected Assembler(int vectorBits) {
    super(vectorBits);
  }

  /** A function without vectors, for any processor of x86-64. */
  protected Assembler() {
    super(Long.SIZE);
    encoder.need(CpuFeature.LM);
  }

  // The frame of a function.

  /**
   * Saves all registers that a function has to give back.
   *
   * @param places of 64 bits that it needs on the stack, from {@code rsp} on
   */
  public final void enter(int places) {
    enter(places, PRESERVED);
  }

  /** Saves the registers that a function changes, of those that it has to give back. */
  public final void enter(int places, Gp... registers) {
    saved = registers.clone();
    room = places == 0 ? 0 : Long.BYTES * (places + (saved.length + places + 1) % 2); // whole 16s
    for (Gp register : saved) {
      encoder.general(Integer.SIZE, 0xFF, 6, register);
    }
    if (room > 0) {
      sub(RSP, room);
    }
  }

  /** Gives back what {@link #enter} saved, if it was called, and returns. */
  public final void leave() {
    if (room > 0) {
      add(RSP, room);
    }
    for (int i = saved.length - 1; i >= 0; i--) {
      encoder.general(Integer.SIZE, 0x8F, 0, saved[i]);
    }
    encoder.bytes(0xC3); // ret
  }

  /** As {@link #leave}, after vectors of more than 128 bits, so that others may be used then. */
  public final void leaveVectors() {
    vzeroupper();
    leave();
  }

  /** A parameter beyond those that registers have, from the seventh on. */
  public final Memory parameter(int number) {
    return at(RSP, Long.BYTES * (saved.length + 1 + number - 7) + room);
  }

  public final MachineCode finish() {
    return encoder.finish();
  }

  /** A place that a jump backwards ends at. */
  public final Label here() {
    Label label = new Label();
    bind(label);
    return label;
  }

  public final void bind(Label label) {
    encoder.bind(label);
  }

  // Operations that AVX-512 and AVX2 have different instructions for.

  /** Whether vectors have 512 bits: with them come masks, and room for constants in registers. */
  public final boolean isAvx512() {
    return vectorBits == 512;
  }

  /**
   * Vectors of outputs that AVX2 takes at once for so many rows, up to 6: with at most 12 sums,
   * four of 16 registers are left.
   */
  protected static int vectorsOfAvx2(int rows) {
    return switch (rows) {
      case 1 -> 8;
      case 2, 3 -> 4;
      default -> 2;
    };
  }

  /** Numbers of 32 bits in a vector. */
  public final int lanes() {
    return vectorBits / Integer.SIZE;
  }

  public final int vectorBytes() {
    return vectorBits / Byte.SIZE;
  }

  public final Vector half(Vector register) {
    return Vector.of(register.number(), vectorBits / 2);
  }

  /** A vector of as many times the same 32 bits; may change {@code rax}. */
  public final void fillInts(Vector to, int bits) {
    if (isConstant(to)) {
      encoder.keep(to, Integer.toUnsignedLong(bits) | (long) bits << Integer.SIZE);
    } else {
      mov(EAX, bits);
      broadcast(to, EAX);
    }
  }

  /** A vector of as many times the same float32 number; may change {@code rax}. */
  public final void fillFloats(Vector to, float number) {
    fillInts(to, Float.floatToRawIntBits(number));
  }

  /** A vector of as many times the same 64 bits; may change {@code rax}. */
  public final void fillLongs(Vector to, long bits) {
    if (isConstant(to)) {
      encoder.keep(to, bits);
    } else {
      mov(RAX, bits);
      vpbroadcastq(to, RAX);
    }
  }

  /** A vector of as many times the same float64 number; may change {@code rax}. */
  public final void fillDoubles(Vector to, double number) {
    fillLongs(to, Double.doubleToRawLongBits(number));
  }

  /** A vector of as many times 32 bits of a register. */
  public final void broadcast(Vector to, Gp from) {
    if (bits(to) == 512) {
      vpbroadcastd(to, from);
    } else {
      vmovd(to.xmm(), from);
      vbroadcastss(to, to.xmm());
    }
  }

  /** A number in memory for all lanes: there, or in a register that may change. */
  public final Operand broadcasted(Memory number, Vector free) {
    if (isAvx512()) {
      return number.broadcasted();
    }
    vbroadcastss(free, number);
    return free;
  }

  /** An instruction on three registers. */
  @FunctionalInterface
  public interface Operation {
    void write(Vector to, Vector first, Vector second);
  }

  /**
   * Combines all lanes of a vector, in the order of {@link org.eellm.kernel.vector.Lanes#sum}; then
   * each has a result.
   */
  public final void reduce(Operation operation, Vector register, Vector free) {
    for (int lanes = 1; lanes < lanes(); lanes *= 2) {
      if (isAvx512()) {
        valignd(free, register, register, lanes);
      } else {
        vperm2i128(free, register, register, 1);
        if (lanes < 4) { // of a half
          vpalignr(free, free, register, lanes * Integer.BYTES);
        }
      }
      operation.write(register, register, free);
    }
  }

  // The same of masks. With AVX2 they are vectors, in the last registers.

  private static Vector asVector(int mask) {
    return vector(16 - mask);
  }

  /** Makes a mask of the lowest bits of a register; may change {@code rax}. */
  public final void maskOf(Mask to, Gp bits) {
    if (isAvx512()) {
      kmovw(to, bits);
    } else {
      Vector lanes = asVector(to.number());
      broadcast(lanes, bits);
      mov(RAX, 0x8040201008040201L); // a bit of each lane
      vmovq(PASSING.xmm(), RAX);
      vpmovzxbd(PASSING, PASSING.xmm());
      vpandd(lanes, lanes, PASSING);
      vpcmpeqd(lanes, lanes, PASSING);
    }
  }

  /** Makes a mask of no lanes. */
  public final void clear(Mask mask) {
    if (isAvx512()) {
      kxorw(mask, mask, mask);
    } else {
      vpxord(asVector(mask.number()), asVector(mask.number()), asVector(mask.number()));
    }
  }

  /** Adds the lanes of another mask. */
  public final void include(Mask to, Mask more) {
    if (isAvx512()) {
      korw(to, to, more);
    } else {
      vpord(asVector(to.number()), asVector(to.number()), asVector(more.number()));
    }
  }

  public final void bitsOf(Gp to, Mask mask) {
    if (isAvx512()) {
      kmovw(to, mask);
    } else {
      vmovmskps(to, asVector(mask.number()));
    }
  }

  /** Makes a mask of the lanes, of those that count in another, for which a comparison is true. */
  public final void compare(Mask to, Vector first, Operand second, Comparison how) {
    if (isAvx512()) {
      vcmpps(to, first, second, how);
      return;
    }
    Vector lanes = asVector(to.number());
    vcmpps(lanes, first, second, how);
    if (to.mask() > 0) {
      vpandd(lanes, lanes, asVector(to.mask()));
    }
  }

  /** Does what an operation does to a register in the lanes of a mask; others stay as they are. */
  public final void masked(Mask mask, Vector to, Consumer<Vector> operation) {
    if (isAvx512()) {
      operation.accept(to.masked(mask));
    } else {
      operation.accept(PASSING);
      vblendvps(to, to, PASSING, asVector(mask.number()));
    }
  }

  /** Does what an operation does to a register in the lanes of a mask; others become 0. */
  public final void zeroing(Mask mask, Vector to, Consumer<Vector> operation) {
    if (isAvx512()) {
      operation.accept(to.zeroing(mask));
    } else {
      operation.accept(to);
      vpandd(to, to, asVector(mask.number()));
    }
  }

  /** Loads the lanes of a mask; others become 0, and are not read. */
  public final void load(Mask mask, Vector to, Memory from) {
    if (isAvx512()) {
      vmovups(to.zeroing(mask), from);
    } else {
      vmaskmovps(to, asVector(mask.number()), from);
    }
  }

  public final void store(Mask mask, Memory to, Vector from) {
    if (isAvx512()) {
      vmovups(to.masked(mask), from);
    } else {
      vmaskmovps(to, asVector(mask.number()), from);
    }
  }
}
