package org.eellm.chat;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * What a chat template is told beside the messages.
 *
 * @param name the variable's
 * @param value a text, a number, true or false
 * @param field what messages call it
 */
public record TemplateVariable(String name, JsonNode value, String field) {

  /**
   * The members of an object.
   *
   * @param field what messages call the object
   */
  public static List<TemplateVariable> all(JsonNode object, String field) {
    List<TemplateVariable> variables = new ArrayList<>();
    for (Map.Entry<String, JsonNode> member : object.properties()) {
      variables.add(
          new TemplateVariable(
              member.getKey(), member.getValue(), field + "." + shown(member.getKey())));
    }
    return variables;
  }

  /** The value as templates have it. */
  Object plain() {
    if (value.isTextual()) {
      return value.textValue();
    }
    if (value.isBoolean()) {
      return value.booleanValue();
    }
    if (value.isNumber()) {
      return value.numberValue();
    }
    throw ChatTemplateException.ofMessages(
        field, shown(value.toString()) + " is no text, number, true or false");
  }

  private static String shown(String text) {
    return (text.length() <= 60 ? text : text.substring(0, 57) + "...")
        .replaceAll("\\p{Cntrl}", "?");
  }
}
