package org.eellm.kernel.assembler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.eellm.kernel.assembler.CpuFeature.AMX_BF16;
import static org.eellm.kernel.assembler.CpuFeature.AMX_TILE;
import static org.eellm.kernel.assembler.CpuFeature.AVX;
import static org.eellm.kernel.assembler.CpuFeature.AVX2;
import static org.eellm.kernel.assembler.CpuFeature.AVX512BW;
import static org.eellm.kernel.assembler.CpuFeature.AVX512F;
import static org.eellm.kernel.assembler.CpuFeature.AVX512VL;
import static org.eellm.kernel.assembler.CpuFeature.AVX512_VNNI;
import static org.eellm.kernel.assembler.CpuFeature.AVX_VNNI;
import static org.eellm.kernel.assembler.CpuFeature.FMA;

import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Instructions are what objdump calls them. */
final class InstructionsTest {

  /** Each instruction, and what it should be. */
  private static final class Everything extends Assembler {
    private final List<String> expected = new ArrayList<>();

    Everything() {
      super(512);
    }

    private Everything as(String text) {
      expected.add(text);
      return this;
    }

    private static Vector xmm(int number) {
      return Vector.of(number, 128);
    }

    private void general() {
      as("mov rax,r9").mov(RAX, R9);
      as("mov r9d,eax").mov(R9.dword(), EAX);
      as("mov r10,QWORD PTR [rsp+0x8]").mov(R10, at(RSP, 8));
      as("mov eax,DWORD PTR [r12]").mov(EAX, at(R12));
      as("mov eax,DWORD PTR [r13+0x0]").mov(EAX, at(R13));
      as("mov eax,DWORD PTR [rbp-0x80]").mov(EAX, at(RBP, -128));
      as("mov eax,DWORD PTR [rbp+0x80]").mov(EAX, at(RBP, 128));
      as("mov QWORD PTR [r9+r12*4+0x4],r15").mov(at(R9, R12, 4, 4), R15);
      as("mov WORD PTR [rdx],ax").mov(at(RDX), AX);
      as("mov ebx,0x7").mov(EBX, 7);
      as("mov r14d,0xffff0000").mov(R14D, 0xFFFF0000);
      as("mov r11,0xffffffffffffffff").mov(R11, -1);
      as("movabs rax,0x3ff0000000000000").mov(RAX, Double.doubleToRawLongBits(1));
      as("lea rbx,[rbp+rax*1+0x0]").lea(RBX, at(RBP, RAX, 1, 0));
      as("add r8,rdi").add(R8, RDI);
      as("add rdi,QWORD PTR [rbx+0x30]").add(RDI, at(RBX, 48));
      as("add rdi,0x40").add(RDI, 64);
      as("add rdi,0x80").add(RDI, 128);
      as("sub rax,r14").sub(RAX, R14);
      as("sub rdx,0x10").sub(RDX, 16);
      as("and rdx,0x3").and(RDX, 3);
      as("xor r13d,r13d").xor(R13D, R13D);
      as("cmp rdx,r11").cmp(RDX, R11);
      as("cmp rsi,0x4").cmp(RSI, 4);
      as("test ecx,ecx").test(ECX, ECX);
      as("inc r13").inc(R13);
      as("dec rsi").dec(RSI);
      as("imul r12,QWORD PTR [rbx+0xa0]").imul(R12, at(RBX, 160));
      as("imul rdi,r9,0x100").imul(RDI, R9, 256);
      as("imul eax,eax,0xfffffff8").imul(EAX, EAX, -8);
      as("shl r10,0x6").shl(R10, 6);
      as("shr r14,0x2").shr(R14, 2);
      as("sar rsi,0x4").sar(RSI, 4);
      as("bsf eax,ecx").bsf(EAX, ECX);
      as("cmovl r11,rdx").cmovl(R11, RDX);
      as("cmovg rsi,rax").cmovg(RSI, RAX);
      as("cmove r15,r11").cmove(R15, R11);
      as("call r10").call(R10);
      as("ldmxcsr DWORD PTR [rsp]").ldmxcsr(at(RSP));
      as("stmxcsr DWORD PTR [rsp+0x4]").stmxcsr(at(RSP, 4));
      as("prefetcht0 BYTE PTR [rdi+r13*4+0x1000]").prefetcht0(at(RDI, R13, 4, 4096));
      as("prefetcht1 BYTE PTR [rdi+rbx*1+0x40]").prefetcht1(at(RDI, RBX, 1, 64));
      as("bzhi eax,ecx,r11d").bzhi(EAX, ECX, R11D);
      as("bzhi rdx,r9,r11").bzhi(RDX, R9, R11);
    }

