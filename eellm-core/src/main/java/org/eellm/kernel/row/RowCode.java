package org.eellm.kernel.row;

import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Vector;

/**
 * Machine code for norms, sums and rotations, for x86-64 processors with AVX-512 or AVX2: what
 * {@link JavaRows} does, in the same order.
 */
final class RowCode extends RowAssembler {
  RowCode(int vectorBits) {
    super(vectorBits);
  }

  /**
   * {@code x / sqrt(mean(x^2) + epsilon) weight}: {@code f(weight, out, out, count, x, epsilon,
   * countAsFloat)}, with arrays; epsilon as float64, x of whole vectors.
   */
  MachineCode rms() {
    mov(R10, RDI);
    mov(R11, RSI);
    mov(RDI, R8);
    sumOfProducts(true);
    vdivss(A.xmm(), A.xmm(), parameter(7)); // the count
    vcvtss2sd(A.xmm(), A.xmm(), A.xmm());
    vmovq(B.xmm(), R9);
    vaddsd(A.xmm(), A.xmm(), B.xmm());
    vsqrtsd(A.xmm(), A.xmm(), A.xmm());
    mov(RAX, Double.doubleToRawLongBits(1));
    vmovq(B.xmm(), RAX);
    vdivsd(A.xmm(), B.xmm(), A.xmm());
    vcvtsd2ss(A.xmm(), A.xmm(), A.xmm());
    vbroadcastss(B, A.xmm());
    mov(RDI, R10);
    mov(RSI, R11);
    mov(RDX, RCX);
    each(
        () -> {
          load(A, R8);
          load(C, RDI);
          vmulps(A, A, B);
          vmulps(A, A, C);
          store(RSI, A);
          advance(R8, RDI, RSI);
        });
    return end();
  }

  /**
   * Sums products of numbers from rdi on with those from r8 on, or their squares, to all of A; rcx
   * counts them, in whole vectors.
   */
  private void sumOfProducts(boolean squares) {
    mov(RSI, RCX); // counts four vectors each
    sar(RSI, Integer.numberOfTrailingZeros(4 * lanes()));
    mov(RDX, RCX);
    sar(RDX, Integer.numberOfTrailingZeros(lanes()));
    and(RDX, 3); // the others
    Vector[] sums = {A, B, C, D};
    for (Vector sum : sums) {
      vpxord(sum, sum, sum);
    }
    test(RSI, RSI);
    Label noFours = new Label();
    je(noFours);
    Label four = here();
    for (int i = 0; i < sums.length; i++) {
      vmovups(E, at(RDI, i * vectorBytes()));
      addProduct(sums[i], i * vectorBytes(), squares);
    }
    goOn(sums.length * vectorBytes(), squares);
    dec(RSI);
    jne(four);
    bind(noFours);
    test(RDX, RDX);
    Label noVectors = new Label();
    je(noVectors);
    Label one = here();
    vmovups(E, at(RDI));
    addProduct(A, 0, squares);
    goOn(vectorBytes(), squares);
    dec(RDX);
    jne(one);
    bind(noVectors);
    vaddps(A, A, B);
    vaddps(C, C, D);
    vaddps(A, A, C);
    reduce(this::vaddps, A, E);
  }

  private void addProduct(Vector sum, int offset, boolean squares) {
    if (squares) {
      vfmadd231ps(sum, E, E);
    } else {
      vfmadd231ps(sum, E, at(R8, offset));
    }
  }

  private void goOn(int bytes, boolean squares) {
    add(RDI, bytes);
    if (!squares) {
      add(R8, bytes);
    }
  }

  /** The scalar product with an array: {@code f(y, y, y, count, x)}, of whole vectors. */
  MachineCode product() {
    sumOfProducts(false);
    vmovd(EAX, A.xmm());
    return end();
  }

  /** The sum: {@code f(x, vectors)}. */
  MachineCode sum() {
    vpxord(A, A, A);
    Label start = here();
    vaddps(A, A, at(RDI));
    nextVector(start);
    reduce(this::vaddps, A, B);
    vmovd(EAX, A.xmm());
    return end();
  }

  /** The scalar product with bfloat16 numbers: {@code f(x, y, vectors)}. */
  MachineCode productWithBfloat16() {
    vpxord(A, A, A);
    Label start = here();
    vpmovzxwd(B, at(RSI));
    vpslld(B, B, 16);
    vmovups(C, at(RDI));
    vfmadd231ps(A, B, C);
    add(RDI, vectorBytes());
    add(RSI, vectorBytes() / 2);
    dec(RDX);
    jne(start);
    reduce(this::vaddps, A, B);
    vmovd(EAX, A.xmm());
    return end();
  }

  /** The sum of squared distances from a mean: {@code f(x, vectors, mean)}. */
  MachineCode sumOfSquaredDistances() {
    vpxord(A, A, A);
    broadcast(C, EDX);
    Label start = here();
    vmovups(B, at(RDI));
    vsubps(B, B, C);
    vfmadd231ps(A, B, B);
    nextVector(start);
    reduce(this::vaddps, A, B);
    vmovd(EAX, A.xmm());
    return end();
  }

  /**
   * {@code (x - mean) factor weight + bias}: {@code f(weight, bias, out, count, x, mean, factor)},
   * with arrays.
   */
  MachineCode shifted() {
    mov(R10, parameter(7)); // factor
    broadcast(C, R9D);
    broadcast(D, R10D);
    mov(R10, RDX);
    mov(RDX, RCX);
    each(
        () -> {
          load(A, R8);
          load(B, RDI);
          load(E, RSI);
          vsubps(A, A, C);
          vmulps(A, A, D);
          vfmadd213ps(A, B, E);
          store(R10, A);
          advance(R8, RDI, RSI, R10);
        });
    return end();
  }

  /** Adds numbers of an array or of memory: {@code f(x, x, x, count, from, to)}; from in bytes. */
  MachineCode addition() {
    add(RDI, R8);
    mov(RDX, RCX);
    each(
        () -> {
          load(A, RDI);
          load(B, R9);
          vaddps(A, B, A);
          store(R9, A);
          advance(RDI, R9);
        });
    return end();
  }

  /** Numbers times a factor: {@code f(x, to, count, factor)}. */
  MachineCode multiplication() {
    broadcast(B, ECX);
    each(
        () -> {
          load(A, RDI);
          vmulps(A, A, B);
          store(RSI, A);
          advance(RDI, RSI);
        });
    return end();
  }

  /** Rotates pairs: {@code f(first, cosines, sines, count, second)}. */
  MachineCode rotation() {
    mov(R10, RDX);
    mov(RDX, RCX);
    each(
        () -> {
          load(A, RDI);
          load(B, R8);
          load(C, RSI);
          load(D, R10);
          vmulps(E, A, C);
          vmulps(F, B, D);
          vsubps(E, E, F);
          store(RDI, E);
          vmulps(E, B, C);
          vmulps(F, A, D);
          vaddps(E, E, F);
          store(R8, E);
          advance(RDI, R8, RSI, R10);
        });
    return end();
  }
}
