package org.eellm.kernel.assembler;

import static org.eellm.kernel.assembler.CpuFeature.AMX_BF16;
import static org.eellm.kernel.assembler.CpuFeature.AMX_TILE;
import static org.eellm.kernel.assembler.CpuFeature.AVX;
import static org.eellm.kernel.assembler.CpuFeature.AVX2;
import static org.eellm.kernel.assembler.CpuFeature.AVX512BW;
import static org.eellm.kernel.assembler.CpuFeature.AVX512CD;
import static org.eellm.kernel.assembler.CpuFeature.AVX512DQ;
import static org.eellm.kernel.assembler.CpuFeature.AVX512F;
import static org.eellm.kernel.assembler.CpuFeature.AVX512_BF16;
import static org.eellm.kernel.assembler.CpuFeature.AVX512_VNNI;
import static org.eellm.kernel.assembler.CpuFeature.AVX_VNNI;
import static org.eellm.kernel.assembler.CpuFeature.F16C;
import static org.eellm.kernel.assembler.CpuFeature.FMA;
import static org.eellm.kernel.assembler.Encoding.Part.HALF;
import static org.eellm.kernel.assembler.Encoding.Part.LANE;
import static org.eellm.kernel.assembler.Encoding.Part.QUARTER;

/**
 * Instructions on vectors and masks, as {@link GeneralInstructions} are written. An operand's width
 * tells whether an instruction is encoded by VEX or EVEX, too.
 */
abstract class VectorInstructions extends GeneralInstructions {
  private static final int LOW_REGISTERS = 16; // that the VEX encoding has

  /**
   * Where numbers come by for a moment that AVX-512 takes otherwise: what {@link Assembler}'s
   * operations need, and constants that an instruction takes from a register alone.
   */
  static final Vector PASSING = vector(13);

  final int vectorBits;

  VectorInstructions(int vectorBits) {
    this.vectorBits = vectorBits;
  }

  // Single numbers, and registers of one kind to another.

  public final void vaddsd(Vector to, Vector first, Operand second) {
    rvm(Encoding.vex(0xF2_0F_58, AVX), to, first, second);
  }

  public final void vdivsd(Vector to, Vector first, Operand second) {
    rvm(Encoding.vex(0xF2_0F_5E, AVX), to, first, second);
  }

  public final void vdivss(Vector to, Vector first, Operand second) {
    rvm(Encoding.vex(0xF3_0F_5E, AVX), to, first, second);
  }

  public final void vsqrtsd(Vector to, Vector first, Operand second) {
    rvm(Encoding.vex(0xF2_0F_51, AVX), to, first, second);
  }

  public final void vcvtss2sd(Vector to, Vector first, Operand second) {
    rvm(Encoding.vex(0xF3_0F_5A, AVX), to, first, second);
  }

  public final void vcvtsd2ss(Vector to, Vector first, Operand second) {
    rvm(Encoding.vex(0xF2_0F_5A, AVX), to, first, second);
  }

  public final void vcomiss(Vector first, Operand second) {
    rm(Encoding.vex(0x0F_2F, AVX), first, second);
  }

  public final void vmovd(Vector to, Gp from) {
    rm(Encoding.vex(0x66_0F_6E, AVX), to, from);
  }

  public final void vmovd(Gp to, Vector from) {
    mr(Encoding.vex(0x66_0F_7E, AVX), to, from);
  }

  public final void vmovq(Vector to, Gp from) {
    rm(Encoding.vex(0x66_0F_6E, AVX).wide(), to, from);
  }

  public final void vmovq(Memory to, Vector from) {
    mr(Encoding.vex(0x66_0F_7E, AVX).wide(), to, from);
  }

  public final void vmovmskps(Gp to, Vector from) {
    rm(Encoding.vex(0x0F_50, AVX), to, from);
  }

  public final void kmovw(Mask to, Gp from) {
    rm(Encoding.vex(0x0F_92, AVX512F), to, from);
  }

  public final void kmovw(Gp to, Mask from) {
    rm(Encoding.vex(0x0F_93, AVX512F), to, from);
  }

  public final void korw(Mask to, Mask first, Mask second) {
    masks(0x0F_45, to, first, second);
  }

  public final void kxorw(Mask to, Mask first, Mask second) {
    masks(0x0F_47, to, first, second);
  }

  private void masks(int opcode, Mask to, Mask first, Mask second) {
    Encoding of = Encoding.vex(opcode, AVX512F);
    encoder.vector(of, 256, new Encoder.Operands(to.number(), first.number(), second, to));
  }

  public final void vzeroupper() {
    encoder.need(AVX);
    encoder.bytes(0xC5, 0xF8, 0x77);
  }