    private void jumps() {
      Label ahead = new Label();
      as("L0:");
      Label back = here();
      as("jmp L1").jmp(ahead);
      as("je L0").je(back);
      as("jne L1").jne(ahead);
      as("jl L0").jl(back);
      as("jg L1").jg(ahead);
      as("jbe L1").jbe(ahead);
      as("L1:").bind(ahead);
    }

    private void single() {
      as("vaddsd xmm1,xmm2,xmm3").vaddsd(xmm(1), xmm(2), xmm(3));
      as("vdivsd xmm1,xmm2,xmm9").vdivsd(xmm(1), xmm(2), xmm(9));
      as("vdivss xmm1,xmm2,DWORD PTR [rsp+0x8]").vdivss(xmm(1), xmm(2), at(RSP, 8));
      as("vsqrtsd xmm1,xmm2,xmm3").vsqrtsd(xmm(1), xmm(2), xmm(3));
      as("vcvtss2sd xmm1,xmm2,xmm3").vcvtss2sd(xmm(1), xmm(2), xmm(3));
      as("vcvtsd2ss xmm1,xmm2,xmm3").vcvtsd2ss(xmm(1), xmm(2), xmm(3));
      as("vcomiss xmm1,xmm2").vcomiss(xmm(1), xmm(2));
      as("vmovd xmm1,r9d").vmovd(xmm(1), R9.dword());
      as("vmovd eax,xmm1").vmovd(EAX, xmm(1));
      as("vmovq xmm1,r9").vmovq(xmm(1), R9);
      as("vmovq QWORD PTR [rsi+0x4],xmm9").vmovq(at(RSI, 4), xmm(9));
      as("vmovmskps eax,ymm15").vmovmskps(EAX, ymm(15));
      as("kmovw k1,r9d").kmovw(K1, R9.dword());
      as("kmovw ecx,k2").kmovw(ECX, K2);
      as("korw k2,k1,k2").korw(K2, K1, K2);
      as("kxorw k2,k1,k2").kxorw(K2, K1, K2);
      as("vzeroupper").vzeroupper();
    }

