package org.eellm.chat;

import java.util.List;
import java.util.Optional;

/**
 * A message of a chat.
 *
 * @param role one of {@link #ROLES}, of which developer is the newer word for system
 * @param name of who said it, if there are several
 */
public record ChatMessage(String role, String content, Optional<String> name) {
  /** Who may speak. */
  public static final List<String> ROLES = List.of("system", "developer", "user", "assistant");
}
