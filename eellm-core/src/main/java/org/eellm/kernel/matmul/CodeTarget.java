package org.eellm.kernel.matmul;

import java.util.List;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.vector.CpuFlags;
import org.eellm.kernel.weight.WeightFormat;

/**
 * The processors that machine code of products is for.
 *
 * @param vectorBits 512 for AVX-512 with its instructions for products of bfloat16 and of bytes;
 *     256 for AVX2 with fused multiplications; 128 for NEON, with products of bytes where these are
 *     needed
 * @param vnni whether it has instructions for products of bytes; of 128 bits, of bfloat16
 * @param intel whether Intel made it
 */
record CodeTarget(int vectorBits, boolean vnni, boolean intel) {
  static final CodeTarget AVX2 = new CodeTarget(256, false, false);
  static final CodeTarget AVX_VNNI = new CodeTarget(256, true, false);
  static final CodeTarget NEON = new CodeTarget(128, false, false);
  static final CodeTarget NEON_BF16 = new CodeTarget(128, true, false);

  /** Those to try here, the fastest first. */
  static List<CodeTarget> candidates() {
    return List.of(avx512(CpuFlags.isIntel()), AVX_VNNI, AVX2, NEON_BF16, NEON);
  }

  static CodeTarget avx512(boolean intel) {
    return new CodeTarget(512, true, intel);
  }

  /** Whether it has code of its own for a format, beside what those after it have. */
  boolean isFor(WeightFormat format) {
    return equals(NEON_BF16)
        ? format == WeightFormat.BFLOAT16
        : format.hasGroups() || !equals(AVX_VNNI);
  }

  /** Most rows at once. */
  int mostRows() {
    return isNeon() ? NeonCode.MOST_ROWS : BlockCode.MOST_ROWS;
  }

  /** The function for so many rows and weights of a format. */
  MachineCode code(WeightFormat format, int rows) {
    if (isNeon()) {
      return NeonCode.of(format, rows, this);
    }
    return format.hasGroups()
        ? GroupCode.of(format.bits(), rows, this)
        : DotCode.of(format, rows, this);
  }

  /** In words. */
  String text() {
    if (isNeon()) {
      return vnni ? "NEON with bfloat16" : "NEON";
    }
    return "%d bits".formatted(vectorBits) + (equals(AVX_VNNI) ? " with VNNI" : "");
  }

  boolean isAvx512() {
    return vectorBits == 512;
  }

  private boolean isNeon() {
    return vectorBits == 128;
  }
}
