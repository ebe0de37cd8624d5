package org.eellm.kernel.row;

import org.eellm.kernel.assembler.Comparison;
import org.eellm.kernel.assembler.Gp;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Mask;
import org.eellm.kernel.assembler.Memory;
import org.eellm.kernel.assembler.Vector;

/**
 * Writes a function that goes through numbers of a row, a vector at a time; the shared parts of
 * {@link RowCode}, {@link ActivationCode}, {@link RoundingCode}, {@link LogitCode} and {@link
 * SamplingCode}.
 *
 * <p>Functions take addresses, sizes and the bits of float32 numbers. A count need not be a
 * multiple of anything, and is their third parameter; with arrays, the first of the four behind
 * them.
 */
public abstract class RowAssembler extends ExponentialCode {
  static final Mask MASK = K1; // of the lanes that count

  private static final int LOWER_PARTS = 0b1000; // of both halves, for vpermq

  // Registers of functions that have no exponentials.
  static final Vector A = vector(0);
  static final Vector B = vector(1);
  static final Vector C = vector(2);
  static final Vector D = vector(3);
  static final Vector E = vector(4);
  static final Vector F = vector(5);

  // Registers that exponentials leave alone.
  static final Vector FIRST = vector(6);
  static final Vector SECOND = vector(7);
  static final Vector SUM = vector(8);

  private boolean areAll; // whether a body has a whole vector

  protected RowAssembler(int vectorBits) {
    super(vectorBits);
  }

  protected final MachineCode end() {
    leaveVectors();
    return finish();
  }

  /**
   * Runs a body for the next numbers, those in the mask, until all have been. AVX2 stores masked
   * lanes slowly, so there whole vectors have a body of their own.
   */
  final void each(Runnable body) {
    Label next = here();
    if (isAvx512()) {
      mov(R11D, lanes());
      cmp(RDX, R11);
      cmovl(R11, RDX);
      maskOfLowest(R11D);
      body.run();
      sub(RDX, lanes());
      jg(next);
    } else {
      Label rest = new Label();
      Label end = new Label();
      cmp(RDX, lanes());
      jl(rest);
      areAll = true;
      body.run();
      areAll = false;
      sub(RDX, lanes());
      jmp(next);
      bind(rest);
      test(RDX, RDX);
      je(end);
      maskOfLowest(EDX);
      body.run();
      bind(end);
    }
  }

  private void maskOfLowest(Gp count) {
    mov(EAX, 0xFFFF);
    bzhi(EAX, EAX, count);
    maskOf(MASK, EAX);
  }

  final void load(Vector to, Gp from) {
    if (areAll) {
      vmovups(to, at(from));
    } else {
      load(MASK, to, at(from));
    }
  }

  final void store(Gp to, Vector from) {
    if (areAll) {
      vmovups(at(to), from);
    } else {
      store(MASK, at(to), from);
    }
  }

  /** Stores the lower 16 bits of the next numbers, whose upper ones are 0; changes them. */
  final void storeShorts(Gp to, Vector from) {
    if (isAvx512()) {
      vpmovdw(at(to).masked(MASK), from);
      return;
    }
    vpackusdw(from, from, from);
    vpermq(from, from, LOWER_PARTS);
    if (areAll) {
      vmovups(at(to), from.xmm());
      return;
    }
    Label next = here(); // the last of all, at most seven
    vmovd(EAX, from.xmm());
    mov(at(to), AX);
    vpsrldq(from.xmm(), from.xmm(), Short.BYTES);
    add(to, Short.BYTES);
    dec(RDX);
    jne(next);
  }

  /** Stores the lowest 8 bits of all lanes; AVX2 changes them. */
  final void storeBytes(Memory to, Vector from) {
    if (isAvx512()) {
      vpmovdb(to, from);
      return;
    }
    vpslld(from, from, 24);
    vpsrld(from, from, 24);
    vpackusdw(from, from, from);
    vpermq(from, from, LOWER_PARTS);
    vpackuswb(from, from, from);
    vmovq(to, from.xmm());
  }

  final void advance(Gp... registers) {
    for (Gp register : registers) {
      add(register, vectorBytes());
    }
  }

  /** Goes on by a vector of x, while rsi counts any. */
  protected final void nextVector(Label start) {
    add(RDI, vectorBytes());
    dec(RSI);
    jne(start);
  }

  /** Ends with the first place of A in rsi vectors from rdi on, or -1. */
  final MachineCode endWithPlace() {
    xor(EDX, EDX); // the place
    Label start = here();
    compare(MASK, A, at(RDI), Comparison.EQUAL);
    bitsOf(ECX, MASK);
    test(ECX, ECX);
    Label found = new Label();
    jne(found);
    add(RDX, lanes());
    nextVector(start);
    mov(RAX, -1);
    leaveVectors();
    bind(found);
    bsf(EAX, ECX);
    add(RAX, RDX);
    return end();
  }
}
