package org.eellm.kernel.weight;

import java.util.List;
import java.util.Optional;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.machine.MachineCode;
import org.eellm.kernel.vector.NativeFunction;

/**
 * The copying of {@link PackedMatrix#pack} as machine code for any x86-64 processor. A model is
 * packed when a process has just started, and Java's interpreter would take a second for what takes
 * a tenth.
 *
 * <p>{@code void f(long source, long rowBytes, long to, long rows, long tiles)}, by the System V
 * convention, copies tiles of 16 groups of all rows: a cache line of each row.
 */
final class PackCode {
  /** Groups of inputs, of 32 bits each, that are copied row by row. */
  static final int TILE = 16;

  private static final int STEP_BYTES = 4 * PackedMatrix.BLOCK;

  /** None where it cannot be used. */
  private static final Optional<NativeFunction> FUNCTION = load();

  private PackCode() {}

  private static Optional<NativeFunction> load() {
    return ExecutableMemory.has("sse2")
        ? ExecutableMemory.store(List.of(code())).map(functions -> functions[0])
        : Optional.empty();
  }

  private static byte[] code() {
    MachineCode code = new MachineCode();
    int tile = code.position();
    code.bytes(0x49, 0x89, 0xF9); // mov r9, rdi: source
    code.bytes(0x49, 0x89, 0xD2); // mov r10, rdx: to
    code.bytes(0x49, 0x89, 0xCB); // mov r11, rcx: rows
    int row = code.position();
    for (int group = 0; group < TILE; group++) {
      code.bytes(0x8B, 0x47, 4 * group); // mov eax, [rdi + ...]
      code.bytes(0x89, 0x82); // mov [rdx + ...], eax
      code.number(STEP_BYTES * group);
    }
    code.bytes(0x48, 0x01, 0xF7); // add rdi, rsi: the next row
    code.bytes(0x48, 0x83, 0xC2, 0x04); // add rdx, 4
    code.bytes(0x48, 0xFF, 0xC9); // dec rcx
    code.bytes(0x0F, 0x85); // jnz
    code.distanceTo(row);
    code.bytes(0x49, 0x8D, 0x79, 4 * TILE); // lea rdi, [r9 + ...]: the next tile
    code.bytes(0x49, 0x8D, 0x92); // lea rdx, [r10 + ...]
    code.number(STEP_BYTES * TILE);
    code.bytes(0x4C, 0x89, 0xD9); // mov rcx, r11
    code.bytes(0x49, 0xFF, 0xC8); // dec r8
    code.bytes(0x0F, 0x85); // jnz
    code.distanceTo(tile);
    code.bytes(0xC3); // ret
    return code.toByteArray();
  }

  /**
   * Copies the tiles that are whole.
   *
   * @param source address of the first row
   * @param rowBytes from a row to the next
   * @param to address of the block
   * @param groups of a row
   * @return how many groups have been copied: none where there is no machine code
   */
  static int copy(long source, long rowBytes, long to, int rows, int groups) {
    int tiles = groups / TILE;
    if (FUNCTION.isEmpty() || tiles == 0 || rows == 0) {
      return 0;
    }
    FUNCTION.get().call(source, rowBytes, to, rows, tiles, 0, 0, 0);
    return tiles * TILE;
  }
}
