package org.eellm.kernel.row;

import org.eellm.kernel.assembler.Comparison;
import org.eellm.kernel.assembler.Gp;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Mask;
import org.eellm.kernel.assembler.Vector;

/**
 * Writes a function that goes through numbers of a row, 16 at a time; the shared parts of {@link
 * RowCode}, {@link ActivationCode}, {@link RoundingCode}, {@link LogitCode} and {@link
 * SamplingCode}.
 *
 * <p>Functions take addresses, sizes and the bits of float32 numbers. A count need not be a
 * multiple of anything, and is their third parameter; with arrays, the first of the four behind
 * them.
 */
public abstract class RowAssembler extends ExponentialCode {
  protected static final int VECTOR_BYTES = 64;
  static final int LANES = VECTOR_BYTES / Float.BYTES;
  static final Mask MASK = K1; // of the lanes that count

  // Registers of functions that have no exponentials.
  static final Vector A = zmm(0);
  static final Vector B = zmm(1);
  static final Vector C = zmm(2);
  static final Vector D = zmm(3);
  static final Vector E = zmm(4);
  static final Vector F = zmm(5);

  // Registers that exponentials leave alone.
  static final Vector FIRST = zmm(6);
  static final Vector SECOND = zmm(7);
  static final Vector SUM = zmm(8);

  /** The function. */
  protected final MachineCode end() {
    leaveVectors();
    return finish();
  }

  /** Runs a body for the next 16 numbers, those in the mask, until all have been. */
  final void each(Runnable body) {
    Label next = here();
    mov(R11D, LANES);
    cmp(RDX, R11);
    cmovl(R11, RDX);
    mov(EAX, 0xFFFF);
    bzhi(EAX, EAX, R11D);
    kmovw(MASK, EAX);
    body.run();
    sub(RDX, LANES);
    jg(next);
  }

  /** Loads the next numbers in the mask. */
  final void load(Vector to, Gp from) {
    vmovups(to.zeroing(MASK), at(from));
  }

  /** Stores the next numbers in the mask. */
  final void store(Gp to, Vector from) {
    vmovups(at(to).masked(MASK), from);
  }

  /** Goes on by a vector. */
  final void advance(Gp... registers) {
    for (Gp register : registers) {
      add(register, VECTOR_BYTES);
    }
  }

  /** Goes on by a vector of x, while rsi counts any. */
  protected final void nextVector(Label start) {
    add(RDI, VECTOR_BYTES);
    dec(RSI);
    jne(start);
  }

  /** Ends with the first place of A in rsi vectors from rdi on, or -1. */
  final MachineCode endWithPlace() {
    xor(EDX, EDX); // the place
    Label start = here();
    vcmpps(MASK, A, at(RDI), Comparison.EQUAL);
    kmovw(ECX, K1);
    test(ECX, ECX);
    Label found = new Label();
    jne(found);
    add(RDX, LANES);
    nextVector(start);
    mov(RAX, -1);
    leaveVectors();
    bind(found);
    bsf(EAX, ECX);
    add(RAX, RDX);
    return end();
  }
}
