package org.eellm.distributed.collective;

/** How the ranks' values become one. */
public enum Reduction {
  SUM,
  MAX,
  MIN
}
