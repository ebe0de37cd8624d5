package org.eellm.cli.generate;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import org.eellm.chat.ChatMessage;

/** The turns of a chat so far. */
final class Dialogue {
  private final String system;
  private final Deque<Turn> turns = new ArrayDeque<>();

  private record Turn(String user, String assistant) {}

  /**
   * @param system what stands in front of all; may be empty
   */
  Dialogue(String system) {
    this.system = system;
  }

  /** The messages that an answer continues: all so far and the user's next one. */
  List<ChatMessage> messages(String user) {
    List<ChatMessage> messages = new ArrayList<>();
    if (!system.isEmpty()) {
      messages.add(message("system", system));
    }
    for (Turn turn : turns) {
      messages.add(message("user", turn.user()));
      messages.add(message("assistant", turn.assistant()));
    }
    messages.add(message("user", user));
    return messages;
  }

  private static ChatMessage message(String role, String content) {
    return new ChatMessage(role, content, Optional.empty());
  }

  void add(String user, String assistant) {
    turns.add(new Turn(user, assistant.strip()));
  }

  /** Forgets the oldest turn; whether there was one. */
  boolean forgetOldest() {
    return turns.poll() != null;
  }

  void clear() {
    turns.clear();
  }
}