    private void zmm() {
      as("vmovups zmm1,ZMMWORD PTR [rdi+r13*4+0x40]").vmovups(zmm(1), at(RDI, R13, 4, 64));
      as("vmovups zmm31,ZMMWORD PTR [r8+0x41]").vmovups(zmm(31), at(R8, 65));
      as("vmovups zmm1{k1}{z},ZMMWORD PTR [r8]").vmovups(zmm(1).zeroing(K1), at(R8));
      as("vmovups ZMMWORD PTR [rsi]{k1},zmm9").vmovups(at(RSI).masked(K1), zmm(9));
      as("vmovups ZMMWORD PTR [rsi-0x2000],zmm9").vmovups(at(RSI, -128 * 64), zmm(9));
      as("vmovaps zmm8{k2},zmm25").vmovaps(zmm(8).masked(K2), zmm(25));
      as("vaddps zmm17,zmm2,zmm3").vaddps(zmm(17), zmm(2), zmm(3));
      as("vmulps zmm1,zmm18,zmm3").vmulps(zmm(1), zmm(18), zmm(3));
      as("vsubps zmm1,zmm2,zmm19").vsubps(zmm(1), zmm(2), zmm(19));
      as("vdivps zmm1{k1}{z},zmm2,zmm3").vdivps(zmm(1).zeroing(K1), zmm(2), zmm(3));
      as("vminps zmm1,zmm2,zmm3").vminps(zmm(1), zmm(2), zmm(3));
      as("vmaxps zmm1{k1},zmm2,zmm3").vmaxps(zmm(1).masked(K1), zmm(2), zmm(3));
      as("vfmadd213ps zmm1,zmm2,zmm3").vfmadd213ps(zmm(1), zmm(2), zmm(3));
      as("vfmadd231ps zmm1,zmm2,DWORD BCST [rax+r10*4+0x4]")
          .vfmadd231ps(zmm(1), zmm(2), at(RAX, R10, 4, 4).broadcasted());
      as("vdpbf16ps zmm1,zmm2,ZMMWORD PTR [rdi]").vdpbf16ps(zmm(1), zmm(2), at(RDI));
      as("vpdpbusd zmm1,zmm2,zmm3").vpdpbusd(zmm(1), zmm(2), zmm(3));
      for (Comparison how : Comparison.values()) {
        String name =
            switch (how) {
              case EQUAL -> "eq";
              case LESS -> "lt";
              case UNORDERED -> "unord";
              case NOT_EQUAL -> "neq";
              case NOT_LESS -> "nlt";
              case GREATER -> "gt";
            };
        as("vcmp%sps k2{k1},zmm2,zmm3".formatted(name)).vcmpps(K2.masked(K1), zmm(2), zmm(3), how);
      }
      as("vpaddd zmm1,zmm2,zmm3").vpaddd(zmm(1), zmm(2), zmm(3));
      as("vpmaxsd zmm1,zmm2,zmm3").vpmaxsd(zmm(1), zmm(2), zmm(3));
      as("vpandd zmm1,zmm2,zmm3").vpandd(zmm(1), zmm(2), zmm(3));
      as("vpord zmm1,zmm2,zmm3").vpord(zmm(1), zmm(2), zmm(3));
      as("vpxord zmm1,zmm2,zmm3").vpxord(zmm(1), zmm(2), zmm(3));
      as("vpsrld zmm17,zmm2,0x10").vpsrld(zmm(17), zmm(2), 16);
      as("vpsrad zmm1,zmm18,0x18").vpsrad(zmm(1), zmm(18), 24);
      as("vpslld zmm1,zmm2,0x17").vpslld(zmm(1), zmm(2), 23);
      as("vpsrlw zmm1,ZMMWORD PTR [rdi+0x80],0x4").vpsrlw(zmm(1), at(RDI, 128), 4);
      as("valignd zmm1,zmm2,zmm3,0x8").valignd(zmm(1), zmm(2), zmm(3), 8);
      as("vbroadcastss zmm1,xmm2").vbroadcastss(zmm(1), xmm(2));
      as("vbroadcastss zmm1,DWORD PTR [rdx+0x4]").vbroadcastss(zmm(1), at(RDX, 4));
      as("vpbroadcastd zmm1{k1},DWORD PTR [rdx+0x8]").vpbroadcastd(zmm(1).masked(K1), at(RDX, 8));
      as("vpbroadcastd zmm1,r9d").vpbroadcastd(zmm(1), R9.dword());
      as("vcvtdq2ps zmm1,zmm2").vcvtdq2ps(zmm(1), zmm(2));
      as("vcvtph2ps zmm1,YMMWORD PTR [rdi+0x20]").vcvtph2ps(zmm(1), at(RDI, 32));
      as("vcvtps2ph ymm1,zmm2,0x0").vcvtps2ph(ymm(1), zmm(2), 0);
      as("vpmovzxwd zmm1,YMMWORD PTR [rsi+0x20]").vpmovzxwd(zmm(1), at(RSI, 32));
      as("vpmovdb XMMWORD PTR [rsi+0x10],zmm1").vpmovdb(at(RSI, 16), zmm(1));
      as("vpmovdw YMMWORD PTR [rsi+0x20]{k1},zmm1").vpmovdw(at(RSI, 32).masked(K1), zmm(1));
      as("vaddpd zmm1,zmm2,zmm3").vaddpd(zmm(1), zmm(2), zmm(3));
      as("vmulpd zmm1,zmm2,zmm3").vmulpd(zmm(1), zmm(2), zmm(3));
      as("vmaxpd zmm1,zmm2,zmm3").vmaxpd(zmm(1), zmm(2), zmm(3));
      as("vcvtps2pd zmm1,YMMWORD PTR [rdi+0x20]").vcvtps2pd(zmm(1), at(RDI, 32));
      as("vcvtpd2ps ymm1,zmm2").vcvtpd2ps(ymm(1), zmm(2));
      as("vpaddq zmm1,zmm2,QWORD BCST [rdi+0x8]").vpaddq(zmm(1), zmm(2), at(RDI, 8).broadcasted());
      as("vpmullq zmm1,zmm2,zmm3").vpmullq(zmm(1), zmm(2), zmm(3));
      as("vpsrlq zmm1,zmm2,0x1e").vpsrlq(zmm(1), zmm(2), 30);
      as("vplzcntq zmm1,zmm2").vplzcntq(zmm(1), zmm(2));
      as("vpbroadcastq zmm1,r9").vpbroadcastq(zmm(1), R9);
      as("vpmovsxdq zmm1,YMMWORD PTR [rdi+0x20]").vpmovsxdq(zmm(1), at(RDI, 32));
      as("vpmovqd ymm1,zmm2").vpmovqd(ymm(1), zmm(2));
      as("vinserti64x4 zmm1,zmm2,ymm3,0x1").vinserti64x4(zmm(1), zmm(2), ymm(3), 1);
    }

