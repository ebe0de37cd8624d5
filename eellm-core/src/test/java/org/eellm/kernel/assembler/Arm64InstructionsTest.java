package org.eellm.kernel.assembler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.eellm.kernel.assembler.Arm64Assembler.v;
import static org.eellm.kernel.assembler.Arm64Assembler.x;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Instructions are what GNU's assembler (binutils 2.44) writes for their text. */
final class Arm64InstructionsTest {

  /** Each instruction, its text, and what that is. */
  private static final class Everything extends Arm64Assembler {
    private final List<String> texts = new ArrayList<>();
    private final List<Integer> words = new ArrayList<>();

    Everything() {
      Label begin = here();
      as("mov x14, x4", 0xAA0403EE).mov(x(14), x(4));
      as("add x8, x2, x3", 0x8B030048).add(x(8), x(2), x(3));
      as("add x4, x4, #0x100", 0x91040084).add(x(4), x(4), 256);
      as("sub x2, x2, x12", 0xCB0C0042).sub(x(2), x(2), x(12));
      as("sub x1, x1, #0x1", 0xD1000421).sub(x(1), x(1), 1);
      as("lsr x12, x6, #4", 0xD344FCCC).lsr(x(12), x(6), 4);
      as("cbnz x13, L0", 0xB5FFFF4D).cbnz(x(13), begin);
      as("ret", 0xD65F03C0).ret();
      as("ldr q4, [x11, #240]", 0x3DC03D64).ldrQ(v(4), x(11), 240);
      as("ldr q4, [x11, #65520]", 0x3DFFFD64).ldrQ(v(4), x(11), 65520);
      as("ldur q3, [x10, #4]", 0x3CC04143).ldurQ(v(3), x(10), 4);
      as("ldur q0, [x2, #20]", 0x3CC14040).ldurQ(v(0), x(2), 20);
      as("ldr d4, [x11, #120]", 0xFD403D64).ldrD(v(4), x(11), 120);
      as("ldr s1, [x8, #36]", 0xBD402501).ldrS(v(1), x(8), 36);
      as("ldr s2, [x9], #4", 0xBC404522).ldrThenAdd(v(2), x(9), 4);
      as("ld1r {v16.4s}, [x2]", 0x4D40C850).ld1r(v(16), x(2));
      as("str q31, [x16, #16]", 0x3D80061F).strQ(v(31), x(16), 16);
      as("mov v17.16b, v16.16b", 0x4EB01E11).mov(v(17), v(16));
      as("movi v7.16b, #0x80", 0x4F04E407).moviBytes(v(7), 0x80);
      as("movi v7.16b, #0xf", 0x4F00E5E7).moviBytes(v(7), 0x0F);
      as("movi v7.2d, #0xffff0000ffff0000", 0x6F06E587).moviMask(v(7), 0b11001100);
      as("movi v31.2d, #0x0", 0x6F00E41F).moviMask(v(31), 0);
      as("and v5.16b, v4.16b, v7.16b", 0x4E271C85).and(v(5), v(4), v(7));
      as("eor v4.16b, v4.16b, v7.16b", 0x6E271C84).eor(v(4), v(4), v(7));
      as("shl v4.4s, v4.4s, #16", 0x4F305484).shl(v(4), v(4), 16);
      as("ushr v4.16b, v4.16b, #4", 0x6F0C0484).ushrBytes(v(4), v(4), 4);
      as("shll v3.4s, v3.4h, #16", 0x2E613863).shll(v(3), v(3));
      as("fcvtl v4.4s, v4.4h", 0x0E217884).fcvtl(v(4), v(4));
      as("scvtf v20.4s, v20.4s", 0x4E21DA94).scvtf(v(20), v(20));
      as("fmul v5.4s, v4.4s, v3.s[0]", 0x4F839085).fmul(v(5), v(4), v(3), 0);
      as("fmul v5.4s, v4.4s, v19.s[2]", 0x4F939885).fmul(v(5), v(4), v(19), 2);
      as("fmla v6.4s, v31.4s, v5.4s", 0x4E25CFE6).fmla(v(6), v(31), v(5));
      as("fmla v16.4s, v5.4s, v3.s[1]", 0x4FA310B0).fmla(v(16), v(5), v(3), 1);
      as("fmla v31.4s, v4.4s, v18.s[3]", 0x4FB2189F).fmla(v(31), v(4), v(18), 3);
      as("sdot v16.4s, v4.16b, v0.4b[0]", 0x4F80E090).sdot(v(16), v(4), v(0), 0);
      as("sdot v31.4s, v4.16b, v19.4b[3]", 0x4FB3E89F).sdot(v(31), v(4), v(19), 3);
      as("bfmlalb v16.4s, v4.8h, v3.h[0]", 0x0FC3F090).bfmlalb(v(16), v(4), v(3), 0);
      as("bfmlalt v31.4s, v4.8h, v15.h[1]", 0x4FDFF09F).bfmlalt(v(31), v(4), v(15), 1);
      as("bfmlalt v31.4s, v4.8h, v2.h[6]", 0x4FE2F89F).bfmlalt(v(31), v(4), v(2), 6);
      as("mov w6, #0xbfc7", 0x5297F8E6)
          .as("movk w6, #0x42ae, lsl #16", 0x72A855C6)
          .mov(x(6), 0x42AEBFC7);
      as("cbz x6, L0", 0xB4FFFAE6).cbz(x(6), begin);
      as("ldr d2, [x5], #8", 0xFC4084A2).ldrThenAdd(v(2), x(5), 8);
      as("ldr q3, [x7], #16", 0x3CC104E3).ldrThenAdd(v(3), x(7), 16);
      as("ldr w6, [x1], #4", 0xB8404426).ldrThenAdd(x(6), x(1));
      as("str s7, [x0, #288]", 0xBD012007).strS(v(7), x(0), 288);
      as("fmov w6, s5", 0x1E2600A6).mov(x(6), v(5));
      as("dup v16.4s, w6", 0x4E040CD0).dup(v(16), x(6));
      as("dup v3.4s, v24.s[3]", 0x4E1C0703).dup(v(3), v(24), 3);
      as("mov v25.s[2], w6", 0x4E141CD9).insert(v(25), 2, x(6));
      as("orr v18.16b, v18.16b, v6.16b", 0x4EA61E52).orr(v(18), v(18), v(6));
      as("bic v0.16b, v0.16b, v6.16b", 0x4E661C00).bic(v(0), v(0), v(6));
      as("bsl v6.16b, v5.16b, v20.16b", 0x6E741CA6).bsl(v(6), v(5), v(20));
      as("sshr v5.4s, v5.4s, #24", 0x4F2804A5).sshr(v(5), v(5), 24);
      as("add v1.4s, v1.4s, v21.4s", 0x4EB58421).add(v(1), v(1), v(21));
      as("cmgt v6.4s, v28.4s, v27.4s", 0x4EBB3786).cmgt(v(6), v(28), v(27));
      as("cmge v2.4s, v27.4s, v29.4s", 0x4EBD3F62).cmge(v(2), v(27), v(29));
      as("umaxv s18, v18.4s", 0x6EB0AA52).umaxv(v(18), v(18));
      as("fcmgt v6.4s, v7.4s, v30.4s", 0x6EBEE4E6).fcmgt(v(6), v(7), v(30));
      as("fcmeq v6.4s, v5.4s, v20.4s", 0x4E34E4A6).fcmeq(v(6), v(5), v(20));
      as("fadd v28.4s, v28.4s, v0.4s", 0x4E20D79C).fadd(v(28), v(28), v(0));
      as("faddp v28.4s, v28.4s, v6.4s", 0x6E26D79C).faddp(v(28), v(28), v(6));
      as("fsub v2.4s, v1.4s, v18.4s", 0x4EB2D422).fsub(v(2), v(1), v(18));
      as("fdiv v6.4s, v6.4s, v28.4s", 0x6E3CFCC6).fdiv(v(6), v(6), v(28));
      as("fmax v7.4s, v7.4s, v6.4s", 0x4E26F4E7).fmax(v(7), v(7), v(6));
      as("fmin v0.4s, v0.4s, v17.4s", 0x4EB1F400).fmin(v(0), v(0), v(17));
      as("fmaxv s7, v7.4s", 0x6E30F8E7).fmaxv(v(7), v(7));
      as("fmul v2.4s, v0.4s, v0.4s", 0x6E20DC02).fmul(v(2), v(0), v(0));
    }

