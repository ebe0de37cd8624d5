package org.eellm.kernel.matmul;

import java.util.List;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.vector.CpuFlags;
import org.eellm.kernel.weight.WeightFormat;

/** The processors that machine code of products is for. */
enum CodeTarget {
  /** AVX-512 with its instructions for products of bfloat16 and of bytes. */
  AVX512(512),
  /** The same of Intel's making. */
  AVX512_INTEL(512),
  /** AVX2 with instructions for products of bytes. */
  AVX_VNNI(256),
  /** AVX2 with fused multiplications. */
  AVX2(256),
  /** NEON with instructions for products of bfloat16. */
  NEON_BF16(128),
  /** NEON, with products of bytes where these are needed. */
  NEON(128);

  private final int vectorBits;

  CodeTarget(int vectorBits) {
    this.vectorBits = vectorBits;
  }

  /** Those to try here, the fastest first. */
  static List<CodeTarget> candidates() {
    return List.of(avx512(CpuFlags.isIntel()), AVX_VNNI, AVX2, NEON_BF16, NEON);
  }

  static CodeTarget avx512(boolean intel) {
    return intel ? AVX512_INTEL : AVX512;
  }

  int vectorBits() {
    return vectorBits;
  }

  /** Whether it has x86-64's instructions for products of bytes. */
  boolean vnni() {
    return isAvx512() || this == AVX_VNNI;
  }

  boolean intel() {
    return this == AVX512_INTEL;
  }

  /** Whether it has code of its own for a format, beside what those after it have. */
  boolean isFor(WeightFormat format) {
    return switch (this) {
      case NEON_BF16 -> format == WeightFormat.BFLOAT16;
      case AVX_VNNI -> format.hasGroups();
      case AVX512, AVX512_INTEL, AVX2, NEON -> true;
    };
  }

  /** Whether inputs in bfloat16 become float32 once, since it has fused products of these alone. */
  boolean widensInput() {
    return this == AVX2;
  }

  int mostRows() {
    return isNeon() ? NeonCode.MOST_ROWS : BlockCode.MOST_ROWS;
  }

  MachineCode code(WeightFormat format, int rows) {
    if (isNeon()) {
      return NeonCode.of(format, rows, this);
    }
    return format.hasGroups()
        ? GroupCode.of(format.bits(), rows, this)
        : DotCode.of(format, rows, this);
  }

  String text() {
    return switch (this) {
      case NEON_BF16 -> "NEON with bfloat16";
      case NEON -> "NEON";
      case AVX_VNNI -> "256 bits with VNNI";
      case AVX512, AVX512_INTEL, AVX2 -> "%d bits".formatted(vectorBits);
    };
  }

  boolean isAvx512() {
    return vectorBits == 512;
  }

  private boolean isNeon() {
    return vectorBits == 128;
  }
}
