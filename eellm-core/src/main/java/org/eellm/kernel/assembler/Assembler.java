package org.eellm.kernel.assembler;

/**
 * Writes a function of x86-64 by the System V convention, instruction by instruction. Functions
 * extend this class, so that they read like assembly.
 */
public abstract class Assembler extends Instructions {
  private static final Gp[] PRESERVED = {RBX, RBP, R12, R13, R14, R15};

  private Gp[] saved = {};
  private int room;

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

  /** The function. */
  public final MachineCode finish() {
    return encoder.finish();
  }

  /** A place that a jump backwards ends at. */
  public final Label here() {
    Label label = new Label();
    bind(label);
    return label;
  }

  /** Where jumps to a label end. */
  public final void bind(Label label) {
    encoder.bind(label);
  }

  // Operations of several instructions.

  /** A vector of as many times the same 32 bits; changes {@code rax}. */
  public final void fillInts(Vector to, int bits) {
    mov(EAX, bits);
    if (to.bits() == 512) {
      vpbroadcastd(to, EAX);
    } else { // AVX2 has it from vectors alone
      vmovd(to.xmm(), EAX);
      vbroadcastss(to, to.xmm());
    }
  }

  /** A vector of as many times the same float32 number; changes {@code rax}. */
  public final void fillFloats(Vector to, float number) {
    fillInts(to, Float.floatToRawIntBits(number));
  }

  /** A vector of as many times the same 64 bits; changes {@code rax}. */
  public final void fillLongs(Vector to, long bits) {
    mov(RAX, bits);
    vpbroadcastq(to, RAX);
  }

  /** A vector of as many times the same float64 number; changes {@code rax}. */
  public final void fillDoubles(Vector to, double number) {
    fillLongs(to, Double.doubleToRawLongBits(number));
  }

  /** An instruction on three registers. */
  @FunctionalInterface
  public interface Operation {
    void write(Vector to, Vector first, Vector second);
  }

  /**
   * Combines all lanes of a zmm, in the order of {@link org.eellm.kernel.vector.Lanes#sum}; then
   * each has the result.
   */
  public final void reduce(Operation operation, Vector register, Vector free) {
    for (int lanes = 1; lanes < register.bytes() / Float.BYTES; lanes *= 2) {
      valignd(free, register, register, lanes);
      operation.write(register, register, free);
    }
  }
}
