package org.eellm.chat;

/** A piece of a chat's text, as a tokenizer takes it. */
sealed interface TextPiece {
  /** A special token of the template. */
  record Special(int id) implements TextPiece {}

  /** Text to be taken literally, never empty. */
  record Literal(String text) implements TextPiece {}
}
