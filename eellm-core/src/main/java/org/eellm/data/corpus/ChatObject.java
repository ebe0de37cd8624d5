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
 * {@code conversations} of {@code from} and {@code value}.
 */
final class ChatObject {
  private static final String PROMPT = "prompt";
  private static final String COMPLETION = "completion";

  private ChatObject() {}

  /**
   * The messages of an object; empty if it has none of the layouts.
   *
   * @throws BadObject if it has one and is not as it should be
   */
  static Optional<List<Message>> messages(JsonNode object) throws BadObject {
    List<Message> messages = new ArrayList<>();
    if (object.has("messages")) {
      add(object.get("messages"), "messages", "role", "content", messages);
    } else if (object.has("conversations")) {
      add(object.get("conversations"), "conversations", "from", "value", messages);
    } else if (object.has(PROMPT) && object.has(COMPLETION)) {
      add(object.get(PROMPT), PROMPT, "user", messages);
      add(object.get(COMPLETION), COMPLETION, Chat.ASSISTANT, messages);
    } else {
      return Optional.empty();
    }
    if (messages.stream().noneMatch(message -> message.role().equals(Chat.ASSISTANT))) {
      throw new BadObject("the chat has no message of the assistant to learn from");
    }
    return Optional.of(messages);
  }

  private static void add(JsonNode value, String name, String role, List<Message> messages)
      throws BadObject {
    if (value.isTextual()) {
      messages.add(new Message(role, value.textValue()));
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
      JsonNode role = list.get(i).path(roleKey);
      if (!role.isTextual()) {
        throw new BadObject("%s[%d] has no \"%s\"".formatted(name, i, roleKey));
      }
      String place = "%s[%d].%s".formatted(name, i, contentKey);
      messages.add(
          new Message(role(role.textValue()), content(list.get(i).path(contentKey), place)));
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
