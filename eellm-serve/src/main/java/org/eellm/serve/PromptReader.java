package org.eellm.serve;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.chat.ChatMessage;
import org.eellm.chat.TemplateVariable;
import org.eellm.chat.tool.ToolCall;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;

/** Reads what a body gives to continue: {@code prompt} or {@code messages}. */
record PromptReader(ServedModel model, Fields fields) {
  /** The ids of one prompt, or of messages. */
  List<Integer> one() {
    if (fields.get("messages").isPresent()) {
      return chat(ToolFields.read(fields));
    }
    List<List<Integer>> prompts = all("prompt", RequestReader.MAX_CHOICES);
    if (prompts.size() > 1) {
      throw ApiException.badField("prompt", "has %d texts; give one".formatted(prompts.size()));
    }
    return prompts.getFirst();
  }

  /** The field that {@link #one} reads. */
  String param() {
    return fields.get("messages").isPresent() ? "messages" : "prompt";
  }

  /**
   * A text, a list of texts, ids, or a list of lists of ids.
   *
   * @param field that has them
   * @param most texts
   */
  List<List<Integer>> all(String field, int most) {
    JsonNode prompt =
        fields
            .get(field)
            .orElseThrow(
                () -> ApiException.badField(field, "is missing; give a text or a list of ids"));
    boolean single = prompt.isTextual() || prompt.isArray() && prompt.path(0).isNumber();
    List<List<Integer>> prompts;
    if (single) {
      prompts = List.of(prompt(field, prompt));
    } else if (prompt.isArray()) {
      if (prompt.size() > most) {
        throw ApiException.badField(
            field,
            "%d texts are more than the %d of one request; send several"
                .formatted(prompt.size(), most));
      }
      prompts = Fields.items(field, prompt, this::prompt);
    } else {
      throw Fields.wrong(field, prompt, "a text, a list of texts, or a list of token ids");
    }
    if (prompts.isEmpty() || prompts.stream().anyMatch(List::isEmpty)) {
      throw ApiException.badField(field, "is empty; give it at least one character or token");
    }
    return prompts;
  }

  private List<Integer> prompt(String name, JsonNode value) {
    if (value.isTextual()) {
      return model.prompt(value.textValue(), name);
    }
    return ids(name, value);
  }

  /** The model's ids, as many as it takes. */
  List<Integer> ids(String name, JsonNode value) {
    if (!value.isArray()) {
      throw Fields.wrong(name, value, "a text or a list of token ids");
    }
    if (value.size() > model.context()) {
      throw ApiException.tooLong(
          name,
          "%d tokens do not fit the model's context of %d; shorten it"
              .formatted(value.size(), model.context()));
    }
    int last = model.tokenizer().vocabSize() - 1;
    return Fields.items(name, value, (itemName, id) -> Fields.integer(itemName, id, 0, last));
  }

  /** {@code messages}: the ids of a chat as the model's template writes it. */
  List<Integer> chat(ToolFields tools) {
    return model.prompt(messages(), tools.told(), variables());
  }

  /** What the template is told: {@code chat_template_kwargs} and {@code reasoning_effort}. */
  private List<TemplateVariable> variables() {
    List<TemplateVariable> variables = new ArrayList<>();
    String kwargs = "chat_template_kwargs";
    fields
        .get(kwargs)
        .ifPresent(
            given -> {
              if (!given.isObject()) {
                throw Fields.wrong(kwargs, given, "an object");
              }
              variables.addAll(TemplateVariable.all(given, kwargs));
            });
    fields
        .text("reasoning_effort")
        .ifPresent(
            effort ->
                variables.add(
                    new TemplateVariable(
                        "reasoning_effort", TextNode.valueOf(effort), "reasoning_effort")));
    return variables;
  }

  private List<ChatMessage> messages() {
    List<ChatMessage> messages =
        fields
            .list("messages", PromptReader::message)
            .orElseThrow(() -> ApiException.badField("messages", "is missing; give at least one"));
    if (messages.isEmpty()) {
      throw ApiException.badField("messages", "is empty; give at least one");
    }
    return ToolFields.checked(messages);
  }

  private static ChatMessage message(String name, JsonNode value) {
    Fields message = Fields.of(name, value);
    String role =
        message.text("role").orElseThrow(() -> ApiException.badField(name + ".role", "is missing"));
    if (!ChatMessage.ROLES.contains(role)) {
      throw ApiException.badField(
          name + ".role",
          "'%s' is not offered; use one of %s"
              .formatted(Fields.shown(role), String.join(", ", ChatMessage.ROLES)));
    }
    List<ToolCall> calls = ToolFields.calls(message);
    Optional<JsonNode> content = message.get("content");
    if (content.isEmpty() && calls.isEmpty()) {
      throw ApiException.badField(name + ".content", "is missing");
    }
    String text = content.map(given -> content(name + ".content", given)).orElse("");
    Optional<String> speaker = message.text("name");
    String callId = message.text("tool_call_id").orElse("");
    message.requireNoOthers();
    return new ChatMessage(role, text, speaker, calls, callId);
  }

  /** A text, or parts that are texts. */
  private static String content(String name, JsonNode value) {
    if (value.isTextual()) {
      return value.textValue();
    }
    if (!value.isArray()) {
      throw Fields.wrong(name, value, "a string, or a list of parts");
    }
    return String.join(
        "",
        Fields.items(
            name,
            value,
            (partName, part) -> {
              Fields inner = Fields.of(partName, part);
              String type = inner.text("type").orElse("");
              if (!type.equals("text")) {
                throw ApiException.badField(
                    partName + ".type",
                    "'%s' is not offered; use text".formatted(Fields.shown(type)));
              }
              String text =
                  inner
                      .text("text")
                      .orElseThrow(() -> ApiException.badField(partName + ".text", "is missing"));
              inner.requireNoOthers();
              return text;
            }));
  }
}
