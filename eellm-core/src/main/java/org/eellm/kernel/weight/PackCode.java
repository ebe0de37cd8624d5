package org.eellm.kernel.weight;

import java.util.Optional;
import org.eellm.kernel.assembler.Assembler;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.vector.NativeFunction;

/**
 * The copying of {@link PackedMatrix#pack} as machine code for any x86-64 processor. A model is
 * packed when a process has just started, and Java's interpreter would take a second for what takes
 * a tenth.
 *
 * <p>{@code void f(long source, long rowBytes, long to, long rows, long tiles)}, by the System V
 * convention, copies tiles of 16 groups of all rows: a cache line of each row.
 */
final class PackCode extends Assembler {
  /** Groups of inputs, of 32 bits each, that are copied row by row. */
  static final int TILE = 16;

  private static final int STEP_BYTES = 4 * PackedMatrix.BLOCK;

  /** None where it cannot be used. */
  private static final Optional<NativeFunction> FUNCTION = ExecutableMemory.store(PackCode::code);

  private PackCode() {}

  static MachineCode code() {
    return new PackCode().write();
  }

  private MachineCode write() {
    Label tile = here();
    mov(R9, RDI); // source
    mov(R10, RDX); // to
    mov(R11, RCX); // rows
    Label row = here();
    for (int group = 0; group < TILE; group++) {
      mov(EAX, at(RDI, 4 * group));
      mov(at(RDX, STEP_BYTES * group), EAX);
    }
    add(RDI, RSI); // the next row
    add(RDX, 4);
    dec(RCX);
    jne(row);
    lea(RDI, at(R9, 4 * TILE)); // the next tile
    lea(RDX, at(R10, STEP_BYTES * TILE));
    mov(RCX, R11);
    dec(R8);
    jne(tile);
    leave();
    return finish();
  }

  /**
   * Copies the tiles that are whole.
   *
   * @param source address of the first row
   * @param rowBytes from a row to the next
   * @param to address of the block
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
