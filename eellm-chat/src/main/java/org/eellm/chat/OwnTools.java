package org.eellm.chat;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.eellm.chat.tool.Tool;
import org.eellm.chat.tool.ToolCall;
import org.eellm.chat.tool.ToolForm;

/** Tools in chats whose template does not know them: as texts, in {@link ToolForm#OWN}. */
final class OwnTools {
  private OwnTools() {}

  /** The chat with tools told of in its first message, and calls and results as texts. */
  static List<ChatMessage> told(List<ChatMessage> messages, List<Tool> tools) {
    List<ChatMessage> told = new ArrayList<>();
    StringBuilder results = new StringBuilder();
    for (ChatMessage message : messages) {
      if (message.role().equals("tool")) {
        results.append(results.isEmpty() ? "" : "\n");
        results.append("<tool_response>\n").append(message.content()).append("\n</tool_response>");
        continue;
      }
      addResults(results, told);
      String text =
          message.calls().isEmpty()
              ? message.content()
              : message.content() + (message.content().isEmpty() ? "" : "\n") + calls(message);
      told.add(new ChatMessage(message.role(), text, message.name()));
    }
    addResults(results, told);
    if (tools.isEmpty()) {
      return told;
    }
    ChatMessage first = told.getFirst();
    if (first.role().equals("assistant")) {
      told.addFirst(said("system", introduction(tools)));
    } else {
      told.set(0, first.withContent(introduction(tools) + "\n\n" + first.content()));
    }
    return told;
  }

  private static void addResults(StringBuilder results, List<ChatMessage> told) {
    if (!results.isEmpty()) {
      told.add(said("user", results.toString()));
      results.setLength(0);
    }
  }

  private static ChatMessage said(String role, String text) {
    return new ChatMessage(role, text, Optional.empty());
  }

  private static String calls(ChatMessage message) {
    ToolForm form = ToolForm.OWN;
    return message.calls().stream()
        .map((ToolCall call) -> call.name() + form.middle() + call.arguments())
        .collect(Collectors.joining(form.separator(), form.opening(), form.closing()));
  }

  private static String introduction(List<Tool> tools) {
    ToolForm form = ToolForm.OWN;
    return """
    You can call these tools:
    %s
    To call a tool, write its name and arguments like this, and nothing behind it:
    %s
    The next message has its result.\
    """
        .formatted(
            tools.stream()
                .map(tool -> tool.json().path("function").toString())
                .collect(Collectors.joining("\n")),
            form.opening() + "..." + form.middle() + "{...}" + form.closing());
  }
}
