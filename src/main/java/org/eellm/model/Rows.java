package org.eellm.model;

import java.util.Optional;

/**
 * The tokens of a block in generation, as the branches see them.
 *
 * @param count n
 * @param angles rotations of their positions, with rotary positions
 */
public record Rows(long count, Optional<Rope.Angles> angles) {}
