package org.eellm.data;

/**
 * Data or a tokenizer that cannot be used. The one-line message names the file, the place in it,
 * what is wrong and the remedy.
 */
public final class DataException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public DataException(String message) {
    super(message);
  }

  public DataException(String message, Throwable cause) {
    super(message, cause);
  }
}
