package org.eellm.kernel.matmul;

import java.util.List;
import org.eellm.kernel.vector.CpuFlags;

/**
 * The processors that machine code of products is for.
 *
 * @param vectorBits 512 for AVX-512 with its instructions for products of bfloat16 and of bytes;
 *     256 for AVX2 with fused multiplications
 * @param vnni whether it has instructions for products of bytes
 * @param intel whether Intel made it
 */
record CodeTarget(int vectorBits, boolean vnni, boolean intel) {
  static final CodeTarget AVX2 = new CodeTarget(256, false, false);
  static final CodeTarget AVX_VNNI = new CodeTarget(256, true, false);

  /** Those to try here, the fastest first. */
  static List<CodeTarget> candidates() {
    return List.of(avx512(CpuFlags.isIntel()), AVX_VNNI, AVX2);
  }

  static CodeTarget avx512(boolean intel) {
    return new CodeTarget(512, true, intel);
  }

  /** In words. */
  String text() {
    return "%d bits".formatted(vectorBits) + (equals(AVX_VNNI) ? " with VNNI" : "");
  }

  boolean isAvx512() {
    return vectorBits == 512;
  }
}