    /** VEX, where there is no need for EVEX. */
    private void ymm() {
      as("vmovups ymm1,YMMWORD PTR [rdi+0x20]").vmovups(ymm(1), at(RDI, 32));
      as("vmovups YMMWORD PTR [r9+r13*4+0x20],ymm9").vmovups(at(R9, R13, 4, 32), ymm(9));
      as("vfmadd231ps ymm1,ymm2,YMMWORD PTR [r8]").vfmadd231ps(ymm(1), ymm(2), at(R8));
      as("vmulps ymm1,ymm2,ymm15").vmulps(ymm(1), ymm(2), ymm(15));
      as("vaddps ymm17,ymm2,ymm3").vaddps(ymm(17), ymm(2), ymm(3));
      as("vmaxps xmm1,xmm2,xmm3").vmaxps(xmm(1), xmm(2), xmm(3));
      as("{vex} vpdpbusd ymm1,ymm2,ymm3").vpdpbusd(ymm(1), ymm(2), ymm(3));
      as("vpaddd ymm1,ymm12,ymm3").vpaddd(ymm(1), ymm(12), ymm(3));
      as("vpslld ymm9,ymm2,0x10").vpslld(ymm(9), ymm(2), 16);
      as("vpsrlw ymm9,ymm10,0x4").vpsrlw(ymm(9), ymm(10), 4);
      as("vpand ymm12,ymm15,YMMWORD PTR [rdi+0x20]").vpandd(ymm(12), ymm(15), at(RDI, 32));
      as("vpor ymm1,ymm2,ymm3").vpord(ymm(1), ymm(2), ymm(3));
      as("vpxor ymm0,ymm0,ymm0").vpxord(ymm(0), ymm(0), ymm(0));
      as("vmaskmovps ymm1,ymm15,YMMWORD PTR [rdi+0x20]").vmaskmovps(ymm(1), ymm(15), at(RDI, 32));
      as("vmaskmovps YMMWORD PTR [rdi+0x20],ymm15,ymm9").vmaskmovps(at(RDI, 32), ymm(15), ymm(9));
      as("vblendvps ymm1,ymm2,ymm13,ymm14").vblendvps(ymm(1), ymm(2), ymm(13), ymm(14));
      as("vcmpltps ymm15,ymm2,ymm3").vcmpps(ymm(15), ymm(2), ymm(3), Comparison.LESS);
      as("vpcmpeqd ymm15,ymm2,ymm13").vpcmpeqd(ymm(15), ymm(2), ymm(13));
      as("vpsrldq xmm1,xmm9,0x2").vpsrldq(xmm(1), xmm(9), 2);
      as("vpalignr ymm1,ymm2,ymm13,0x4").vpalignr(ymm(1), ymm(2), ymm(13), 4);
      as("vperm2i128 ymm1,ymm2,ymm13,0x1").vperm2i128(ymm(1), ymm(2), ymm(13), 1);
      as("vpermq ymm1,ymm9,0x8").vpermq(ymm(1), ymm(9), 8);
      as("vpmovzxbd ymm1,xmm9").vpmovzxbd(ymm(1), xmm(9));
      as("vpackusdw ymm1,ymm2,ymm13").vpackusdw(ymm(1), ymm(2), ymm(13));
      as("vpackuswb ymm1,ymm2,ymm13").vpackuswb(ymm(1), ymm(2), ymm(13));
      as("vpabsb ymm13,ymm12").vpabsb(ymm(13), ymm(12));
      as("vpsignb ymm14,ymm14,ymm12").vpsignb(ymm(14), ymm(14), ymm(12));
      as("vpmaddubsw ymm14,ymm13,ymm14").vpmaddubsw(ymm(14), ymm(13), ymm(14));
      as("vpmaddwd ymm14,ymm14,YMMWORD PTR [rsp]").vpmaddwd(ymm(14), ymm(14), at(RSP));
      as("vpaddw ymm11,ymm11,ymm14").vpaddw(ymm(11), ymm(11), ymm(14));
      as("vbroadcastss ymm1,DWORD PTR [rdx+0x4]").vbroadcastss(ymm(1), at(RDX, 4));
      as("vcvtdq2ps ymm1,ymm2").vcvtdq2ps(ymm(1), ymm(2));
      as("vcvtph2ps ymm1,XMMWORD PTR [rdi+0x10]").vcvtph2ps(ymm(1), at(RDI, 16));
      as("vcvtps2ph xmm1,ymm2,0x0").vcvtps2ph(xmm(1), ymm(2), 0);
      as("vpmovzxwd ymm1,XMMWORD PTR [rsi+0x10]").vpmovzxwd(ymm(1), at(RSI, 16));
    }

