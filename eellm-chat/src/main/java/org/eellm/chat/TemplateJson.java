package org.eellm.chat;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.filter.Filter;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.NullUnmarked;

/** JSON as templates have it: the filter {@code tojson} writes it as Python does, with blanks. */
@NullUnmarked // as the library is, which takes and gives null
final class TemplateJson implements Filter {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** A value as templates have it, with its texts changed. */
  static Object value(JsonNode node, UnaryOperator<String> change) {
    if (node.isObject()) {
      Map<String, Object> map = new LinkedHashMap<>();
      for (Map.Entry<String, JsonNode> entry : node.properties()) {
        map.put(change.apply(entry.getKey()), value(entry.getValue(), change));
      }
      return map;
    }
    if (node.isArray()) {
      List<Object> list = new ArrayList<>();
      node.forEach(each -> list.add(value(each, change)));
      return list;
    }
    return node.isTextual()
        ? change.apply(node.textValue())
        : node.isBoolean() ? (Object) node.booleanValue() : node.numberValue();
  }

  /**
   * A call's arguments as templates have them, with their texts changed.
   *
   * @param field for messages
   */
  static Map<?, ?> arguments(String json, String field, UnaryOperator<String> change) {
    try {
      if (JSON.readTree(json) instanceof ObjectNode object) {
        return (Map<?, ?>) value(object, change);
      }
    } catch (JsonProcessingException _) {
      // Refused below.
    }
    throw ChatTemplateException.ofMessages(
        field, "has arguments that are no JSON object; give what the model wrote");
  }

  @Override
  public String getName() {
    return "tojson";
  }

  @Override
  public Object filter(Object value, JinjavaInterpreter interpreter, String... arguments) {
    return filter(value, interpreter, arguments, Map.of());
  }

  @Override
  public Object filter(
      Object value, JinjavaInterpreter interpreter, Object[] arguments, Map<String, Object> named) {
    Object indent = arguments.length > 0 ? arguments[0] : named.get("indent");
    return text(value, indent instanceof Number number ? number.intValue() : 0);
  }

  /**
   * A value as JSON.
   *
   * @param blanks before what is within, in lines of its own; 0 for one line
   */
  static String text(Object value, int blanks) {
    TemplateBounds.requireLength(blanks);
    StringBuilder text = new StringBuilder();
    write(value, blanks, "\n", text);
    TemplateBounds.requireLength(text.length());
    return text.toString();
  }

  /**
   * @param line what begins a line of the value's end, if it has lines
   */
  private static void write(Object value, int blanks, String line, StringBuilder text) {
    if (text.length() + line.length() > TemplateBounds.MAX_LENGTH) {
      throw new TemplateBounds.ExceededError();
    }
    String inner = line + " ".repeat(blanks);
    String next = blanks > 0 ? "," + inner : ", ";
    switch (value) {
      case Map<?, ?> map -> {
        text.append('{');
        String before = blanks > 0 ? inner : "";
        for (Map.Entry<?, ?> entry : map.entrySet()) {
          text.append(before).append(TextNode.valueOf(String.valueOf(entry.getKey()))).append(": ");
          write(entry.getValue(), blanks, inner, text);
          before = next;
        }
        text.append(blanks > 0 && !map.isEmpty() ? line : "").append('}');
      }
      case Collection<?> list -> {
        text.append('[');
        String before = blanks > 0 ? inner : "";
        for (Object element : list) {
          text.append(before);
          write(element, blanks, inner, text);
          before = next;
        }
        text.append(blanks > 0 && !list.isEmpty() ? line : "").append(']');
      }
      case null -> text.append("null");
      case Number number -> text.append(number);
      case Boolean truth -> text.append(truth);
      default -> text.append(TextNode.valueOf(value.toString()));
    }
  }
}
