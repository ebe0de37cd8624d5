package org.eellm.kernel.assembler;

import java.util.Locale;

/** Instructions that some processors lack. */
public enum CpuFeature {
  AMX_BF16,
  AMX_TILE,
  AVX,
  AVX2,
  AVX512F,
  AVX512BW,
  AVX512CD,
  AVX512DQ,
  AVX512VL,
  AVX512_BF16,
  AVX512_VNNI,
  AVX_VNNI,
  BMI2,
  F16C,
  FMA;

  /** The name that Linux gives it in {@code /proc/cpuinfo}. */
  public String flag() {
    return name().toLowerCase(Locale.ROOT);
  }
}
