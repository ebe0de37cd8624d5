package org.eellm.config;

/** In what number format matrices of a model that only generates lie in memory. */
public enum Quantization {
  /** In the one it computes in. */
  NONE,
  /** In 8 bits with a scale for 32 inputs of an output each; on GPUs for a whole output. */
  INT8,
  /** In 4 bits with a scale for 32 inputs of an output each. */
  INT4
}
