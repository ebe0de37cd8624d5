package org.eellm.kernel.assembler;

import java.util.Set;

/**
 * A function.
 *
 * @param needs what the processor must have
 */
public record MachineCode(byte[] bytes, Set<CpuFeature> needs) {}
