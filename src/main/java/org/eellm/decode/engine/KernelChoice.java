package org.eellm.decode.engine;

/** Which kernels multiply on CPUs. */
public enum KernelChoice {
  /** The fastest that the processor has. */
  FASTEST,
  /** The Vector API's alone, as on a processor that has nothing else. */
  VECTORS
}
