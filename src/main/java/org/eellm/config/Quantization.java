package org.eellm.config;

/** In what number format the matrices of a model that only generates lie in memory. */
public enum Quantization {
  /** In the one it computes in. */
  NONE,
  /** In int8 with a float32 scale for every row. */
  INT8
}
