package org.eellm.kernel.row;

import org.eellm.kernel.assembler.Comparison;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;

/** Machine code that stores numbers in 16 and 8 bits, as {@link RowCode} is for norms. */
final class RoundingCode extends RowAssembler {
  private static final int LINE_BYTES = 64;

  RoundingCode(int vectorBits) {
    super(vectorBits);
  }

  /**
   * Stores as bfloat16, or rounded to it in float32: {@code f(x, x, x, count, offset, to)}, of an
   * array or of memory.
   */
  MachineCode rounding(boolean inFloat32) {
    add(RDI, R8);
    mov(RDX, RCX);
    roundingConstants();
    each(
        () -> {
          load(A, RDI);
          round();
          vpsrld(A, A, 16);
          if (inFloat32) {
            vpslld(A, A, 16);
            store(R9, A);
            advance(RDI, R9);
          } else {
            storeShorts(R9, A);
            add(RDI, vectorBytes());
            add(R9, vectorBytes() / 2);
          }
        });
    return end();
  }

  /**
   * Stores as bfloat16 in one half of 32 bits, the other half cleared if it is the first, else as
   * it was: {@code f(x, to, count)}.
   */
  MachineCode roundingToHalf(int which) {
    roundingConstants();
    fillInts(E, 0xFFFF0000);
    fillInts(F, 0xFFFF);
    each(
        () -> {
          load(A, RDI);
          round();
          if (which == 0) {
            vpsrld(A, A, 16);
          } else {
            load(B, RSI);
            vpandd(A, A, E);
            vpandd(B, B, F);
            vpord(A, A, B);
          }
          store(RSI, A);
          advance(RDI, RSI);
        });
    return end();
  }

  /**
   * Writes each 32 bits into one lane of a vector, from cache line to cache line: {@code f(x, lane,
   * count, to)}, with the lane as a mask.
   */
  MachineCode spreading() {
    maskOf(MASK, ESI);
    Label start = here();
    vmovups(A, at(RCX));
    masked(MASK, A, to -> vpbroadcastd(to, at(RDI)));
    vmovups(at(RCX), A);
    add(RDI, Integer.BYTES);
    add(RCX, LINE_BYTES);
    dec(RDX);
    jne(start);
    return end();
  }

  /**
   * Rounds a group of numbers to 8 bits: {@code f(x, x, x, count, from, to)}, with an array; {@code
   * from} in bytes; {@code count} a multiple of 32. Writes {@code -offset} times the sum of the
   * rounded numbers in 32 bits, the numbers, and their scale.
   *
   * @param offset of weights, a power of two
   */
  MachineCode quantization(float least, int offset) {
    add(RDI, R8);
    fillInts(C, Integer.MAX_VALUE); // all but the sign
    vpxord(A, A, A);
    mov(RSI, RDI);
    mov(RDX, RCX);
    Label first = here();
    vpandd(B, C, at(RSI));
    vpmaxsd(A, A, B); // NaN is larger than all, as an integer
    advance(RSI);
    sub(RDX, lanes());
    jg(first);
    reduce(this::vpmaxsd, A, B);
    fillFloats(B, least);
    compare(MASK, A, B, Comparison.NOT_LESS);
    fillFloats(B, Byte.MAX_VALUE);
    zeroing(MASK, C, to -> vdivps(to, B, A)); // the inverse of the scale
    zeroing(MASK, D, to -> vdivps(to, A, B)); // the scale
    vsubps(A, A, A); // NaN where the largest is infinite
    vaddps(D, D, A);
    fillInts(E, 0x4B400000); // 1.5 * 2^23: what is added to it has no fraction
    fillInts(F, -0x4B400000);
    vpxord(SUM, SUM, SUM);
    mov(RSI, R9);
    mov(RDX, RCX);
    Label second = here();
    vmulps(A, C, at(RDI));
    vaddps(A, A, E);
    vpaddd(A, A, F);
    vpaddd(SUM, SUM, A);
    storeBytes(at(RSI, Integer.BYTES), A);
    advance(RDI);
    add(RSI, lanes());
    sub(RDX, lanes());
    jg(second);
    vmovaps(A, D);
    vmovd(EAX, A.xmm());
    mov(at(RSI, Integer.BYTES), EAX); // the scale
    reduce(this::vpaddd, SUM, B);
    vmovaps(A, SUM);
    vmovd(EAX, A.xmm());
    imul(EAX, EAX, -offset);
    mov(at(R9), EAX);
    return end();
  }

  /** Rounds the float32 numbers in A to bfloat16; constants are in C and D. */
  private void round() {
    vpsrld(B, A, 16);
    vpandd(B, B, C);
    vpaddd(A, A, D);
    vpaddd(A, A, B);
  }

  private void roundingConstants() {
    fillInts(C, 1);
    fillInts(D, 0x7FFF);
  }
}
