package org.eellm.serve;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.eellm.chat.ChatMessage;
import org.eellm.chat.tool.Tool;
import org.eellm.chat.tool.ToolCall;
import org.eellm.chat.tool.ToolChoice;
import org.eellm.grammar.Grammar;
import org.eellm.grammar.GrammarException;
import org.eellm.grammar.GrammarSource;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.HttpJson;

/**
 * The tools of a request: {@code tools}, {@code tool_choice} and {@code parallel_tool_calls}.
 *
 * @param told what the prompt tells of
 * @param choice those of them that the answer may call
 */
record ToolFields(List<Tool> told, ToolChoice choice) {
  static final ToolFields NONE = new ToolFields(List.of(), ToolChoice.NONE);
  private static final int MOST_TOOLS = 128;
  private static final String NAME = "[a-zA-Z0-9_-]{1,64}";
  private static final String FUNCTION = "function";

  ToolFields {
    told = List.copyOf(told);
  }

  static ToolFields read(Fields fields) {
    int count = fields.get("tools").map(JsonNode::size).orElse(0);
    if (count > MOST_TOOLS) {
      throw ApiException.badField(
          "tools", "%d tools are more than %d; give fewer".formatted(count, MOST_TOOLS));
    }
    List<Tool> tools = fields.list("tools", ToolFields::tool).orElse(List.of());
    requireDifferent(tools);
    boolean parallel = fields.bool("parallel_tool_calls").orElse(true);
    JsonNode choice = fields.get("tool_choice").orElse(TextNode.valueOf("auto"));
    if (tools.isEmpty()) {
      if (fields.get("tool_choice").isPresent() && !choice.asText().equals("none")) {
        throw ApiException.badField("tool_choice", "has no effect without tools; give tools");
      }
      return NONE;
    }
    if (choice.isObject()) {
      Tool named = named(Fields.of("tool_choice", choice), tools);
      return new ToolFields(tools, new ToolChoice(List.of(named), true, false));
    }
    return switch (choice.asText()) {
      case "none" -> NONE;
      case "auto" -> new ToolFields(tools, new ToolChoice(tools, false, parallel));
      case "required" -> new ToolFields(tools, new ToolChoice(tools, true, parallel));
      default ->
          throw Fields.wrong(
              "tool_choice", choice, "none, auto, required, or an object that names a function");
    };
  }

  private static Tool tool(String name, JsonNode value) {
    Fields tool = Fields.of(name, value);
    Fields function = function(tool);
    String called = requiredText(function, "name");
    if (!called.matches(NAME)) {
      throw ApiException.badField(
          function.name("name"),
          "'%s' is no name of up to 64 letters, digits, underscores and dashes"
              .formatted(Fields.shown(called)));
    }
    String description = function.text("description").orElse("");
    function.bool("strict"); // or not: arguments are valid either way
    ObjectNode parameters =
        function
            .get("parameters")
            .map(schema -> parameters(function.name("parameters"), schema))
            .orElseGet(Tool::noParameters);
    function.requireNoOthers();
    tool.requireNoOthers();
    return new Tool(called, description, parameters);
  }

  /** A schema of objects, which arguments are. */
  private static ObjectNode parameters(String name, JsonNode value) {
    if (!(value instanceof ObjectNode schema)) {
      throw Fields.wrong(name, value, "an object, which is a JSON Schema");
    }
    if (schema.isEmpty()) {
      return Tool.noParameters();
    }
    if (schema.has("properties") && !schema.has("type")) {
      schema.put("type", "object");
    }
    if (!schema.path("type").asText().equals("object")) {
      throw ApiException.badField(name + ".type", "is not \"object\", as arguments are");
    }
    return schema;
  }

  /** The member {@code function} of what has the type {@code function}. */
  private static Fields function(Fields fields) {
    String type = fields.text("type").orElse(FUNCTION);
    if (!type.equals(FUNCTION)) {
      throw ApiException.badField(
          fields.name("type"), "'%s' is not offered; use function".formatted(Fields.shown(type)));
    }
    return fields
        .fields(FUNCTION)
        .orElseThrow(() -> ApiException.badField(fields.name(FUNCTION), "is missing"));
  }

  private static String requiredText(Fields fields, String field) {
    return fields
        .text(field)
        .orElseThrow(() -> ApiException.badField(fields.name(field), "is missing"));
  }

  private static void requireDifferent(List<Tool> tools) {
    Set<String> names = new HashSet<>();
    for (Tool tool : tools) {
      if (!names.add(tool.name())) {
        throw ApiException.badField(
            "tools", "'%s' is there twice; give each name once".formatted(tool.name()));
      }
    }
  }

  private static Tool named(Fields choice, List<Tool> tools) {
    Fields function = function(choice);
    String name = requiredText(function, "name");
    function.requireNoOthers();
    choice.requireNoOthers();
    return tools.stream()
        .filter(tool -> tool.name().equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                ApiException.badField(
                    "tool_choice.function.name",
                    "'%s' is none of the tools; name one of them".formatted(Fields.shown(name))));
  }

  /** {@code tool_calls} of an assistant's message. */
  static List<ToolCall> calls(Fields message) {
    return message.list("tool_calls", ToolFields::call).orElse(List.of());
  }

  private static ToolCall call(String name, JsonNode value) {
    Fields call = Fields.of(name, value);
    String id = requiredText(call, "id");
    Fields function = function(call);
    String called = requiredText(function, "name");
    String arguments = requiredText(function, "arguments");
    String object = arguments.isBlank() ? "{}" : arguments;
    try {
      HttpJson.read(object.getBytes(StandardCharsets.UTF_8));
    } catch (ApiException _) {
      throw ApiException.badField(
          function.name("arguments"),
          "'%s' is no JSON object; give what the model wrote".formatted(Fields.shown(arguments)));
    }
    function.requireNoOthers();
    call.requireNoOthers();
    return new ToolCall(id, called, object);
  }

  /** Messages of which each result of a tool names a call before it, and has the tool's name. */
  static List<ChatMessage> checked(List<ChatMessage> messages) {
    Map<String, String> names = new HashMap<>(); // of the tools that were called, by id
    List<ChatMessage> checked = new ArrayList<>();
    for (ChatMessage message : messages) {
      String place = "messages[%d].".formatted(checked.size());
      boolean ofTool = message.role().equals("tool");
      if (!message.calls().isEmpty() && !message.role().equals("assistant")) {
        throw ApiException.badField(place + "tool_calls", "are of assistants alone");
      }
      if (ofTool == message.callId().isEmpty()) {
        throw ApiException.badField(
            place + "tool_call_id",
            ofTool ? "is missing; give the id of the call" : "is of messages of tools alone");
      }
      String name = names.get(message.callId()); // of the tool that was called
      if (ofTool && name == null) {
        throw ApiException.badField(
            place + "tool_call_id",
            "'%s' is no call of a message before; give the id of one"
                .formatted(Fields.shown(message.callId())));
      }
      message.calls().forEach(call -> names.put(call.id(), call.name()));
      checked.add(ofTool && name != null ? message.withName(name) : message);
    }
    return checked;
  }

  /** The refusal of a grammar by the tool whose schema cannot be honoured. */
  ApiException refusal(GrammarException problem) {
    for (Tool tool : choice.tools()) {
      try {
        Grammar.of(new GrammarSource.Schema(tool.parameters().toString()));
      } catch (GrammarException e) {
        return ApiException.badField(
            "tools[%d].function.parameters".formatted(told.indexOf(tool)),
            String.valueOf(e.getMessage()));
      }
    }
    return ApiException.badField("tools", String.valueOf(problem.getMessage()));
  }
}
