package org.eellm.kernel.assembler;

/**
 * A register of up to 16 rows of up to 64 bytes; how many is what {@code ldtilecfg} loads.
 *
 * @param number 0 to 7
 */
public record Tile(int number) implements Operand {}
