package org.eellm.schedule;

/**
 * One thing a stage does. A stage does its actions in the order of its list; sends and receives
 * only start, and are waited for by whoever needs them: a receive by the computation that uses it,
 * sends at the end of the step.
 */
public sealed interface Action {

  /** The microbatch it is about. */
  MicrobatchId microbatch();

  /** The stage's chunk, from 0; chunk c of stage s is virtual stage c * P + s. */
  int chunk();

  /** Work of the stage itself, as opposed to communication. */
  sealed interface Compute extends Action {}

  /** The first half of a message: what the receiver has to post. */
  sealed interface Receive extends Action {}

  /** The other half. */
  sealed interface Send extends Action {}

  /**
   * The chunk's layers forward; its heads do not run. The input is the awaited {@link
   * ReceiveActivation}, or the embedded tokens on the first virtual stage.
   */
  record Forward(MicrobatchId microbatch, int chunk) implements Compute {}

  /**
   * The chunk's heads, forward and backward, and then back through its layers (equation 2 of
   * EE-LLM). The incoming gradient is the awaited {@link ReceiveGradient}; it is zero on the last
   * virtual stage the microbatch goes through. Where a {@link BackwardWeights} of the same
   * microbatch follows, it leaves out the gradients of all matrices but output matrices.
   */
  record Backward(MicrobatchId microbatch, int chunk) implements Compute {}

  /** The gradients of matrices that {@link Backward} left out. */
  record BackwardWeights(MicrobatchId microbatch, int chunk) implements Compute {}

  /** The chunk's layers forward, keeping nothing; then its heads learn, and nothing else does. */
  record Tune(MicrobatchId microbatch, int chunk) implements Compute {}

  /** Posts the receive of the chunk's input from the virtual stage before it. */
  record ReceiveActivation(MicrobatchId microbatch, int chunk) implements Receive {}

  /** Starts sending the chunk's output to the virtual stage after it. */
  record SendActivation(MicrobatchId microbatch, int chunk) implements Send {}

  /** Posts the receive of the gradient of the chunk's output. */
  record ReceiveGradient(MicrobatchId microbatch, int chunk) implements Receive {}

  /** Starts sending the gradient of the chunk's input to the virtual stage before it. */
  record SendGradient(MicrobatchId microbatch, int chunk) implements Send {}
}
