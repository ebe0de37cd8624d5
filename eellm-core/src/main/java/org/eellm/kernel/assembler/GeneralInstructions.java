package org.eellm.kernel.assembler;

import static org.eellm.kernel.assembler.CpuFeature.BMI2;

/**
 * Instructions on general registers, by the names and the order of operands that Intel's manual
 * (volume 2) has. Operands tell an instruction's width.
 */
abstract class GeneralInstructions extends Registers {
  final Encoder encoder = new Encoder();

  public final void mov(Gp to, Operand from) {
    encoder.general(to.bits(), 0x8B, to.number(), from);
  }

  public final void mov(Memory to, Gp from) {
    encoder.general(from.bits(), 0x89, from.number(), to);
  }

  public final void mov(Gp to, long constant) {
    if (to.bits() == Long.SIZE && constant == (int) constant) {
      encoder.general(to.bits(), 0xC7, 0, to);
      encoder.number(constant, Integer.BYTES);
    } else {
      encoder.plus(to, 0xB8);
      encoder.number(constant, to.bits() / Byte.SIZE);
    }
  }

  public final void lea(Gp to, Memory from) {
    encoder.general(to.bits(), 0x8D, to.number(), from);
  }

  public final void add(Gp to, Operand from) {
    encoder.general(to.bits(), 0x03, to.number(), from);
  }

  public final void add(Gp to, int constant) {
    arithmetic(0, to, constant);
  }

  public final void sub(Gp to, Gp from) {
    encoder.general(to.bits(), 0x29, from.number(), to);
  }

  public final void sub(Gp to, int constant) {
    arithmetic(5, to, constant);
  }

  public final void and(Gp to, int constant) {
    arithmetic(4, to, constant);
  }

  public final void xor(Gp to, Gp from) {
    encoder.general(to.bits(), 0x31, from.number(), to);
  }

  public final void cmp(Gp first, Gp second) {
    encoder.general(first.bits(), 0x39, second.number(), first);
  }

  public final void cmp(Gp first, int constant) {
    arithmetic(7, first, constant);
  }

  private void arithmetic(int digit, Gp to, int constant) {
    boolean small = constant == (byte) constant;
    encoder.general(to.bits(), small ? 0x83 : 0x81, digit, to);
    encoder.number(constant, small ? 1 : Integer.BYTES);
  }

  public final void test(Gp first, Gp second) {
    encoder.general(first.bits(), 0x85, second.number(), first);
  }

  public final void inc(Gp register) {
    encoder.general(register.bits(), 0xFF, 0, register);
  }

  public final void dec(Gp register) {
    encoder.general(register.bits(), 0xFF, 1, register);
  }

  public final void imul(Gp to, Memory from) {
    encoder.general(to.bits(), 0x0F_AF, to.number(), from);
  }

  public final void imul(Gp to, Gp from, int constant) {
    boolean small = constant == (byte) constant;
    encoder.general(to.bits(), small ? 0x6B : 0x69, to.number(), from);
    encoder.number(constant, small ? 1 : Integer.BYTES);
  }

  public final void shl(Gp register, int bits) {
    shift(4, register, bits);
  }

  public final void shr(Gp register, int bits) {
    shift(5, register, bits);
  }

  public final void sar(Gp register, int bits) {
    shift(7, register, bits);
  }

  private void shift(int digit, Gp register, int bits) {
    encoder.general(register.bits(), 0xC1, digit, register);
    encoder.bytes(bits);
  }

  public final void bsf(Gp to, Gp from) {
    encoder.general(to.bits(), 0x0F_BC, to.number(), from);
  }

  public final void cmovl(Gp to, Gp from) {
    encoder.general(to.bits(), 0x0F_4C, to.number(), from);
  }

  public final void cmovg(Gp to, Gp from) {
    encoder.general(to.bits(), 0x0F_4F, to.number(), from);
  }

  public final void cmove(Gp to, Gp from) {
    encoder.general(to.bits(), 0x0F_44, to.number(), from);
  }

  public final void jmp(Label to) {
    encoder.jump(0xE9, to);
  }

  public final void je(Label to) {
    encoder.jump(0x0F_84, to);
  }

  public final void jne(Label to) {
    encoder.jump(0x0F_85, to);
  }

  public final void jl(Label to) {
    encoder.jump(0x0F_8C, to);
  }

  public final void jg(Label to) {
    encoder.jump(0x0F_8F, to);
  }

  /** After floats were compared: also where one is NaN. */
  public final void jbe(Label to) {
    encoder.jump(0x0F_86, to);
  }

  public final void call(Gp address) {
    encoder.general(Integer.SIZE, 0xFF, 2, address);
  }

  /** Loads how floats are rounded, and whether tiny ones become 0. */
  public final void ldmxcsr(Memory from) {
    encoder.general(Integer.SIZE, 0x0F_AE, 2, from);
  }

  public final void stmxcsr(Memory to) {
    encoder.general(Integer.SIZE, 0x0F_AE, 3, to);
  }

  public final void prefetcht0(Memory from) {
    encoder.general(Integer.SIZE, 0x0F_18, 1, from);
  }

  /** To the second cache. */
  public final void prefetcht1(Memory from) {
    encoder.general(Integer.SIZE, 0x0F_18, 2, from);
  }

  /** As many of the lowest bits as a register says. */
  public final void bzhi(Gp to, Gp from, Gp count) {
    Encoding of = Encoding.vex(0x0F38_F5, BMI2);
    rmv(to.bits() == Long.SIZE ? of.wide() : of, to, from, count);
  }

  private void rmv(Encoding of, Gp to, Gp from, Gp last) {
    encoder.vector(of, 128, new Encoder.Operands(to.number(), last.number(), from, to));
  }
}
