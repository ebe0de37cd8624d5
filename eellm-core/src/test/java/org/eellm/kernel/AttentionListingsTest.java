package org.eellm.kernel;

import java.util.List;
import java.util.Locale;
import java.util.function.Supplier;
import org.eellm.kernel.assembler.Disassembly;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.weight.WeightFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Attention's machine code is that of its listings, for heads of 64 and one and six rows; for arm64
 * of one and four.
 */
final class AttentionListingsTest {
  private static final List<String> BY_ROWS =
      List.of("products", "half-products", "first-mixtures", "mixtures");
  private static final List<String> OTHERS =
      List.of("largest", "exponentials", "scaling", "division", "factor", "loop", "window-loop");

  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "INT4")
  void code_isThatOfItsListing(WeightFormat format) throws Exception {
    check(format, 512, "");
    check(format, 256, "-avx2");
  }

  @Test
  void code_ofCappedScores_isThatOfItsListing() throws Exception {
    for (int vectorBits : new int[] {512, 256}) {
      String suffix = vectorBits == 512 ? "" : "-avx2";
      AttentionCode code = new AttentionCode(vectorBits);
      Disassembly.check("attention-int8-capped-largest" + suffix, code.largest(true, 50));
      code = new AttentionCode(vectorBits);
      Disassembly.check("attention-int8-capped-exponentials" + suffix, code.exponentials(true, 50));
    }
  }

  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "INT4")
  void code_ofArm64_isThatOfItsListing(WeightFormat format) throws Exception {
    String prefix = "attention-%s-neon-".formatted(format.name().toLowerCase(Locale.ROOT));
    List<Supplier<MachineCode>> codes =
        NeonAttention.Functions.codes(new MachineAttention.Shape(new PageLayout(format, 64), 0));
    int most = NeonAttentionCode.MOST_ROWS;
    for (int rows : new int[] {1, most}) {
      Disassembly.check(prefix + "scores-" + rows, codes.get(rows - 1).get());
      Disassembly.check(prefix + "mixture-" + rows, codes.get(most + rows - 1).get());
    }
    Disassembly.check(prefix + "weighing", codes.get(2 * most).get());
    Disassembly.check(prefix + "division", codes.getLast().get());
  }

  @Test
  void code_ofArm64AndCappedScores_isThatOfItsListing() throws Exception {
    PageLayout layout = new PageLayout(WeightFormat.INT8, 64);
    Disassembly.check(
        "attention-int8-capped-neon-weighing", NeonAttentionCode.weighing(layout, 50));
  }

  private static void check(WeightFormat format, int vectorBits, String suffix) throws Exception {
    List<Supplier<MachineCode>> codes =
        MachineAttention.Functions.codes(
            new MachineAttention.Shape(new PageLayout(format, 64), 0), vectorBits);
    int groups = BY_ROWS.size();
    int single = groups * AttentionCode.MOST_ROWS;
    String prefix = "attention-%s-".formatted(format.name().toLowerCase(Locale.ROOT));
    for (int i = 0; i < groups; i++) {
      for (int rows : new int[] {1, AttentionCode.MOST_ROWS}) {
        String name = "%s%s-%d%s".formatted(prefix, BY_ROWS.get(i), rows, suffix);
        Disassembly.check(name, codes.get(groups * (rows - 1) + i).get());
      }
    }
    for (int i = 0; i < OTHERS.size(); i++) {
      Disassembly.check(prefix + OTHERS.get(i) + suffix, codes.get(single + i).get());
    }
  }
}