  // Vectors.

  public final void vmovups(Vector to, Memory from) {
    rm(Encoding.of(0x0F_10, AVX, AVX512F), to, from);
  }

  public final void vmovups(Memory to, Vector from) {
    mr(Encoding.of(0x0F_11, AVX, AVX512F), to, from);
  }

  /** The lanes whose sign is set in a vector; others become 0. */
  public final void vmaskmovps(Vector to, Vector signs, Memory from) {
    rvm(Encoding.vex(0x66_0F38_2C, AVX), to, signs, from);
  }

  public final void vmaskmovps(Memory to, Vector signs, Vector from) {
    rvm(Encoding.vex(0x66_0F38_2E, AVX), from, signs, to);
  }

  /** The second's lanes where the sign is set in a vector, else the first's. */
  public final void vblendvps(Vector to, Vector first, Vector second, Vector signs) {
    rvm(Encoding.vex(0x66_0F3A_4A, AVX), to, first, second);
    encoder.immediate(signs.number() << 4);
  }

  public final void vmovaps(Vector to, Operand from) {
    rm(Encoding.of(0x0F_28, AVX, AVX512F), to, from);
  }

  public final void vaddps(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x0F_58, AVX, AVX512F), to, first, second);
  }

  public final void vmulps(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x0F_59, AVX, AVX512F), to, first, second);
  }

  public final void vsubps(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x0F_5C, AVX, AVX512F), to, first, second);
  }

  /** The second where one is NaN; so does {@link #vmaxps}. */
  public final void vminps(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x0F_5D, AVX, AVX512F), to, first, second);
  }

  public final void vdivps(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x0F_5E, AVX, AVX512F), to, first, second);
  }

  public final void vmaxps(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x0F_5F, AVX, AVX512F), to, first, second);
  }

  /** {@code to = first * to + second}. */
  public final void vfmadd213ps(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F38_A8, FMA, AVX512F), to, first, second);
  }

  /** {@code to = first * second + to}. */
  public final void vfmadd231ps(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F38_B8, FMA, AVX512F), to, first, second);
  }

  public final void vdpbf16ps(Vector to, Vector first, Operand second) {
    rvm(Encoding.evex(0xF3_0F38_52, AVX512_BF16), to, first, second);
  }

  public final void vpdpbusd(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F38_50, AVX_VNNI, AVX512_VNNI), to, first, second);
  }

  public final void vcmpps(Mask to, Vector first, Operand second, Comparison how) {
    rvm(Encoding.evex(0x0F_C2, AVX512F), to, first, second);
    encoder.immediate(how.number);
  }

  /** Each lane's bits become those of the answer. */
  public final void vcmpps(Vector to, Vector first, Operand second, Comparison how) {
    rvm(Encoding.vex(0x0F_C2, AVX), to, first, second);
    encoder.immediate(how.number);
  }

  public final void vpcmpeqd(Vector to, Vector first, Operand second) {
    rvm(Encoding.vex(0x66_0F_76, AVX2), to, first, second);
  }

  public final void vpaddd(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F_FE, AVX2, AVX512F), to, first, second);
  }

  public final void vpmaxsd(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F38_3D, AVX2, AVX512F), to, first, second);
  }

  /** In the VEX encoding it is called vpand; others are called so, too. */
  public final void vpandd(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F_DB, AVX2, AVX512F), to, first, second);
  }

  public final void vpord(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F_EB, AVX2, AVX512F), to, first, second);
  }

  public final void vpxord(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F_EF, AVX2, AVX512F), to, first, second);
  }

  public final void vpabsb(Vector to, Operand from) {
    rm(Encoding.of(0x66_0F38_1C, AVX2, AVX512BW), to, from);
  }

  /** The first, with the sign turned where the second is negative, and 0 where that is 0. */
  public final void vpsignb(Vector to, Vector first, Operand second) {
    rvm(Encoding.vex(0x66_0F38_08, AVX2), to, first, second);
  }

  /** Bytes without a sign times bytes with one, added in pairs to 16 bits that do not overflow. */
  public final void vpmaddubsw(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F38_04, AVX2, AVX512BW), to, first, second);
  }

  public final void vpmaddwd(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F_F5, AVX2, AVX512BW), to, first, second);
  }

  public final void vpaddw(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F_FD, AVX2, AVX512BW), to, first, second);
  }

  public final void vpsrld(Vector to, Operand from, int bits) {
    vmi(Encoding.of(0x66_0F_72, AVX2, AVX512F), 2, to, from, bits);
  }

  public final void vpsrad(Vector to, Operand from, int bits) {
    vmi(Encoding.of(0x66_0F_72, AVX2, AVX512F), 4, to, from, bits);
  }

  public final void vpslld(Vector to, Operand from, int bits) {
    vmi(Encoding.of(0x66_0F_72, AVX2, AVX512F), 6, to, from, bits);
  }

  /** Of 128 bits, by bytes. */
  public final void vpsrldq(Vector to, Vector from, int bytes) {
    vmi(Encoding.vex(0x66_0F_73, AVX), 3, to, from, bytes);
  }

  public final void vpsrlw(Vector to, Operand from, int bits) {
    vmi(Encoding.of(0x66_0F_71, AVX2, AVX512BW), 2, to, from, bits);
  }

  /** Lanes of the second from a place on, then of the first. */
  public final void valignd(Vector to, Vector first, Operand second, int constant) {
    rvm(Encoding.evex(0x66_0F3A_03, AVX512F), to, first, second);
    encoder.immediate(constant);
  }

  /** In each half, bytes of the second from a place on, then of the first. */
  public final void vpalignr(Vector to, Vector first, Operand second, int constant) {
    rvm(Encoding.vex(0x66_0F3A_0F, AVX2), to, first, second);
    encoder.immediate(constant);
  }

  public final void vperm2i128(Vector to, Vector first, Operand second, int constant) {
    rvm(Encoding.vex(0x66_0F3A_46, AVX2), to, first, second);
    encoder.immediate(constant);
  }

  public final void vpermq(Vector to, Vector from, int constant) {
    rm(Encoding.vex(0x66_0F3A_00, AVX2).wide(), to, from);
    encoder.immediate(constant);
  }

  public final void vbroadcastss(Vector to, Operand from) {
    rm(Encoding.of(0x66_0F38_18, AVX2, AVX512F).inMemory(LANE), to, from);
  }

  public final void vpbroadcastd(Vector to, Memory from) {
    rm(Encoding.of(0x66_0F38_58, AVX2, AVX512F).inMemory(LANE), to, from);
  }

  public final void vpbroadcastd(Vector to, Gp from) {
    rm(Encoding.evex(0x66_0F38_7C, AVX512F), to, from);
  }

  public final void vcvtdq2ps(Vector to, Operand from) {
    rm(Encoding.of(0x0F_5B, AVX, AVX512F), to, from);
  }

  public final void vcvtph2ps(Vector to, Operand from) {
    rm(Encoding.of(0x66_0F38_13, F16C, AVX512F).inMemory(HALF), to, from);
  }

  public final void vcvtps2ph(Operand to, Vector from, int constant) {
    mr(Encoding.of(0x66_0F3A_1D, F16C, AVX512F).inMemory(HALF), to, from);
    encoder.immediate(constant);
  }

  public final void vpmovzxwd(Vector to, Operand from) {
    rm(Encoding.of(0x66_0F38_33, AVX2, AVX512F).inMemory(HALF), to, from);
  }

  public final void vpmovzxbd(Vector to, Operand from) {
    rm(Encoding.of(0x66_0F38_31, AVX2, AVX512F).inMemory(QUARTER), to, from);
  }

  /** In each half, the first's lanes of 32 bits and the second's, as 16 bits without a sign. */
  public final void vpackusdw(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F38_2B, AVX2, AVX512BW), to, first, second);
  }

  public final void vpackuswb(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F_67, AVX2, AVX512BW), to, first, second);
  }

  public final void vpmovdb(Operand to, Vector from) {
    mr(Encoding.evex(0xF3_0F38_31, AVX512F).inMemory(QUARTER), to, from);
  }

  public final void vpmovdw(Operand to, Vector from) {
    mr(Encoding.evex(0xF3_0F38_33, AVX512F).inMemory(HALF), to, from);
  }

  // Of lanes of 64 bits.

  public final void vaddpd(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F_58, AVX, AVX512F).wide(), to, first, second);
  }

  public final void vmulpd(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F_59, AVX, AVX512F).wide(), to, first, second);
  }

  public final void vmaxpd(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F_5F, AVX, AVX512F).wide(), to, first, second);
  }

  public final void vcvtps2pd(Vector to, Operand from) {
    rm(Encoding.of(0x0F_5A, AVX, AVX512F).inMemory(HALF), to, from);
  }

  public final void vcvtpd2ps(Vector to, Operand from) {
    rm(Encoding.of(0x66_0F_5A, AVX, AVX512F).wide(), to, from);
  }

  public final void vpaddq(Vector to, Vector first, Operand second) {
    rvm(Encoding.of(0x66_0F_D4, AVX2, AVX512F).wide(), to, first, second);
  }

  public final void vpmullq(Vector to, Vector first, Operand second) {
    rvm(Encoding.evex(0x66_0F38_40, AVX512DQ).wide(), to, first, second);
  }

  public final void vpsrlq(Vector to, Operand from, int bits) {
    vmi(Encoding.of(0x66_0F_73, AVX2, AVX512F).wide(), 2, to, from, bits);
  }

  public final void vplzcntq(Vector to, Operand from) {
    rm(Encoding.evex(0x66_0F38_44, AVX512CD).wide(), to, from);
  }

  public final void vpbroadcastq(Vector to, Gp from) {
    rm(Encoding.evex(0x66_0F38_7C, AVX512F).wide(), to, from);
  }

  public final void vpmovsxdq(Vector to, Operand from) {
    rm(Encoding.of(0x66_0F38_25, AVX2, AVX512F).inMemory(HALF), to, from);
  }

  public final void vpmovqd(Operand to, Vector from) {
    mr(Encoding.evex(0xF3_0F38_35, AVX512F).inMemory(HALF), to, from);
  }

  public final void vinserti64x4(Vector to, Vector first, Operand second, int constant) {
    rvm(Encoding.evex(0x66_0F3A_3A, AVX512F).wide().inMemory(HALF), to, first, second);
    encoder.immediate(constant);
  }

  // Tiles.

  /** Loads how many rows and bytes of a row each tile has: 64 bytes. */
  public final void ldtilecfg(Memory from) {
    tile(0x0F38_49, 0, 0, from);
  }

  /** Forgets tiles and their sizes, so that the system need not keep them. */
  public final void tilerelease() {
    tile(0x0F38_49, 0, 0, tmm(0));
  }

  public final void tilezero(Tile to) {
    tile(0xF2_0F38_49, to.number(), 0, tmm(0));
  }

  /**
   * Loads rows.
   *
   * @param from the first; the index has the bytes from a row to the next
   */
  public final void tileloadd(Tile to, Memory from) {
    tile(0xF2_0F38_4B, to.number(), 0, from);
  }

  /** Stores rows, as {@link #tileloadd} loads them. */
  public final void tilestored(Memory to, Tile from) {
    tile(0xF3_0F38_4B, from.number(), 0, to);
  }

  /** Adds the products of rows of pairs of bfloat16 and columns of pairs. */
  public final void tdpbf16ps(Tile to, Tile rows, Tile columns) {
    encoder.need(AMX_BF16);
    tile(0xF3_0F38_5C, to.number(), columns.number(), rows);
  }

  private void tile(int opcode, int reg, int vvvv, Operand rm) {
    encoder.vector(Encoding.vex(opcode, AMX_TILE), 128, new Encoder.Operands(reg, vvvv, rm, rm));
  }

  // Where operands are in an encoding, by the manual's names.

  private void rvm(Encoding of, Operand to, Vector first, Operand second) {
    int bits = Math.max(Math.max(bits(to), bits(first)), bits(second));
    int register = isConstant(first) ? loaded(first).number() : first.number();
    encoder.vector(of, bits, new Encoder.Operands(number(to), register, place(second), to));
  }

  private void rm(Encoding of, Operand to, Operand from) {
    int bits = Math.max(bits(to), bits(from));
    encoder.vector(of, bits, new Encoder.Operands(number(to), 0, place(from), to));
  }

  private void mr(Encoding of, Operand to, Vector from) {
    int bits = Math.max(bits(to), bits(from));
    encoder.vector(of, bits, new Encoder.Operands(from.number(), 0, to, to));
  }

  private void vmi(Encoding of, int digit, Vector to, Operand from, int constant) {
    encoder.vector(of, bits(to), new Encoder.Operands(digit, to.number(), from, to));
    encoder.immediate(constant);
  }

  private static int number(Operand operand) {
    return Encoder.number(operand);
  }

  /** The widest vector tells an instruction's width. */
  final int bits(Operand operand) {
    if (!(operand instanceof Vector register)) {
      return 128;
    }
    return register.bits() == Vector.WHOLE ? vectorBits : register.bits();
  }

  /** Whether a register is one of a constant, and AVX-512 alone has it. */
  final boolean isConstant(Operand operand) {
    return vectorBits == 256
        && operand instanceof Vector register
        && register.bits() == Vector.WHOLE
        && register.number() >= LOW_REGISTERS;
  }

  private Operand place(Operand operand) {
    return isConstant(operand) ? encoder.constant((Vector) operand) : operand;
  }

  /** A register that has a constant now. */
  private Vector loaded(Vector constant) {
    vmovaps(PASSING, constant);
    return PASSING;
  }
}
