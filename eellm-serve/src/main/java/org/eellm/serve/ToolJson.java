package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import org.eellm.chat.tool.ToolCall;
import org.eellm.chat.tool.ToolReader.Part;

/** Calls of tools in replies, as OpenAI has them. */
final class ToolJson {
  private ToolJson() {}

  /** Puts calls into the message of a whole answer, whose text may be none. */
  static void putCalls(ObjectNode message, List<ToolCall> calls) {
    if (message.path("content").asText().isEmpty()) {
      message.putNull("content");
    }
    ArrayNode array = message.putArray("tool_calls");
    for (ToolCall call : calls) {
      put(array.addObject(), call.id(), call.name(), call.arguments());
    }
  }

  private static void put(ObjectNode object, String id, String name, String arguments) {
    object.put("id", id).put("type", "function");
    object.putObject("function").put("name", name).put("arguments", arguments);
  }

  /** Puts parts of calls into the delta of a stream. */
  static void putParts(ObjectNode delta, List<Part> parts) {
    ArrayNode array = delta.arrayNode();
    for (Part part : parts) {
      switch (part) {
        case Part.Text _ -> {}
        case Part.Call(int index, String id, String name) ->
            put(array.addObject().put("index", index), id, name, "");
        case Part.Arguments(int index, String piece) ->
            array.addObject().put("index", index).putObject("function").put("arguments", piece);
      }
    }
    if (!array.isEmpty()) {
      delta.set("tool_calls", array);
    }
  }
}
