package org.eellm.kernel.matmul;

import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Memory;
import org.eellm.kernel.assembler.Vector;

/**
 * Machine code for products of a few rows with weights of 8 or 4 bits that have a scale for each
 * group of inputs. {@code vpdpbusd}, of AVX-512 and of AVX-VNNI, multiplies four unsigned bytes
 * with four signed ones, and adds the products to 32 bits. AVX2's {@code vpmaddubsw} adds two
 * products to 16 bits and cuts off what these cannot hold: weights of 8 bits so give their sign to
 * x, and weights of 4 bits are so small that 16 bits hold the sum of a chunk.
 *
 * <p>{@code more} is how many chunks of 32 inputs a group has; for AVX2 alone that is one. Sums of
 * a group stay in registers as integers; then they are scaled, and added to y. Rows of x are as
 * {@link QuantizedInput} has them.
 */
final class GroupCode extends BlockCode {
  static final int CHUNK = 32;

  private static final int STEPS = CHUNK / 4; // four inputs each
  private static final int STACK_PLACES = 5; // on AVX2
  private static final Memory ONES = at(RSP); // in 16 bits
  private static final Memory SLICE = at(RSP, Long.BYTES * (STACK_PLACES - 1)); // its first byte

  // AVX2
  private static final Vector NUMBER = ymm(12); // a weight
  private static final Vector MAGNITUDE = ymm(13);
  private static final Vector PRODUCT = ymm(14);

  private final int bits;

  /** Of weights that are in registers at once. */
  private final int together;

  private final Vector weights; // the first of them
  private final Vector input; // the first of those for x
  private final Vector mask; // ones in the lower half of each byte, or in the sign

  private GroupCode(int bits, int rows, CodeTarget target) {
    super(rows, target);
    this.bits = bits;
    together = isAvx512() ? vectors : 1;
    weights = isAvx512() ? zmm(24) : NUMBER;
    input = isAvx512() ? zmm(28) : MAGNITUDE;
    mask = vector(isAvx512() ? 31 : 15);
  }

  /**
   * The function.
   *
   * @param bits of a weight: 8 or 4
   */
  static MachineCode of(int bits, int rows, CodeTarget target) {
    GroupCode code = new GroupCode(bits, rows, target);
    return code.write(target.vnni() && code.slices == 1 ? 0 : STACK_PLACES);
  }

  @Override
  void begin() {
    if (!target.vnni()) {
      fillInts(mask, 0x00010001);
      vmovups(ONES, mask);
    }
    if (bits == 4 && isAvx512()) { // without rax, which may have a stream
      mov(R14D, 0x0F0F0F0F);
      vpbroadcastd(mask, R14D);
    } else if (bits == 4) {
      fillInts(mask, 0x0F0F0F0F);
    } else if (!target.vnni()) {
      fillInts(mask, 0x80808080);
    }
    mov(R14, RCX);
    shr(R14, 2); // units of a row
  }

  @Override
  void outputs(int streams) {
    clearOutputs(streams);
    xor(R13D, R13D); // the unit
    Label group = here();
    if (slices > 1) {
      inSlices();
    } else {
      sums(streams);
      add(streams);
    }
    add(RDI, STEP_BYTES / 2); // the scales
    add(STEP, QuantizedInput.MORE_UNITS);
    cmp(STEP, R14);
    jl(group);
  }

  /**
   * Takes a group's outputs in slices, so that weights come from memory in their order, by the same
   * instructions for each: what runs has to stay where decoded instructions are.
   */
  private void inSlices() {
    int bytes = vectors * vectorBytes;
    Label end = new Label();
    xor(RCX, RCX);
    Label slice = here();
    mov(SLICE, RCX);
    sums(1);
    mov(RCX, SLICE);
    shr(RCX, 1); // where its scales are among the group's
    sub(RDI, RCX);
    add(1);
    mov(RCX, SLICE);
    shr(RCX, 1);
    sub(RDI, RCX);
    mov(RCX, SLICE);
    add(RCX, bytes);
    cmp(RCX, STEP_BYTES);
    je(end);
    add(R8, bytes);
    add(RDI, RCX);
    mov(R12, R15); // back to the group's weights
    shl(R12, Integer.numberOfTrailingZeros(STEPS));
    sub(STEP, R12);
    shl(R12, Integer.numberOfTrailingZeros(STEP_BYTES * bits / 8));
    sub(RDI, R12);
    jmp(slice);
    bind(end);
    sub(R8, STEP_BYTES - bytes);
  }

  /** Sums up a group's products. */
  private void sums(int streams) {
    beginSums(streams);
    mov(R12, R15);
    Label chunk = here();
    if (bits == 8) {
      bytes(streams);
    } else {
      halves(streams);
    }
    add(RDI, STEPS * STEP_BYTES * bits / 8);
    add(STEP, STEPS);
    dec(R12);
    jne(chunk);
  }

