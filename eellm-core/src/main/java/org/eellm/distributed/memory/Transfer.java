package org.eellm.distributed.memory;

/** A message on its way, out or in. */
public interface Transfer {
  /** Whether all of it is in the memory that both ranks share, or has come. */
  boolean isDone();
}
