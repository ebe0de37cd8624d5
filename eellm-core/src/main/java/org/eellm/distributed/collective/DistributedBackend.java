package org.eellm.distributed.collective;

/** The transport of the ranks' tensors. */
public enum DistributedBackend {
  /** Between CPUs: memory that the ranks of one machine share, and Gloo between machines. */
  CPU,
  /** Gloo alone, between CPUs over TCP. */
  GLOO,
  /** NCCL, between NVIDIA GPUs. */
  NCCL
}