  /** Lets sums begin with what the weights' offset from 0 would add, negative. */
  private void beginSums(int streams) {
    for (int row = 0; row < rows; row++) {
      Vector sum = sum(streams, row, 0, 0);
      if (target.vnni()) {
        vpbroadcastd(sum, input(row, 0));
        if (bits == 8) { // 16 times that of 4 bits
          vpslld(sum, sum, 4);
        }
      } else { // added at the end, to sums in 16 bits; or of no use, to weights with a sign
        clear(sum);
      }
      for (int v = 1; v < streams * vectors; v++) {
        vmovaps(sum.plus(v), sum);
      }
    }
  }

  private void bytes(int streams) {
    for (int step = 0; step < STEPS; step++) {
      for (int stream = 0; stream < streams; stream++) {
        askAhead(stream, step * STEP_BYTES);
        step(streams, stream, step, step * STEP_BYTES);
      }
    }
  }

  /** A byte has a weight of one step in its lower half, and one of the next step in its upper. */
  private void halves(int streams) {
    for (int step = 0; step < STEPS; step += 2) {
      int first = step / 2 * STEP_BYTES;
      for (int stream = 0; stream < streams; stream++) {
        askAhead(stream, first);
        step(streams, stream, step, first);
      }
      for (int stream = 0; stream < streams; stream++) {
        step(streams, stream, step + 1, first);
      }
    }
  }

  /** AMD's processors do better by themselves, but for slices, which leave gaps between lines. */
  private void askAhead(int stream, int offset) {
    if (target.intel() || slices > 1) {
      prefetch(stream, 0, offset);
    }
  }

  /** Adds the products of a step, whose weights are from an offset on. */
  private void step(int streams, int stream, int step, int offset) {
    for (int v = 0; v < vectors; v += together) {
      for (int i = 0; i < together; i++) {
        load(weights.plus(i), weights(stream, offset + (v + i) * vectorBytes), step % 2 == 1);
      }
      multiply(streams, stream, v, step);
    }
  }

  /**
   * Loads weights.
   *
   * @param upper of 4 bits, which half of their bytes
   */
  private void load(Vector to, Memory from, boolean upper) {
    if (bits == 8) {
      if (target.vnni()) {
        vmovups(to, from);
      } else {
        vpxord(to, mask, from); // without the offset
        vpabsb(MAGNITUDE, to);
      }
    } else if (isAvx512()) {
      if (upper) {
        vpsrlw(to, from, 4);
        vpandd(to, to, mask);
      } else {
        vpandd(to, mask, from);
      }
    } else if (upper) {
      vmovups(to, from);
      vpsrlw(to, to, 4);
      vpandd(to, to, mask);
    } else {
      vpandd(to, mask, from);
    }
  }

  private void multiply(int streams, int stream, int first, int step) {
    for (int row = 0; row < rows; row++) {
      Memory from = input(row, 4 * (1 + step));
      if (!target.vnni()) {
        multiplyPairs(sum(streams, row, stream, first), from);
        continue;
      }
      Vector x = isAvx512() ? input.plus(row % 3) : input; // of several streams there are few rows
      if (stream == 0) {
        vpbroadcastd(x, from);
      }
      for (int i = 0; i < together; i++) {
        vpdpbusd(sum(streams, row, stream, first + i), weights.plus(i), x);
      }
    }
  }

  private void multiplyPairs(Vector sum, Memory from) {
    vpbroadcastd(PRODUCT, from);
    if (bits == 8) {
      vpsignb(PRODUCT, PRODUCT, NUMBER);
      vpmaddubsw(PRODUCT, MAGNITUDE, PRODUCT);
      vpmaddwd(PRODUCT, PRODUCT, ONES);
      vpaddd(sum, sum, PRODUCT);
    } else {
      vpmaddubsw(PRODUCT, NUMBER, PRODUCT);
      vpaddw(sum, sum, PRODUCT);
    }
  }

  /** Adds the group's sums to y, times the scales of weights and of x. */
  private void add(int streams) {
    for (int stream = 0; stream < streams; stream++) {
      for (int v = 0; v < vectors; v += together) {
        for (int i = 0; i < together; i++) {
          vcvtph2ps(weights.plus(i), weights(stream, (v + i) * vectorBytes / 2));
        }
        mov(RCX, R8); // a row of y
        for (int row = 0; row < rows; row++) {
          vbroadcastss(input, input(row, 4));
          for (int i = 0; i < together; i++) {
            Vector sum = sum(streams, row, stream, v + i);
            Vector factor = input.plus(1 + i % 2);
            int at = stream * STEP_BYTES + (v + i) * vectorBytes;
            if (bits == 4 && !target.vnni()) {
              vpmaddwd(sum, sum, ONES);
              vpbroadcastd(factor, input(row, -4 * STEPS)); // of the group's only chunk
              vpaddd(sum, sum, factor);
            }
            vcvtdq2ps(sum, sum);
            vmulps(factor, weights.plus(i), input);
            vfmadd213ps(sum, factor, at(RCX, at));
            vmovups(at(RCX, at), sum);
          }
          add(RCX, R9);
        }
      }
    }
  }
}