    private void tiles() {
      as("ldtilecfg [rsp]").ldtilecfg(at(RSP));
      as("tilerelease").tilerelease();
      as("tilezero tmm3").tilezero(tmm(3));
      as("tileloadd tmm6,[rdi+rax*1+0x40]").tileloadd(tmm(6), at(RDI, RAX, 1, 64));
      as("tileloadd tmm4,[r10+rcx*1]").tileloadd(tmm(4), at(R10, RCX, 1, 0));
      as("tilestored [r8+r9*1+0xc0],tmm3").tilestored(at(R8, R9, 1, 192), tmm(3));
      as("tdpbf16ps tmm2,tmm5,tmm6").tdpbf16ps(tmm(2), tmm(5), tmm(6));
    }

    private void frame() {
      enter(5, RBX, R12);
      as("push rbx");
      as("push r12");
      as("sub rsp,0x28");
      as("mov rax,QWORD PTR [rsp+0x40]").mov(RAX, parameter(7));
      as("add rsp,0x28");
      as("pop r12");
      as("pop rbx");
      as("ret").leave();
    }
  }

  @Test
  void instructions_areWhatObjdumpReads() throws Exception {
    Everything code = new Everything();
    code.general();
    code.jumps();
    code.single();
    code.zmm();
    code.ymm();
    code.tiles();
    code.frame();

    assertThat(Disassembly.of(code.finish().bytes())).isEqualTo(code.expected);
    assertThat(names(code.expected)).containsAll(methods());
  }

  private static Set<String> names(List<String> expected) {
    return expected.stream()
        .map(line -> line.replace("{vex} ", "").replaceAll("vcmp\\w+ps", "vcmpps"))
        .map(line -> line.split(" ", 2)[0])
        .collect(Collectors.toSet());
  }

