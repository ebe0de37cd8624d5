package org.eellm.generate;

/**
 * A token and where it came from.
 *
 * @param head name of the head it left at: {@code exit_6} or {@code final}
 * @param layer the head's, from 1; for the final head the number of layers
 * @param confidence the head's largest probability
 */
public record GeneratedToken(int id, String head, int layer, double confidence) {}
