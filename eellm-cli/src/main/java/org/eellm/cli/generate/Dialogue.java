package org.eellm.cli.generate;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;

/**
 * What has been said in a chat, as a text that any model can continue: a model's own template is
 * for models that were tuned with one.
 *
 * <pre>
 * (system text)
 *
 * User: How are you?
 * Assistant: Fine.
 * User: Why?
 * Assistant:
 * </pre>
 */
final class Dialogue {
  /** Where the model begins to speak for the user. */
  static final List<String> STOPS = List.of("\nUser:", "\nAssistant:");

  private final String system;
  private final Deque<Turn> turns = new ArrayDeque<>();

  private record Turn(String user, String assistant) {}

  /**
   * @param system what stands in front of all; may be empty
   */
  Dialogue(String system) {
    this.system = system;
  }

  /** The text that an answer continues. */
  String prompt(String user) {
    StringBuilder text = new StringBuilder();
    if (!system.isEmpty()) {
      text.append(system).append("\n\n");
    }
    for (Turn turn : turns) {
      text.append("User: ").append(turn.user()).append('\n');
      text.append("Assistant: ").append(turn.assistant()).append('\n');
    }
    return text.append("User: ").append(user).append("\nAssistant:").toString();
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
