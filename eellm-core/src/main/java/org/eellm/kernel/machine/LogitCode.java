package org.eellm.kernel.machine;

import static org.eellm.kernel.machine.ExponentialCode.FREE;
import static org.eellm.kernel.machine.ExponentialCode.LOWEST;
import static org.eellm.kernel.machine.ExponentialCode.P;
import static org.eellm.kernel.machine.ExponentialCode.SHIFTED;
import static org.eellm.kernel.machine.ExponentialCode.X;
import static org.eellm.kernel.machine.MachineCode.NO_INDEX;
import static org.eellm.kernel.machine.MachineCode.RCX;
import static org.eellm.kernel.machine.MachineCode.RDI;
import static org.eellm.kernel.machine.MachineCode.RDX;
import static org.eellm.kernel.machine.RowWriter.A;
import static org.eellm.kernel.machine.RowWriter.B;
import static org.eellm.kernel.machine.RowWriter.FIRST;
import static org.eellm.kernel.machine.RowWriter.LANES;
import static org.eellm.kernel.machine.RowWriter.MASK;
import static org.eellm.kernel.machine.RowWriter.SECOND;
import static org.eellm.kernel.machine.RowWriter.SUM;

import org.eellm.kernel.machine.MachineCode.Operation;

/** Machine code for figures of logits, as {@link RowCode} is for norms. */
final class LogitCode {
  private static final int EQUAL = 0; // of vcmpps
  private static final int UNORDERED = 3; // one is NaN

  private LogitCode() {}

  /** The largest number, NaN if there is one: {@code f(x, vectors)}. */
  static byte[] largest() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    code.constant(A, Float.floatToRawIntBits(Float.NEGATIVE_INFINITY));
    code.bytes(0xC5, 0xEC, 0x47, 0xD2); // kxorw k2, k2, k2
    int start = code.position();
    code.vector(Operation.LOAD_FLOATS, B, 0, RDI, NO_INDEX, 0);
    code.vector(Operation.COMPARE, MASK, B, B);
    code.bytes(UNORDERED);
    code.bytes(0xC5, 0xEC, 0x45, 0xD1); // korw k2, k2, k1
    code.vector(Operation.LARGER, A, A, B);
    row.nextVector(start);
    code.reduce(Operation.LARGER, A, B);
    code.bytes(0xC5, 0xF8, 0x93, 0xC2); // kmovw eax, k2
    code.bytes(0x85, 0xC0, 0x0F, 0x84); // test eax, eax; jz
    int allNumbers = code.distanceAhead();
    code.constant(A, Float.floatToRawIntBits(Float.NaN));
    code.land(allNumbers);
    code.result();
    return row.end();
  }

  /** The first place of a number, or -1: {@code f(x, vectors, number)}. */
  static byte[] place() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    code.broadcast(A, RDX);
    return endWithPlace(row);
  }

  /** Ends with the first place of A in rsi vectors from rdi on, or -1. */
  static byte[] endWithPlace(RowWriter row) {
    MachineCode code = row.code();
    code.bytes(0x31, 0xD2); // xor edx, edx: the place
    int start = code.position();
    code.vector(Operation.COMPARE, MASK, A, RDI, NO_INDEX, 0);
    code.bytes(EQUAL);
    code.bytes(0xC5, 0xF8, 0x93, 0xC9); // kmovw ecx, k1
    code.bytes(0x85, 0xC9, 0x0F, 0x85); // test ecx, ecx; jnz
    int found = code.distanceAhead();
    code.bytes(0x48, 0x83, 0xC2, LANES); // add rdx, 16
    row.nextVector(start);
    code.bytes(0x48, 0xC7, 0xC0, 0xFF, 0xFF, 0xFF, 0xFF); // mov rax, -1
    code.end();
    code.land(found);
    code.bytes(0x0F, 0xBC, 0xC1); // bsf eax, ecx
    code.bytes(0x48, 0x01, 0xD0); // add rax, rdx
    return row.end();
  }

  /** The sum of {@code exp((x - max) factor)}: {@code f(x, vectors, max, factor)}. */
  static byte[] sumOfExponentials() {
    RowWriter row = new RowWriter();
    MachineCode code = row.code();
    ExponentialCode exponential = new ExponentialCode(code);
    exponential.constants();
    code.broadcast(FIRST, RDX);
    code.broadcast(SECOND, RCX);
    code.vector(Operation.EXCLUSIVE_OR, SUM, SUM, SUM);
    int start = code.position();
    code.vector(Operation.LOAD_FLOATS, X, 0, RDI, NO_INDEX, 0);
    code.vector(Operation.SUBTRACT, X, X, FIRST);
    code.vector(Operation.MULTIPLY, X, X, SECOND);
    code.vector(Operation.LARGER, X, LOWEST, X); // NaN stays
    exponential.write();
    code.vector(Operation.MULTIPLY, P, P, SHIFTED);
    code.vector(Operation.ADD, SUM, SUM, P);
    row.nextVector(start);
    code.reduce(Operation.ADD, SUM, FREE);
    code.vector(Operation.MOVE, 0, 0, SUM);
    code.result();
    return row.end();
  }
}
