package org.eellm.distributed.memory;

/** A message on its way, out or in. */
public class Transfer {
  volatile boolean done;

  Transfer() {}

  /** Whether all of it is in the memory that both ranks share, or has come. */
  public boolean isDone() {
    return done;
  }
}
