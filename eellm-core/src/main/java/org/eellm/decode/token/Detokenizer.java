package org.eellm.decode.token;

/** Turns one sequence's tokens into text as they come: a tokenizer's streaming decoder. */
public interface Detokenizer {

  /** The text that is certain once this token is there; often empty. */
  String append(int id);

  /** The rest, when no token follows. */
  String finish();
}
