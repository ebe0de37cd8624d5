package org.eellm.data.tokenizer.word;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Iterator;
import java.util.List;

/**
 * The blank that many tokenizers put before a text, so that a word has one token wherever it
 * stands. It has no place before a text that goes on after another one.
 */
public final class LeadingBlank {
  private LeadingBlank() {}

  /** A {@code tokenizer.json} without it, which shares its other parts. */
  public static ObjectNode removed(ObjectNode file) {
    ObjectNode copy = JsonNodeFactory.instance.objectNode();
    copy.setAll(file);
    for (String part : List.of("normalizer", "pre_tokenizer")) {
      if (file.has(part)) {
        copy.set(part, file.get(part).deepCopy());
      }
    }
    if (isPrepend(copy.path("normalizer"))) {
      copy.putNull("normalizer");
    }
    remove(copy.path("normalizer"));
    remove(copy.path("pre_tokenizer"));
    return copy;
  }

  private static boolean isPrepend(JsonNode part) {
    return part.path("type").asText().equals("Prepend");
  }

  private static void remove(JsonNode part) {
    switch (part.path("type").asText()) {
      case "Sequence" -> {
        for (String children : List.of("normalizers", "pretokenizers")) {
          if (part.path(children) instanceof ArrayNode parts) {
            for (Iterator<JsonNode> each = parts.iterator(); each.hasNext(); ) {
              JsonNode child = each.next();
              if (isPrepend(child)) {
                each.remove();
              } else {
                remove(child);
              }
            }
          }
        }
      }
      case "Metaspace" ->
          ((ObjectNode) part).put("prepend_scheme", "never").put("add_prefix_space", false);
      case "ByteLevel" -> ((ObjectNode) part).put("add_prefix_space", false);
      default -> {}
    }
  }
}
