package org.eellm.train.objective;

/** When a head of a pipeline runs forward; it runs back at the beginning of the backward pass. */
public enum HeadForward {
  /** Just before it runs back, so that its logits are kept by nobody (EE-LLM, section 3.2). */
  DEFERRED,
  /**
   * With the layers: its logits are kept until the backward pass, for every live microbatch. Only
   * benchmarks do this, to show what deferring saves.
   */
  EAGER
}
