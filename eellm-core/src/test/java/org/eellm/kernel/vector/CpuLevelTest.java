package org.eellm.kernel.vector;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class CpuLevelTest {
  private static final String ZEN_3 = "sse2 avx avx2 fma f16c bmi2";
  private static final String ALDER_LAKE = ZEN_3 + " avx_vnni";
  private static final String ZEN_4 =
      ZEN_3 + " avx512f avx512bw avx512cd avx512dq avx512vl avx512_bf16 avx512_vnni";
  private static final String SAPPHIRE_RAPIDS = ZEN_4 + " avx_vnni amx_tile amx_bf16";

  private static Set<String> flags(String names) {
    return Set.of(names.split(" "));
  }

  private static List<String> levels(String names) {
    return Arrays.stream(CpuLevel.values())
        .filter(level -> level.isIn(flags(names)))
        .map(CpuLevel::text)
        .toList();
  }

  @Test
  void isIn_flagsOfProcessors_areTheirLevels() {
    assertThat(levels("sse2 avx")).containsExactly("scalar", "vectors");
    assertThat(levels("fp asimd asimddp bf16")).containsExactly("scalar", "vectors", "neon");
    assertThat(levels(ZEN_3)).containsExactly("scalar", "vectors", "avx2");
    assertThat(levels(ALDER_LAKE)).containsExactly("scalar", "vectors", "avx2", "avx-vnni");
    assertThat(levels(ZEN_4)).containsExactly("scalar", "vectors", "avx2", "avx512");
    assertThat(levels(SAPPHIRE_RAPIDS))
        .containsExactly("scalar", "vectors", "avx2", "avx-vnni", "avx512", "amx");
  }

  @ParameterizedTest
  @CsvSource({
    "SCALAR, ''",
    "VECTORS, ''",
    "AVX2, " + ZEN_3,
    "AVX_VNNI, " + ALDER_LAKE,
    "AVX512, " + ZEN_4 + " avx_vnni",
    "AMX, " + SAPPHIRE_RAPIDS
  })
  void mask_flagsOfAProcessorWithAll_areThoseOfTheLevel(CpuLevel level, String left) {
    assertThat(level.mask(flags(SAPPHIRE_RAPIDS).stream()).collect(Collectors.toSet()))
        .isEqualTo(
            Stream.of(left.split(" ")).filter(flag -> !flag.isEmpty()).collect(Collectors.toSet()));
  }

  @Test
  void chosen_withoutAProperty_isTheHighest() {
    String property = System.getProperty(CpuLevel.PROPERTY);
    assertThat(CpuLevel.chosen().text())
        .isEqualTo(property == null ? CpuLevel.available().getLast().text() : property);
  }
}
