package org.eellm.kernel.matmul;

import java.util.List;
import org.eellm.kernel.vector.CpuFlags;

/**
 * The processors that machine code of products is for.
 *
 * @param vectorBits 512 for AVX-512 with its instructions for products of bfloat16 and of bytes;
 *     256 for AVX2 with fused multiplications
 * @param intel whether Intel made it
 */
record CodeTarget(int vectorBits, boolean intel) {
  static final CodeTarget AVX2 = new CodeTarget(256, false);

  /** Those to try here, the fastest first. */
  static List<CodeTarget> candidates() {
    return List.of(new CodeTarget(512, CpuFlags.isIntel()), AVX2);
  }

  boolean isAvx512() {
    return vectorBits == 512;
  }
}
