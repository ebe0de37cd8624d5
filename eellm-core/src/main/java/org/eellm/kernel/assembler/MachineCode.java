package org.eellm.kernel.assembler;

import java.util.Set;

/**
 * A function.
 *
 * @param bytes its instructions, and its constants behind them
 * @param end of the instructions
 * @param needs what the processor must have
 */
public record MachineCode(byte[] bytes, int end, Set<CpuFeature> needs) {}
