package org.eellm.kernel.row;

import org.eellm.kernel.assembler.Assembler;
import org.eellm.kernel.assembler.Gp;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;

/** Machine code that runs a {@link CallList}. */
final class CallCode extends Assembler {
  private static final int PARAMETERS = 8;

  /** Of 64 bits, in an entry: the function's address, and its parameters. */
  static final int WORDS = 1 + PARAMETERS;

  private static final Gp[] REGISTERS = {RDI, RSI, RDX, RCX, R8, R9}; // of parameters
  private static final Gp ENTRY = RBX;
  private static final Gp LEFT = RBP;

  CallCode() {}

  /** Goes through entries: {@code f(entries, entries, entries, count)}; gives the last result. */
  MachineCode running() {
    enter(PARAMETERS - REGISTERS.length);
    mov(ENTRY, RDI);
    mov(LEFT, RCX);
    Label next = here();
    for (int i = REGISTERS.length; i < PARAMETERS; i++) {
      mov(RAX, at(ENTRY, offset(i)));
      mov(at(RSP, (i - REGISTERS.length) * Long.BYTES), RAX);
    }
    for (int i = 0; i < REGISTERS.length; i++) {
      mov(REGISTERS[i], at(ENTRY, offset(i)));
    }
    mov(RAX, at(ENTRY));
    call(RAX);
    add(ENTRY, WORDS * Long.BYTES);
    add(LEFT, -1);
    cmp(LEFT, 0);
    jg(next);
    leave();
    return finish();
  }

  private static int offset(int parameter) {
    return (1 + parameter) * Long.BYTES;
  }
}
