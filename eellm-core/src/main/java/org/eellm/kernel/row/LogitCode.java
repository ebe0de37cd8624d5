package org.eellm.kernel.row;

import org.eellm.kernel.assembler.Comparison;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;

/** Machine code for figures of logits, as {@link RowCode} is for norms. */
final class LogitCode extends RowAssembler {
  LogitCode(int vectorBits) {
    super(vectorBits);
  }

  /** The largest number, NaN if there is one: {@code f(x, vectors)}. */
  MachineCode largest() {
    fillFloats(A, Float.NEGATIVE_INFINITY);
    clear(K2);
    Label start = here();
    vmovups(B, at(RDI));
    compare(MASK, B, B, Comparison.UNORDERED);
    include(K2, MASK);
    vmaxps(A, A, B);
    nextVector(start);
    reduce(this::vmaxps, A, B);
    bitsOf(EAX, K2);
    test(EAX, EAX);
    Label allNumbers = new Label();
    je(allNumbers);
    fillFloats(A, Float.NaN);
    bind(allNumbers);
    vmovd(EAX, A.xmm());
    return end();
  }

  /** The first place of a number, or -1: {@code f(x, vectors, number)}. */
  MachineCode place() {
    broadcast(A, EDX);
    return endWithPlace();
  }

  /** The sum of {@code exp((x - max) factor)}: {@code f(x, vectors, max, factor)}. */
  MachineCode sumOfExponentials() {
    exponentialConstants();
    broadcast(FIRST, EDX);
    broadcast(SECOND, ECX);
    vpxord(SUM, SUM, SUM);
    Label start = here();
    vmovups(X, at(RDI));
    vsubps(X, X, FIRST);
    vmulps(X, X, SECOND);
    vmaxps(X, LOWEST, X); // NaN stays
    exponential();
    vmulps(P, P, SHIFTED);
    vaddps(SUM, SUM, P);
    nextVector(start);
    reduce(this::vaddps, SUM, FREE);
    vmovaps(A, SUM);
    vmovd(EAX, A.xmm());
    return end();
  }
}
