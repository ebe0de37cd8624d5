package org.eellm.kernel;

/**
 * What a query's product with a key becomes before the softmax.
 *
 * @param softcap c of {@code c tanh(score / c)}, which is then taken; 0 for none
 */
public record ScoreFunction(float scale, float softcap) {}
