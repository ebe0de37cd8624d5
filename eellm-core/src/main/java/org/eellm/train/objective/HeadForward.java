package org.eellm.train.objective;

/**
 * When a head runs forward; it runs back in the backward pass, before the last stage while the
 * gradient is on its way.
 */
public enum HeadForward {
  /** Just before it runs back, so that one head's logits exist at a time (EE-LLM, section 3.2). */
  DEFERRED,
  /**
   * With the layers: its logits are kept until the backward pass, for every live microbatch. Only
   * benchmarks do this, to show what deferring saves.
   */
  EAGER
}
