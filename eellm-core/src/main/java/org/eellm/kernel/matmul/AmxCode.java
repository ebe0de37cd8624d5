package org.eellm.kernel.matmul;

import org.eellm.kernel.assembler.Assembler;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;

/**
 * Machine code for products of rows with packed weights in bfloat16 by tiles (AMX): registers of 16
 * rows of 64 bytes. 32 inputs of 16 of a block's outputs are a tile as they lie.
 *
 * <p>The function, by the System V convention: {@code void f(long w, long blocks, long x, long
 * xRowBytes, long y, long yRowBytes, long blockUnits, long tileRows)}, with units of 32 bits. The
 * last parameter has the rows of each tile, a byte each: see {@link #tileRows}.
 */
final class AmxCode extends Assembler {
  static final int TILE_ROWS = 16;

  static final int MOST_ROWS = 2 * TILE_ROWS;

  private static final int TILES = 8;
  private static final int LINE_BYTES = 64; // of a cache; and of a tile's row
  private static final int STEP_BYTES = 4096; // 32 inputs of a block's outputs
  private static final int PAIR_BYTES = 256; // a pair of inputs of a block's outputs
  private static final int PAGES_AHEAD = 8;

  private AmxCode() {
    super(512);
  }

  static long tileRows(int rows) {
    int first = Math.min(rows, TILE_ROWS);
    int second = rows - first;
    long tiles = 0;
    for (int tile = 0; tile < TILES; tile++) {
      int of =
          rows <= TILE_ROWS
              ? tile <= 4 ? first : TILE_ROWS
              : tile == 2 || tile == 3 || tile == 5 ? second : TILE_ROWS;
      tiles |= (long) of << Byte.SIZE * tile;
    }
    return tiles;
  }

  /**
   * The function for up to 16 rows: a block's outputs in four tiles of sums. A step is loaded
   * before the sums of the block before it are stored, so that the processor does not wait for
   * both.
   *
   * @param asksAhead whether it asks for the steps that follow
   */
  static MachineCode few(boolean asksAhead) {
    AmxCode code = new AmxCode();
    code.begin();
    code.beginSteps();
    code.loadStep();
    Label block = code.here();
    code.clearSums();
    Label step = code.here();
    for (int line = 0;
        asksAhead && line < PAGES_AHEAD;
        line++) { // an eighth of each of the next steps' pages
      for (int page = 1; page <= PAGES_AHEAD; page++) {
        code.prefetcht0(
            at(RDI, page * STEP_BYTES + ((PAGES_AHEAD - page) * PAGES_AHEAD + line) * LINE_BYTES));
      }
    }
    for (int v = 0; v < 3; v++) {
      code.tdpbf16ps(tmm(v), tmm(4), tmm(5 + v));
    }
    code.tileloadd(tmm(5), at(RDI, RAX, 1, 3 * LINE_BYTES));
    code.tdpbf16ps(tmm(3), tmm(4), tmm(5));
    code.add(R10, LINE_BYTES);
    code.add(RDI, STEP_BYTES);
    Label last = new Label();
    code.dec(R11);
    code.je(last);
    code.loadStep();
    code.jmp(step);
    code.bind(last);
    Label end = new Label();
    code.dec(RSI);
    code.je(end);
    code.beginSteps();
    code.loadStep();
    code.storeSums();
    code.add(R8, PAIR_BYTES);
    code.jmp(block);
    code.bind(end);
    code.storeSums();
    code.tilerelease();
    code.leave();
    return code.finish();
  }

  /**
   * The function for 17 to 32 rows: two tiles of rows, and half of a block's outputs at a time.
   *
   * @param asksAhead whether it asks for the block that follows
   */
  static MachineCode many(boolean asksAhead) {
    AmxCode code = new AmxCode();
    code.begin();
    code.mov(RBX, R14);
    code.shl(RBX, 12); // of a block
    code.mov(RBP, RCX);
    code.shl(RBP, 4); // to the second tile of rows
    code.mov(R15, R9);
    code.shl(R15, 4);
    code.add(R15, R8);
    Label block = code.here();
    for (int half = 0; half < 2; half++) {
      int offset = half * 2 * LINE_BYTES;
      if (half == 1) {
        code.sub(RDI, RBX);
      }
      code.beginSums();
      code.lea(R12, at(RDX, RBP, 1, 0));
      Label step = code.here();
      for (int line = 0; asksAhead && line < 32; line++) {
        code.prefetcht1(at(RDI, RBX, 1, (half * 32 + line) * LINE_BYTES));
      }
      code.tileloadd(tmm(6), at(RDI, RAX, 1, offset));
      code.tileloadd(tmm(4), at(R10, RCX, 1, 0));
      code.tdpbf16ps(tmm(0), tmm(4), tmm(6));
      code.tileloadd(tmm(7), at(RDI, RAX, 1, offset + LINE_BYTES));
      code.tdpbf16ps(tmm(1), tmm(4), tmm(7));
      code.tileloadd(tmm(5), at(R12, RCX, 1, 0));
      code.tdpbf16ps(tmm(2), tmm(5), tmm(6));
      code.tdpbf16ps(tmm(3), tmm(5), tmm(7));
      code.add(R10, LINE_BYTES);
      code.add(R12, LINE_BYTES);
      code.add(RDI, STEP_BYTES);
      code.dec(R11);
      code.jne(step);
      for (int v = 0; v < 2; v++) {
        code.tilestored(at(R8, R9, 1, offset + v * LINE_BYTES), tmm(v));
        code.tilestored(at(R15, R9, 1, offset + v * LINE_BYTES), tmm(2 + v));
      }
    }
    code.add(R15, PAIR_BYTES);
    return code.end(block);
  }

  /** Configures tiles; RAX is the way from a pair to the next, R14 the steps. */
  private void begin() {
    enter(8);
    mov(R14, parameter(7));
    shr(R14, 10);
    mov(RBX, parameter(8));
    mov(RAX, 1);
    mov(at(RSP, 0), RAX);
    xor(EAX, EAX);
    for (int unused : new int[] {1, 4, 5, 7}) {
      mov(at(RSP, unused * Long.BYTES), RAX);
    }
    mov(RAX, 0x0040_0040_0040_0040L); // bytes of a tile's row
    mov(at(RSP, 16), RAX);
    mov(at(RSP, 24), RAX);
    mov(at(RSP, 48), RBX);
    ldtilecfg(at(RSP));
    mov(RAX, PAIR_BYTES);
  }

  /** Makes sums 0, and goes to the first step. */
  private void beginSums() {
    clearSums();
    beginSteps();
  }

  private void clearSums() {
    for (int tile = 0; tile < 4; tile++) {
      tilezero(tmm(tile));
    }
  }

  private void beginSteps() {
    mov(R10, RDX);
    mov(R11, R14);
  }

  /** Loads a step's rows, and all of its weights that there are tiles for. */
  private void loadStep() {
    tileloadd(tmm(4), at(R10, RCX, 1, 0));
    for (int v = 0; v < 3; v++) {
      tileloadd(tmm(5 + v), at(RDI, RAX, 1, v * LINE_BYTES));
    }
  }

  private void storeSums() {
    for (int v = 0; v < 4; v++) {
      tilestored(at(R8, R9, 1, v * LINE_BYTES), tmm(v));
    }
  }

  private MachineCode end(Label block) {
    add(R8, PAIR_BYTES);
    dec(RSI);
    jne(block);
    tilerelease();
    leave();
    return finish();
  }
}
