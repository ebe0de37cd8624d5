package org.eellm;

/** What becomes of the hidden states of a text's tokens. */
public enum Pooling {
  /** Their mean. */
  MEAN,
  /** The last token's, which alone has seen the whole text. */
  LAST
}
