package org.eellm.distributed;

/** What carries the ranks' tensors. */
public enum DistributedBackend {
  /** Gloo, between CPUs over TCP. */
  GLOO,
  /** NCCL, between NVIDIA GPUs. */
  NCCL
}
