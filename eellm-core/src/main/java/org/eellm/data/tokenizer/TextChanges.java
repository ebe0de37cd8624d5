package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** What is done to a text before it is cut into words: normalizers, and blanks put before it. */
final class TextChanges {
  /** A change of a part of a text. */
  @FunctionalInterface
  private interface Change {
    /**
     * @param first whether the part begins the text
     */
    String apply(String part, boolean first);
  }

  private final List<Change> changes;

  private TextChanges(List<Change> changes) {
    this.changes = List.copyOf(changes);
  }

  /**
   * The changes that these parts of a {@code tokenizer.json} make; empty if one is not done here.
   */
  static Optional<TextChanges> of(List<JsonNode> normalizers, List<JsonNode> words) {
    List<Change> changes = new ArrayList<>();
    for (JsonNode part : normalizers) {
      switch (part.path("type").asText()) {
        case "NFC" -> changes.add((text, first) -> Normalizer.normalize(text, Normalizer.Form.NFC));
        case "Prepend" -> {
          String before = part.path("prepend").asText();
          changes.add((text, first) -> text.isEmpty() ? text : before + text);
        }
        case "Replace" -> {
          String from = part.path("pattern").path("String").asText();
          String to = part.path("content").asText();
          if (from.isEmpty()) {
            return Optional.empty();
          }
          changes.add((text, first) -> text.replace(from, to));
        }
        default -> {
          return Optional.empty();
        }
      }
    }
    for (JsonNode part : words) {
      boolean blank = part.path("add_prefix_space").asBoolean(true);
      switch (part.path("type").asText()) {
        case "Metaspace" -> {
          String replacement = part.path("replacement").asText("\u2581");
          String scheme = part.path("prepend_scheme").asText(blank ? "always" : "never");
          changes.add(
              (text, first) -> {
                String replaced = text.replace(" ", replacement);
                boolean before = scheme.equals("always") || (scheme.equals("first") && first);
                return before && !replaced.startsWith(replacement)
                    ? replacement + replaced
                    : replaced;
              });
        }
        case "ByteLevel" -> {
          if (blank) {
            changes.add((text, first) -> text.startsWith(" ") ? text : " " + text);
          }
        }
        default -> {
          continue;
        }
      }
      if (words.size() > 1 && !(part.path("type").asText().equals("ByteLevel") && !blank)) {
        return Optional.empty(); // it changes what another has cut
      }
    }
    return Optional.of(new TextChanges(changes));
  }

  /** Whether a text stays as it is. */
  boolean areNone() {
    return changes.isEmpty();
  }

  /**
   * The changed part of a text.
   *
   * @param first whether it begins the text
   */
  String apply(String part, boolean first) {
    String changed = part;
    for (Change change : changes) {
      changed = change.apply(changed, first);
    }
    return changed;
  }
}
