package org.eellm;

/** The way in which the hidden states of a text's tokens become one vector. */
public enum Pooling {
  /** Their mean. */
  MEAN,
  /** The last token's, which alone has seen the whole text. */
  LAST
}
