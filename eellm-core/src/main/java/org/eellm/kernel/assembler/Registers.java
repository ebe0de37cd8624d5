package org.eellm.kernel.assembler;

/** The registers by their names, and memory, for those who write code. */
abstract class Registers {
  public static final Gp RAX = new Gp(0, 64);
  public static final Gp RCX = new Gp(1, 64);
  public static final Gp RDX = new Gp(2, 64);
  public static final Gp RBX = new Gp(3, 64);
  public static final Gp RSP = new Gp(4, 64);
  public static final Gp RBP = new Gp(5, 64);
  public static final Gp RSI = new Gp(6, 64);
  public static final Gp RDI = new Gp(7, 64);
  public static final Gp R8 = new Gp(8, 64);
  public static final Gp R9 = new Gp(9, 64);
  public static final Gp R10 = new Gp(10, 64);
  public static final Gp R11 = new Gp(11, 64);
  public static final Gp R12 = new Gp(12, 64);
  public static final Gp R13 = new Gp(13, 64);
  public static final Gp R14 = new Gp(14, 64);
  public static final Gp R15 = new Gp(15, 64);
  public static final Gp EAX = new Gp(0, 32);
  public static final Gp ECX = new Gp(1, 32);
  public static final Gp EDX = new Gp(2, 32);
  public static final Gp EBX = new Gp(3, 32);
  public static final Gp ESI = new Gp(6, 32);
  public static final Gp EDI = new Gp(7, 32);
  public static final Gp R8D = new Gp(8, 32);
  public static final Gp R9D = new Gp(9, 32);
  public static final Gp R10D = new Gp(10, 32);
  public static final Gp R11D = new Gp(11, 32);
  public static final Gp R13D = new Gp(13, 32);
  public static final Gp R14D = new Gp(14, 32);
  public static final Gp AX = new Gp(0, 16);

  public static final Mask K1 = new Mask(1, 0);
  public static final Mask K2 = new Mask(2, 0);

  /** A register as wide as the function's vectors. */
  public static Vector vector(int number) {
    return Vector.of(number, Vector.WHOLE);
  }

  public static Vector zmm(int number) {
    return Vector.zmm(number);
  }

  public static Vector ymm(int number) {
    return Vector.of(number, 256);
  }

  public static Tile tmm(int number) {
    return new Tile(number);
  }

  public static Memory at(Gp base) {
    return Memory.at(base);
  }

  public static Memory at(Gp base, int displacement) {
    return Memory.at(base, displacement);
  }

  public static Memory at(Gp base, Gp index, int scale, int displacement) {
    return Memory.at(base, index, scale, displacement);
  }
}
