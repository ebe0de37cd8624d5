package org.eellm.data.corpus;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.data.corpus.Chat.Message;
import org.eellm.data.corpus.ObjectDocuments.BadObject;

/**
 * A JSON object as a chat, in one of three layouts: {@code messages} of {@code role} and {@code
 * content}; {@code prompt} and {@code completion}, each a text or such messages; or ShareGPT's
 * {@code conversations} of {@code from} and {@code value}. An answer of {@code weight} 0 is
 * context.
 */
final class ChatObject {
  private static final String PROMPT = "prompt";
  private static final String COMPLETION = "completion";

  /** Beside the messages, what a template would write that has it. */
  private static final List<String> OTHERS =
      List.of("tools", "functions", "system", "chat_template_kwargs");

  /** The same within a message. */
  private static final List<String> OTHER_CONTENTS =
      List.of("tool_calls", "function_call", "reasoning_content");

  private ChatObject() {}

  /**
   * The messages of an object; empty if it has none of the layouts.
   *
   * @throws BadObject if it has one and is not as it should be
   */
  static Optional<List<Message>> messages(JsonNode object) throws BadObject {
    List<Message> messages = new ArrayList<>();
    if (object.hasNonNull("messages")) {
      add(object.get("messages"), "messages", "role", "content", messages);
    } else if (object.hasNonNull("conversations")) {
      add(object.get("conversations"), "conversations", "from", "value", messages);
    } else if (object.hasNonNull(PROMPT) && object.hasNonNull(COMPLETION)) {
      add(object.get(PROMPT), PROMPT, "user", messages);
      add(object.get(COMPLETION), COMPLETION, Chat.ASSISTANT, messages);
    } else {
      return Optional.empty();
    }
    refuse(OTHERS, object, "");
    if (messages.stream().noneMatch(Message::isLearned)) {
      throw new BadObject("the chat has no message of the assistant to learn from");
    }
    return Optional.of(messages);
  }

  private static void add(JsonNode value, String name, String role, List<Message> messages)
      throws BadObject {
    if (value.isTextual()) {
      messages.add(
          new Message(role, value.textValue(), Optional.empty(), role.equals(Chat.ASSISTANT)));
    } else {
      add(value, name, "role", "content", messages);
    }
  }

  private static void add(
      JsonNode list, String name, String roleKey, String contentKey, List<Message> messages)
      throws BadObject {
    if (!list.isArray()) {
      throw new BadObject("\"%s\" is no list of messages".formatted(name));
    }
    for (int i = 0; i < list.size(); i++) {
      JsonNode message = list.get(i);
      String place = "%s[%d]".formatted(name, i);
      if (!message.path(roleKey).isTextual()) {
        throw new BadObject("%s has no \"%s\"".formatted(place, roleKey));
      }
      refuse(OTHER_CONTENTS, message, place + ".");
      double weight = message.path("weight").asDouble(1);
      if (weight != 0 && weight != 1) {
        throw new BadObject(place + ".weight is neither 0 nor 1");
      }
      String role = role(message.path(roleKey).textValue());
      messages.add(
          new Message(
              role,
              content(message.path(contentKey), place + "." + contentKey),
              Optional.ofNullable(message.path("name").textValue()),
              role.equals(Chat.ASSISTANT) && weight == 1));
    }
  }

  private static void refuse(List<String> fields, JsonNode object, String place) throws BadObject {
    for (String field : fields) {
      JsonNode value = object.path(field);
      if (!value.isEmpty() || !value.asText("").isEmpty()) {
        throw new BadObject("\"%s%s\" is not supported in chats".formatted(place, field));
      }
    }
  }

  private static String content(JsonNode content, String place) throws BadObject {
    if (content.isTextual()) {
      return content.textValue();
    }
    if (!content.isArray()) {
      throw new BadObject(place + " is no text");
    }
    StringBuilder text = new StringBuilder();
    for (JsonNode part : content) {
      if (!part.path("text").isTextual()) {
        throw new BadObject(place + " has a part that is no text");
      }
      text.append(part.get("text").textValue());
    }
    return text.toString();
  }

  /** ShareGPT's names of those who speak, in the usual words. */
  private static String role(String name) {
    return switch (name) {
      case "human" -> "user";
      case "gpt", "chatgpt", "bot", "model" -> Chat.ASSISTANT;
      default -> name;
    };
  }
}
