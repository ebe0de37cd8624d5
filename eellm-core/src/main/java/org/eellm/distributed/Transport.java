package org.eellm.distributed;

/** What carries the ranks' tensors. */
public enum Transport {
  /** Gloo, between CPUs over TCP. */
  GLOO,
  /** NCCL, between NVIDIA GPUs. */
  NCCL
}
