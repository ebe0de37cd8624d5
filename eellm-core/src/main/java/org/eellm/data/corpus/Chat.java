package org.eellm.data.corpus;

import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.eellm.data.DataException;

/**
 * A conversation to learn answers from.
 *
 * @param messages in order, one that is learned among them
 * @param place what messages call it: its file and line
 */
public record Chat(List<Message> messages, String place) {
  /** The role whose messages are answers. */
  public static final String ASSISTANT = "assistant";

  /**
   * What somebody says.
   *
   * @param name of who says it, if there are several
   * @param isLearned whether it is an answer that counts
   */
  public record Message(String role, String content, Optional<String> name, boolean isLearned) {}

  public Chat {
    messages = List.copyOf(messages);
  }

  /** Why texts alone cannot take it. */
  public DataException refusal() {
    return new DataException(
        "%s: is a chat; name a model's folder with --tokenizer, whose template it is written with"
            .formatted(place));
  }

  /** What all say, a message a line. */
  String text() {
    return messages.stream().map(Message::content).collect(Collectors.joining("\n"));
  }
}
