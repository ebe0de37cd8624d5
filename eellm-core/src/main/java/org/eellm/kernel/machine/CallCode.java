package org.eellm.kernel.machine;

import static org.eellm.kernel.machine.MachineCode.R8;
import static org.eellm.kernel.machine.MachineCode.R9;
import static org.eellm.kernel.machine.MachineCode.RAX;
import static org.eellm.kernel.machine.MachineCode.RBP;
import static org.eellm.kernel.machine.MachineCode.RBX;
import static org.eellm.kernel.machine.MachineCode.RCX;
import static org.eellm.kernel.machine.MachineCode.RDI;
import static org.eellm.kernel.machine.MachineCode.RDX;
import static org.eellm.kernel.machine.MachineCode.RSI;

import org.eellm.kernel.machine.ControlCode.Condition;

/** Machine code that runs a {@link CallList}. */
final class CallCode {
  private static final int PARAMETERS = 8;

  /** Of 64 bits, in an entry: the function's address, and its parameters. */
  static final int WORDS = 1 + PARAMETERS;

  private static final int[] REGISTERS = {RDI, RSI, RDX, RCX, R8, R9}; // of parameters
  private static final int ENTRY = RBX;
  private static final int LEFT = RBP;

  private CallCode() {}

  /** Goes through entries: {@code f(entries, entries, entries, count)}; gives the last result. */
  static byte[] running() {
    MachineCode code = new MachineCode();
    ControlCode control = new ControlCode(code);
    control.begin();
    code.move(ENTRY, RDI);
    code.move(LEFT, RCX);
    int next = code.position();
    for (int i = REGISTERS.length; i < PARAMETERS; i++) {
      control.load(RAX, ENTRY, offset(i));
      control.put(i - REGISTERS.length, RAX);
    }
    for (int i = 0; i < REGISTERS.length; i++) {
      control.load(REGISTERS[i], ENTRY, offset(i));
    }
    control.load(RAX, ENTRY, 0);
    control.call(RAX);
    code.advance(ENTRY, WORDS * Long.BYTES);
    code.advance(LEFT, -1);
    control.compareWith(LEFT, 0);
    control.jumpBackIf(Condition.GREATER, next);
    control.end();
    return code.toByteArray();
  }

  private static int offset(int parameter) {
    return (1 + parameter) * Long.BYTES;
  }
}
