package org.eellm.kernel.assembler;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The bytes of instructions: prefixes, opcodes, operands and offsets. Vectors of 128 and 256 bits
 * have the VEX encoding where there is one; those of 512 bits, masks, broadcasts and registers from
 * 16 on need EVEX.
 */
final class Encoder {
  private static final Gp RIP = new Gp(16, Long.SIZE); // the place in the code
  private static final int CONSTANT_BYTES = 32;

  private final ByteArrayOutputStream code = new ByteArrayOutputStream();
  private final List<Jump> jumps = new ArrayList<>();
  private final Set<CpuFeature> needs = EnumSet.noneOf(CpuFeature.class);
  private final Map<Integer, Long> constants = new LinkedHashMap<>();
  private final Label behind = new Label(); // where constants are

  /** A place in the code that tells how far another one is from its end. */
  private record Jump(int at, Label to, int bytesBehind) {}

  record Operands(int reg, int vvvv, Operand rm, Operand destination) {}

  MachineCode finish() {
    int end = code.size();
    writeConstants();
    ByteBuffer all = ByteBuffer.wrap(code.toByteArray()).order(ByteOrder.LITTLE_ENDIAN);
    for (Jump jump : jumps) {
      if (jump.to.position == Label.UNKNOWN) {
        throw new IllegalStateException("a label is bound nowhere; bind it where its jumps end");
      }
      all.putInt(jump.at, jump.to.position + jump.bytesBehind - jump.at - Integer.BYTES);
    }
    return new MachineCode(all.array(), end, Set.copyOf(needs));
  }

  private void writeConstants() {
    while (!constants.isEmpty() && code.size() % CONSTANT_BYTES != 0) {
      code.write(0);
    }
    bind(behind);
    for (long constant : constants.values()) {
      for (int i = 0; i < CONSTANT_BYTES; i += Long.BYTES) {
        number(constant, Long.BYTES);
      }
    }
  }

  /** Keeps a constant of a vector register in memory: as many times the same 64 bits. */
  void keep(Vector register, long bits) {
    constants.put(register.number(), bits);
  }

  /**
   * Where the constant of a vector register is.
   *
   * @throws IllegalStateException if it has none yet
   */
  Memory constant(Vector register) {
    int place = List.copyOf(constants.keySet()).indexOf(register.number());
    if (place < 0) {
      throw new IllegalStateException(
          "vector register %d has no constant; fill it first".formatted(register.number()));
    }
    return Memory.at(RIP, place * CONSTANT_BYTES);
  }

  void need(CpuFeature feature) {
    needs.add(feature);
  }

  void bytes(int... values) {
    for (int value : values) {
      code.write(value);
    }
  }

  /** The last byte of an instruction, beyond which it tells how far its operand is. */
  void immediate(int value) {
    code.write(value);
    if (!jumps.isEmpty() && jumps.getLast().at + Integer.BYTES + 1 == code.size()) {
      Jump operand = jumps.removeLast();
      jumps.add(new Jump(operand.at, operand.to, operand.bytesBehind - 1));
    }
  }

  /** In so many bytes, the lowest first. */
  void number(long value, int bytes) {
    for (int i = 0; i < bytes; i++) {
      code.write((int) (value >> Byte.SIZE * i));
    }
  }

  void bind(Label label) {
    label.position = code.size();
  }

  void jump(int opcode, Label to) {
    opcode(opcode);
    jumps.add(new Jump(code.size(), to, 0));
    number(0, Integer.BYTES);
  }

  private void opcode(int opcode) {
    if (opcode > 0xFF) {
      code.write(opcode >> Byte.SIZE);
    }
    code.write(opcode);
  }

  void plus(Gp register, int opcode) {
    int rex = (register.bits() == Long.SIZE ? 8 : 0) | register.number() >> 3;
    if (rex != 0) {
      code.write(0x40 | rex);
    }
    code.write(opcode | register.number() & 7);
  }

  /** An instruction of general registers, as wide as one of them. */
  void general(int bits, int opcode, int reg, Operand rm) {
    if (bits == Short.SIZE) {
      code.write(0x66);
    }
    int rex = (bits == Long.SIZE ? 8 : 0) | reg >> 3 << 2 | indexHigh(rm) << 1 | baseHigh(rm);
    if (rex != 0) {
      code.write(0x40 | rex);
    }
    opcode(opcode);
    operands(reg, rm, 1);
  }

  /** An instruction of vectors or masks. */
  void vector(Encoding of, int bits, Operands on) {
    if (of.vex().isPresent() && fitsVex(bits, on)) {
      needs.add(of.vex().get());
      vex(of, bits, on);
      operands(on.reg, on.rm, 1);
    } else {
      evex(of, bits, on);
      operands(on.reg, on.rm, unit(of, bits, on.rm));
    }
  }

