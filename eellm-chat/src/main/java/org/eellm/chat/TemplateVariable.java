package org.eellm.chat;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.eellm.file.Shown;

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
              member.getKey(), member.getValue(), field + "." + Shown.of(member.getKey(), 60)));
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
        field, Shown.of(value, 60) + " is no text, number, true or false");
  }
}
