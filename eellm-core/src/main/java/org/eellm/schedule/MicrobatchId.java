package org.eellm.schedule;

/**
 * Which microbatch of a step an action is about, and how far that microbatch goes. Indexes are
 * unique over all kinds: regular ones are 0 to M-1, fills go on from M. A fill is extra data that
 * trains in what would be idle time (EE-LLM, section 3.3); because it has an identity of its own it
 * can never meet the labels or the gradient of another.
 */
public sealed interface MicrobatchId {

  /** Its number among all microbatches of the step, from 0. */
  int index();

  /**
   * The virtual stages it goes forward through are 0 to this, exclusive. It goes back from the last
   * of them.
   *
   * @param virtualStages of the whole pipeline
   */
  int forwardEnd(int virtualStages);

  /** The virtual stage at which its backward pass ends, inclusive. */
  int backwardEnd();

  /** Whether its forward pass on a virtual stage must keep what the backward pass needs. */
  default boolean hasBackwardOn(int virtualStage) {
    return virtualStage >= backwardEnd();
  }

  /** Goes forward through all virtual stages, and back through all of them. */
  record Regular(int index) implements MicrobatchId {
    @Override
    public int forwardEnd(int virtualStages) {
      return virtualStages;
    }

    @Override
    public int backwardEnd() {
      return 0;
    }
  }

  /**
   * Goes through the first virtual stages only, forward and back, while they wait for the first
   * gradient. Only exits on these learn from it.
   *
   * @param stages how many virtual stages it goes through
   */
  record WarmupFill(int index, int stages) implements MicrobatchId {
    @Override
    public int forwardEnd(int virtualStages) {
      return stages;
    }

    @Override
    public int backwardEnd() {
      return 0;
    }
  }

  /**
   * Goes forward through all virtual stages, but back through the last ones only, which would
   * otherwise have nothing left to do.
   *
   * @param firstStage the lowest virtual stage it goes back through
   */
  record CooldownFill(int index, int firstStage) implements MicrobatchId {
    @Override
    public int forwardEnd(int virtualStages) {
      return virtualStages;
    }

    @Override
    public int backwardEnd() {
      return firstStage;
    }
  }
}