  private static boolean fitsVex(int bits, Operands on) {
    boolean lowRegisters = (on.reg | on.vvvv | number(on.rm)) < 16;
    return lowRegisters && bits < 512 && on.destination.mask() == 0 && !broadcast(on.rm);
  }

  private void vex(Encoding of, int bits, Operands on) {
    int last = (~on.vvvv & 15) << 3 | (bits == 256 ? 4 : 0) | of.prefix();
    int high = (~on.reg >> 3 & 1) << 7;
    if (of.map() == 1 && !of.w1() && (indexHigh(on.rm) | baseHigh(on.rm)) == 0) {
      bytes(0xC5, high | last);
    } else {
      bytes(0xC4, high | otherHighs(on.rm) | of.map(), (of.w1() ? 0x80 : 0) | last);
    }
    code.write(of.opcode());
  }

  private void evex(Encoding of, int bits, Operands on) {
    needs.add(of.evex().orElseThrow(() -> refusal(of, on)));
    if (bits < 512) {
      needs.add(CpuFeature.AVX512VL);
    }
    bytes(
        0x62,
        (~on.reg >> 3 & 1) << 7 | otherHighs(on.rm) | (~on.reg >> 4 & 1) << 4 | of.map(),
        (of.w1() ? 0x80 : 0) | (~on.vvvv & 15) << 3 | 4 | of.prefix(),
        (on.destination.zeroing() ? 0x80 : 0)
            | bits >> 8 << 5
            | (broadcast(on.rm) ? 0x10 : 0)
            | (~on.vvvv >> 4 & 1) << 3
            | on.destination.mask(),
        of.opcode());
  }

  private static IllegalArgumentException refusal(Encoding of, Operands on) {
    return new IllegalArgumentException(
        "instruction %X: no encoding for %s; use registers below 16, of at most 256 bits"
            .formatted(of.opcode(), on));
  }

  private static int otherHighs(Operand rm) {
    return (~indexHigh(rm) & 1) << 6 | (~baseHigh(rm) & 1) << 5;
  }

  private static boolean broadcast(Operand rm) {
    return rm instanceof Memory memory && memory.broadcast();
  }

  private static int unit(Encoding of, int bits, Operand rm) {
    int lane = of.w1() ? Long.BYTES : Integer.BYTES;
    return broadcast(rm) ? lane : of.part().bytes(bits / Byte.SIZE, lane);
  }

  /** Of a register; 0 of memory. */
  static int number(Operand operand) {
    return switch (operand) {
      case Gp register -> register.number();
      case Vector register -> register.number();
      case Mask register -> register.number();
      case Tile register -> register.number();
      case Memory memory -> 0;
    };
  }

  /** The fourth bit of a base, or of a register. */
  private static int baseHigh(Operand rm) {
    return (rm instanceof Memory memory ? memory.base().number() : number(rm)) >> 3 & 1;
  }

  /** The fourth bit of an index, or the fifth of a register. */
  private static int indexHigh(Operand rm) {
    return rm instanceof Memory memory
        ? memory.index().map(index -> index.number() >> 3).orElse(0)
        : number(rm) >> 4;
  }

  private void operands(int reg, Operand rm, int unit) {
    if (rm instanceof Memory memory) {
      memory(reg, memory, unit);
    } else {
      code.write(0xC0 | (reg & 7) << 3 | number(rm) & 7);
    }
  }

  /** Offsets have no byte, one that counts units, or four. */
  private void memory(int reg, Memory at, int unit) {
    if (at.base().equals(RIP)) {
      code.write((reg & 7) << 3 | 5);
      jumps.add(new Jump(code.size(), behind, at.displacement()));
      number(0, Integer.BYTES);
      return;
    }
    int base = at.base().number() & 7;
    int units = at.displacement() / unit;
    boolean small = at.displacement() % unit == 0 && units == (byte) units;
    int mode = at.displacement() == 0 && base != 5 ? 0 : small ? 1 : 2;
    boolean indexed = at.index().isPresent() || base == 4;
    code.write(mode << 6 | (reg & 7) << 3 | (indexed ? 4 : base));
    if (indexed) {
      int index = at.index().map(Gp::number).orElse(4); // which stands for none
      code.write(Integer.numberOfTrailingZeros(at.scale()) << 6 | (index & 7) << 3 | base);
    }
    if (mode == 1) {
      code.write(units);
    } else if (mode == 2) {
      number(at.displacement(), Integer.BYTES);
    }
  }
}