  private static List<String> methods() {
    return Stream.of(GeneralInstructions.class, VectorInstructions.class)
        .flatMap(type -> Arrays.stream(type.getDeclaredMethods()))
        .filter(method -> Modifier.isPublic(method.getModifiers()))
        .map(Method::getName)
        .toList();
  }

  @Test
  void code_needsWhatItsInstructionsNeed() {
    Vector zmm = Vector.zmm(0);
    Vector ymm = zmm.ymm();

    assertThat(needs(code -> code.mov(Registers.RAX, 1))).isEmpty();
    assertThat(needs(code -> code.vaddps(zmm, zmm, zmm))).containsExactly(AVX512F);
    assertThat(needs(code -> code.vaddps(ymm, ymm, ymm))).containsExactly(AVX);
    assertThat(needs(code -> code.vpaddd(ymm, ymm, ymm))).containsExactly(AVX2);
    assertThat(needs(code -> code.vfmadd231ps(ymm, ymm, ymm))).containsExactly(FMA);
    assertThat(needs(code -> code.vaddps(ymm.plus(16), ymm, ymm)))
        .containsExactlyInAnyOrder(AVX512F, AVX512VL);
    assertThat(needs(code -> code.vpdpbusd(zmm, zmm, zmm))).containsExactly(AVX512_VNNI);
    assertThat(needs(code -> code.vpdpbusd(ymm, ymm, ymm))).containsExactly(AVX_VNNI);
    assertThat(needs(code -> code.vpsrlw(zmm, zmm, 4))).containsExactly(AVX512BW);
    Tile tile = Registers.tmm(0);
    assertThat(needs(code -> code.tilezero(tile))).containsExactly(AMX_TILE);
    assertThat(needs(code -> code.tdpbf16ps(tile, tile, tile)))
        .containsExactlyInAnyOrder(AMX_TILE, AMX_BF16);
  }

  private static Set<CpuFeature> needs(Consumer<Assembler> instruction) {
    Assembler code = new Everything();
    instruction.accept(code);
    return code.finish().needs();
  }

  @Test
  void instruction_withoutAnEncodingForItsOperands_isRefused() {
    Assembler code = new Everything();
    Vector high = Vector.of(16, 128);

    assertThatThrownBy(() -> code.vaddsd(high, high, high))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("no encoding");
  }

  @Test
  void constant_whereThereIsNoRegister_isBehindTheCode() throws Exception {
    Assembler code = new Assembler(256) {};
    Vector constant = Registers.vector(17);
    code.fillInts(constant, 7);
    code.vpaddd(Registers.vector(1), Registers.vector(9), constant);
    code.vpaddd(Registers.vector(1), constant, Registers.vector(9));
    code.vcmpps(Registers.vector(1), Registers.vector(2), constant, Comparison.LESS);
    MachineCode written = code.finish();

    assertThat(Disassembly.of(Arrays.copyOf(written.bytes(), written.end())))
        .containsExactly(
            "vpaddd ymm1,ymm9,YMMWORD PTR [rip+0x18]", // ends at 8, and constants begin at 32
            "vmovaps ymm13,YMMWORD PTR [rip+0x10]",
            "vpaddd ymm1,ymm13,ymm9",
            "vcmpltps ymm1,ymm2,YMMWORD PTR [rip+0x2]");
    assertThat(written.bytes()).hasSize(64).endsWith(7, 0, 0, 0, 7, 0, 0, 0);
  }

  @Test
  void constant_thatWasNeverFilled_isRefused() {
    Assembler code = new Assembler(256) {};
    Vector high = Registers.vector(16);

    assertThatThrownBy(() -> code.vaddps(Registers.vector(1), Registers.vector(2), high))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("vector register 16 has no constant; fill it first");
  }

  @Test
  void label_thatIsBoundNowhere_isRefused() {
    Assembler code = new Everything();
    code.jmp(new Label());

    assertThatThrownBy(code::finish)
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("bound nowhere");
  }
}