    private Everything as(String text, int word) {
      texts.add(text);
      words.add(word);
      return this;
    }
  }

  @Test
  void words_areThoseOfGnuAs() {
    Everything code = new Everything();
    ByteBuffer bytes = ByteBuffer.wrap(code.finish().bytes()).order(ByteOrder.LITTLE_ENDIAN);

    List<String> words =
        IntStream.range(0, code.words.size())
            .mapToObj(i -> "%08x %s".formatted(bytes.getInt(4 * i), code.texts.get(i)))
            .toList();

    assertThat(words)
        .containsExactlyElementsOf(
            IntStream.range(0, code.words.size())
                .mapToObj(i -> "%08x %s".formatted(code.words.get(i), code.texts.get(i)))
                .toList());
    assertThat(bytes.capacity()).isEqualTo(4 * code.words.size());
  }

  @Test
  void words_areReadByObjdumpAsTheirText() throws Exception {
    Everything code = new Everything();
    List<String> lines = new ArrayList<>(code.texts);
    lines.addFirst("L0:");

    assertThat(Disassembly.of(code.finish())).isEqualTo(lines);
  }

  @Test
  void needs_areThoseOfTheInstructions() {
    Arm64Assembler plain = new Arm64Assembler() {};
    plain.fmla(v(0), v(1), v(2));
    assertThat(plain.finish().needs()).containsExactly(CpuFeature.ASIMD);

    assertThat(new Everything().finish().needs())
        .containsExactlyInAnyOrder(CpuFeature.ASIMD, CpuFeature.ASIMDDP, CpuFeature.BF16);
  }

  @Test
  void offset_thatAnInstructionCannotHave_isRefused() {
    Arm64Assembler code = new Arm64Assembler() {};

    assertThatThrownBy(() -> code.ldrQ(v(0), x(0), 8))
        .hasMessage("8 is not up to 4095 times 16, as the instruction needs it");
    assertThatThrownBy(() -> code.add(x(0), x(0), 4096)).hasMessageContaining("4096 is not");
    assertThatThrownBy(() -> code.sub(x(0), x(0), -1)).hasMessageContaining("-1 is not");
  }
}
