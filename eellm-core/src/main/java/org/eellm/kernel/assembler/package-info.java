/**
 * Writes machine code for x86-64, and for AArch64: instructions have the names, and operands the
 * order, of Intel's and of Arm's manual. Emission needs no feature of the processor; the code says
 * what it needs to run.
 */
@NullMarked
package org.eellm.kernel.assembler;

import org.jspecify.annotations.NullMarked;
