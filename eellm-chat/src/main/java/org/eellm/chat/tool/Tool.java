package org.eellm.chat.tool;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * A tool that a model may call.
 *
 * @param description what it is for; may be empty
 * @param parameters a JSON Schema of its arguments
 */
public record Tool(String name, String description, ObjectNode parameters) {
  /** The schema of a tool without parameters. */
  public static ObjectNode noParameters() {
    ObjectNode schema = JsonNodeFactory.instance.objectNode().put("type", "object");
    schema.putObject("properties");
    return schema.put("additionalProperties", false);
  }

  /** As OpenAI's API and chat templates have it. */
  public ObjectNode json() {
    ObjectNode root = JsonNodeFactory.instance.objectNode().put("type", "function");
    root.putObject("function")
        .put("name", name)
        .put("description", description)
        .set("parameters", parameters);
    return root;
  }
}
