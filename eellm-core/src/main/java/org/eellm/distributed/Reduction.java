package org.eellm.distributed;

/** How the ranks' values become one. */
public enum Reduction {
  SUM,
  MAX,
  MIN
}
