package org.eellm.kernel.assembler;

/** A place in the code that jumps end at, before or after it is known. */
public final class Label {
  static final int UNKNOWN = -1;

  int position = UNKNOWN;
}
