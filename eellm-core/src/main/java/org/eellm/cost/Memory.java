package org.eellm.cost;

/**
 * The memory of a rank at its fullest moment, in bytes.
 *
 * @param weights compute weights
 * @param gradients float32 sums, and with data parallelism this rank's part of those over replicas
 * @param optimizer moments, and master weights where the compute weights are bfloat16
 * @param activations what forward passes keep for backward
 * @param heads logits and what a head needs beside them
 * @param temporary what else the computation of that moment needs
 * @param messages between stages
 * @param base the process and its libraries
 */
public record Memory(
    long weights,
    long gradients,
    long optimizer,
    long activations,
    long heads,
    long temporary,
    long messages,
    long base) {

  /** All of it. */
  public long total() {
    return weights + gradients + optimizer + activations + heads + temporary + messages + base;
  }
}
