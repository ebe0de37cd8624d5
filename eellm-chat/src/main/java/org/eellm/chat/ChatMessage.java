package org.eellm.chat;

import java.util.List;
import java.util.Optional;
import org.eellm.chat.tool.ToolCall;

/**
 * A message of a chat.
 *
 * @param role one of {@link #ROLES}, of which developer is the newer word for system
 * @param name of who said it, if there are several; of a tool, whose result this is
 * @param calls of tools, in an assistant's message
 * @param callId of the call whose result this is, in a tool's message; else empty
 */
public record ChatMessage(
    String role, String content, Optional<String> name, List<ToolCall> calls, String callId) {
  /** Who may speak. */
  public static final List<String> ROLES =
      List.of("system", "developer", "user", "assistant", "tool");

  public ChatMessage {
    calls = List.copyOf(calls);
  }

  /** A message that has nothing to do with tools. */
  public ChatMessage(String role, String content, Optional<String> name) {
    this(role, content, name, List.of(), "");
  }

  /** An assistant's message that calls tools. */
  public static ChatMessage calling(String content, List<ToolCall> calls) {
    return new ChatMessage("assistant", content, Optional.empty(), calls, "");
  }

  /** The same with another text. */
  ChatMessage withContent(String text) {
    return new ChatMessage(role, text, name, calls, callId);
  }

  /** The same of another. */
  public ChatMessage withName(String other) {
    return new ChatMessage(role, content, Optional.of(other), calls, callId);
  }

  /** Whether templates that do not know tools cannot take it. */
  boolean isOfTools() {
    return !calls.isEmpty() || role.equals("tool");
  }
}
