package org.eellm.kernel.matmul;

import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Memory;
import org.eellm.kernel.assembler.Vector;

/**
 * Machine code for products of a row with packed weights in bfloat16 that adds up as tiles do: of
 * 32 inputs the even ones and the odd ones, each from 0, then both to the sum. Halves become
 * float32, since {@code vdpbf16ps} would take twice as long; like that and tiles, it takes numbers
 * below 1e-38 for 0.
 */
final class HalvesCode extends BlockCode {
  private static final int STREAMS = 2; // whose sums and halves find registers
  private static final int PAIRS = 16;
  private static final Memory MODE = at(RSP);
  private static final Memory MODE_BEFORE = at(RSP, Integer.BYTES);
  private static final int NEAREST_AND_TINY_ARE_ZERO = 0x9FC0; // without exceptions

  private static final Vector WEIGHTS = zmm(24);
  private static final Vector EVEN = zmm(26);
  private static final Vector ODD = zmm(27);
  private static final Vector UPPER_HALVES = zmm(28);

  private HalvesCode(CodeTarget target) {
    super(1, target);
  }

  /** The function; {@code more} is not used. */
  static MachineCode of(CodeTarget target) {
    return new HalvesCode(target).write(1);
  }

  @Override
  int streams() {
    return Math.min(STREAMS, super.streams());
  }

  @Override
  void begin() {
    fillInts(UPPER_HALVES, 0xFFFF0000);
    shr(R14, 6); // the pairs
    stmxcsr(MODE_BEFORE);
    mov(R13D, NEAREST_AND_TINY_ARE_ZERO);
    mov(MODE, R13D);
    ldmxcsr(MODE);
  }

  @Override
  void end() {
    ldmxcsr(MODE_BEFORE);
  }

  @Override
  void outputs(int streams) {
    int sums = streams * vectors;
    for (int sum = 0; sum < sums; sum++) {
      clear(zmm(sum));
    }
    xor(R13D, R13D); // the pair
    Label step = here();
    for (int half = sums; half < 3 * sums; half++) {
      clear(zmm(half));
    }
    for (int pair = 0; pair < PAIRS; pair++) {
      vpbroadcastd(ODD, input(0, pair * Integer.BYTES));
      vpslld(EVEN, ODD, Short.SIZE);
      vpandd(ODD, ODD, UPPER_HALVES);
      for (int stream = 0; stream < streams; stream++) {
        if (target.intel()) { // as in DotCode
          prefetch(stream, 0, pair * BlockCode.STEP_BYTES);
        }
        for (int v = 0; v < vectors; v++) {
          int sum = stream * vectors + v;
          Memory pairs = weights(stream, pair * BlockCode.STEP_BYTES + v * vectorBytes);
          vmovups(WEIGHTS, pairs);
          vpslld(WEIGHTS.plus(1), WEIGHTS, Short.SIZE);
          vpandd(WEIGHTS, WEIGHTS, UPPER_HALVES);
          vfmadd231ps(zmm(sums + sum), WEIGHTS.plus(1), EVEN);
          vfmadd231ps(zmm(2 * sums + sum), WEIGHTS, ODD);
        }
      }
    }
    for (int sum = 0; sum < sums; sum++) {
      vaddps(zmm(sums + sum), zmm(sums + sum), zmm(2 * sums + sum));
      vaddps(zmm(sum), zmm(sum), zmm(sums + sum));
    }
    add(RDI, PAIRS * BlockCode.STEP_BYTES);
    add(STEP, PAIRS);
    cmp(STEP, R14);
    jl(step);
    for (int sum = 0; sum < sums; sum++) {
      vmovups(at(R8, sum * vectorBytes), zmm(sum));
    }
  }
}
