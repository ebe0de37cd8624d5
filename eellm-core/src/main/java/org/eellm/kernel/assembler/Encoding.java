package org.eellm.kernel.assembler;

import java.util.Optional;

/**
 * How a vector instruction is encoded, as Intel's manual has it.
 *
 * @param opcode with its prefix and its map before it: {@code 0x66_0F38_B8}
 * @param part of a vector that the instruction has in memory
 * @param vex what the processor must have for the VEX encoding, if there is one
 * @param evex the same for EVEX
 */
record Encoding(
    int opcode, boolean w1, Part part, Optional<CpuFeature> vex, Optional<CpuFeature> evex) {

  /** Offsets of 8 bits in EVEX are multiples of it. */
  enum Part {
    ALL,
    HALF,
    QUARTER,
    LANE;

    int bytes(int vectorBytes, int laneBytes) {
      return this == LANE ? laneBytes : vectorBytes >> ordinal();
    }
  }

  static Encoding of(int opcode, CpuFeature vex, CpuFeature evex) {
    return new Encoding(opcode, false, Part.ALL, Optional.of(vex), Optional.of(evex));
  }

  static Encoding vex(int opcode, CpuFeature feature) {
    return new Encoding(opcode, false, Part.ALL, Optional.of(feature), Optional.empty());
  }

  static Encoding evex(int opcode, CpuFeature feature) {
    return new Encoding(opcode, false, Part.ALL, Optional.empty(), Optional.of(feature));
  }

  Encoding wide() {
    return new Encoding(opcode, true, part, vex, evex);
  }

  Encoding inMemory(Part taken) {
    return new Encoding(opcode, w1, taken, vex, evex);
  }

  /** Its number in the encoding: 1 for 0F, 2 for 0F38, 3 for 0F3A. */
  int map() {
    return switch (opcode >> 8 & 0xFFFF) {
      case 0x0F38 -> 2;
      case 0x0F3A -> 3;
      default -> 1;
    };
  }

  int prefix() {
    return switch (opcode >>> (map() == 1 ? 16 : 24)) {
      case 0x66 -> 1;
      case 0xF3 -> 2;
      case 0xF2 -> 3;
      default -> 0;
    };
  }
}
