package org.eellm.chat;

import java.util.Optional;
import org.eellm.EellmException;

/** A chat that cannot become a text; the message is one line. */
public final class ChatTemplateException extends EellmException {
  private final String field;
  private final String problem;

  private ChatTemplateException(String field, String problem) {
    super(field.isEmpty() ? problem : field + ": " + problem);
    this.field = field;
    this.problem = problem;
  }

  ChatTemplateException(String message, Throwable cause) {
    super(message, cause);
    field = "";
    problem = message;
  }

  /** The template cannot be rendered. */
  static ChatTemplateException ofTemplate(String problem) {
    return new ChatTemplateException("", problem);
  }

  /**
   * The template does not take the messages.
   *
   * @param field which of them, as in {@code messages[0].content}
   */
  static ChatTemplateException ofMessages(String field, String problem) {
    return new ChatTemplateException(field, problem);
  }

  /** Whether the messages are to blame, and not the template. */
  public boolean isOfMessages() {
    return !field.isEmpty();
  }

  /** Which of the messages is to blame, as in {@code messages[0].content}; empty if none is. */
  public String field() {
    return field;
  }

  /** The message without the field. */
  public String problem() {
    return problem;
  }

  /** The first among an error and its causes that is of a kind. */
  static <T extends Throwable> Optional<T> cause(Throwable error, Class<T> kind) {
    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
      if (kind.isInstance(cause)) {
        return Optional.of(kind.cast(cause));
      }
    }
    return Optional.empty();
  }
}
