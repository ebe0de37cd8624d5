package org.eellm.kernel.assembler;

import java.util.Locale;

/**
 * Instructions that some processors lack; {@link #LM} and {@link #ASIMD} tell x86-64 and AArch64.
 */
public enum CpuFeature {
  AMX_BF16,
  AMX_TILE,
  ASIMD,
  ASIMDDP,
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
  BF16,
  BMI2,
  F16C,
  FMA,
  LM;

  /** The name that Linux gives it in {@code /proc/cpuinfo}. */
  public String flag() {
    return name().toLowerCase(Locale.ROOT);
  }
}
