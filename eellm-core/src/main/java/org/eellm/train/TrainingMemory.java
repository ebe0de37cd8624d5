package org.eellm.train;

/**
 * A rank's memory for a model in training, in bytes.
 *
 * @param frozen weights that stay as they are, which have nothing beside them
 * @param weights that learn, in the number format of compute
 * @param state their float32 gradients, and this rank's part of the moments and master weights
 */
record TrainingMemory(long frozen, long weights, long state) {}
