package org.eellm.kernel.row;

import org.eellm.kernel.assembler.Comparison;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Vector;

/** Machine code for activation functions, as {@link RowCode} is for norms. */
final class ActivationCode extends RowAssembler {
  private static final Vector ARGUMENT = vector(9);
  private static final Vector SIZE = vector(10);
  private static final Vector TEMPORARY = vector(11);

  ActivationCode(int vectorBits) {
    super(vectorBits);
  }

  private void begin() {
    exponentialConstants();
    mov(RDX, RCX);
  }

  /**
   * {@code silu(gate) up}: {@code f(out, out, out, count, gate, up)}, with an array. Blocks of
   * gates and of what they multiply come in turn, each as long as {@code up} is behind {@code
   * gate}.
   */
  MachineCode swiGlu() {
    return gated(
        () -> {
          vmovaps(X, FIRST);
          negate(X);
          sigmoidOfNegative();
          vmulps(P, FIRST, P);
        });
  }

  /** {@code gelu(gate) up} with the gelu of {@link #geluTanh}; parameters as {@link #swiGlu}'s. */
  MachineCode geGluTanh() {
    return gated(this::geluTanhOfFirst);
  }

  /** A gate's function times what it lets through; the function makes P of FIRST. */
  private MachineCode gated(Runnable function) {
    begin();
    mov(RSI, R9);
    sub(RSI, R8);
    mov(R10, RSI); // bytes that are left of the block
    each(
        () -> {
          load(FIRST, R8);
          load(SECOND, R9);
          function.run();
          vmulps(P, P, SECOND);
          store(RDI, P);
          advance(R8, R9, RDI);
          add(R10, -vectorBytes());
          Label inside = new Label();
          jne(inside);
          add(R8, RSI);
          add(R9, RSI);
          mov(R10, RSI);
          bind(inside);
        });
    return end();
  }

  /** {@code x / 2 (1 + erf(x / sqrt(2)))}: {@code f(out, out, out, count, x)}, with an array. */
  MachineCode gelu() {
    begin();
    each(
        () -> {
          load(FIRST, R8);
          multiplyBy(ARGUMENT, FIRST, 0.70710678f);
          fillInts(TEMPORARY, Integer.MAX_VALUE);
          vpandd(SIZE, ARGUMENT, TEMPORARY);
          multiplyBy(SECOND, SIZE, 0.3275911f);
          vaddps(SECOND, SECOND, ONE);
          vdivps(SECOND, ONE, SECOND);
          fillFloats(SUM, 1.061405429f);
          for (float next :
              new float[] {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) {
            fillFloats(TEMPORARY, next);
            vfmadd213ps(SUM, SECOND, TEMPORARY);
          }
          vmulps(SUM, SUM, SECOND);
          vmulps(X, SIZE, SIZE);
          negate(X);
          vmaxps(X, LOWEST, X); // NaN stays
          exponential();
          vmulps(P, P, SHIFTED);
          vmulps(SUM, SUM, P);
          vsubps(SUM, ONE, SUM);
          fillInts(TEMPORARY, 0);
          compare(K2, ARGUMENT, TEMPORARY, Comparison.LESS);
          fillInts(TEMPORARY, Integer.MIN_VALUE); // the sign
          masked(K2, SUM, to -> vpxord(to, SUM, TEMPORARY));
          vaddps(SUM, SUM, ONE);
          multiplyBy(FIRST, FIRST, 0.5f);
          vmulps(FIRST, FIRST, SUM);
          store(RDI, FIRST);
          advance(R8, RDI);
        });
    return end();
  }

  /**
   * {@code x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))}: {@code f(out, out, out, count, x)},
   * with an array.
   */
  MachineCode geluTanh() {
    begin();
    each(
        () -> {
          load(FIRST, R8);
          geluTanhOfFirst();
          store(RDI, P);
          advance(R8, RDI);
        });
    return end();
  }

  private void geluTanhOfFirst() {
    vmulps(X, FIRST, FIRST);
    vmulps(X, X, FIRST);
    multiplyBy(X, X, 0.044715f);
    vaddps(X, X, FIRST);
    multiplyBy(X, X, 2 * 0.79788456f);
    negate(X);
    sigmoidOfNegative();
    vmulps(P, FIRST, P);
  }

  /**
   * {@code cap tanh(x / cap)}, in place: {@code f(x, vectors, cap, factor)}, the factor being minus
   * two over the cap.
   */
  MachineCode softcap() {
    exponentialConstants();
    broadcast(FIRST, EDX);
    broadcast(SECOND, ECX);
    vaddps(SUM, FIRST, FIRST);
    Label start = here();
    vmovups(X, at(RDI));
    vmulps(X, X, SECOND);
    sigmoidOfNegative();
    vmulps(P, P, SUM);
    vsubps(P, P, FIRST);
    vmovups(at(RDI), P);
    nextVector(start);
    return end();
  }

  private void multiplyBy(Vector to, Vector from, float factor) {
    fillFloats(TEMPORARY, factor);
    vmulps(to, from, TEMPORARY);
  }

  private void negate(Vector register) {
    fillInts(TEMPORARY, Integer.MIN_VALUE); // the sign
    vpxord(register, register, TEMPORARY);
  }
}
