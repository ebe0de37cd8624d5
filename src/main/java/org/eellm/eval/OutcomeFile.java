package org.eellm.eval;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.eellm.config.ConfigException;

/**
 * Outcomes of long work as they come: a line that says what was asked of what, then a line an
 * outcome. What is there already is not asked again; a last line that was cut short is.
 *
 * @param <T> a record that goes through JSON unchanged
 */
final class OutcomeFile<T> {
  private final Path file;
  private final Class<T> type;
  private final List<T> outcomes = new ArrayList<>();

  /**
   * @param question all that the outcomes depend on, as one line of JSON
   * @throws ConfigException if the file has outcomes of something else
   * @throws EvalException if it is damaged before its last line
   */
  OutcomeFile(Path file, String question, Class<T> type) {
    this.file = file;
    this.type = type;
    try {
      Files.createDirectories(file.toAbsolutePath().getParent());
      String text = Files.exists(file) ? Files.readString(file) : "";
      String whole = text.substring(0, text.lastIndexOf('\n') + 1);
      List<String> lines = whole.lines().toList();
      if (!lines.isEmpty() && !lines.getFirst().equals(question)) {
        throw new ConfigException(
            "%s: has outcomes of another model, task or setting (%s); give another --output, or remove it"
                .formatted(file, difference(lines.getFirst(), question)));
      }
      for (int i = 1; i < lines.size(); i++) {
        outcomes.add(parse(lines.get(i), i + 1));
      }
      Files.writeString(file, lines.isEmpty() ? question + "\n" : whole);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The first key of a question that has another value. */
  private static String difference(String before, String now) {
    try {
      JsonNode old = Json.MAPPER.readTree(before);
      for (Map.Entry<String, JsonNode> entry : Json.MAPPER.readTree(now).properties()) {
        JsonNode value = old.path(entry.getKey());
        if (!value.equals(entry.getValue())) {
          return "%s was %s and is %s"
              .formatted(entry.getKey(), brief(value), brief(entry.getValue()));
        }
      }
      return "it has other keys";
    } catch (JsonProcessingException _) {
      return "its first line is not JSON";
    }
  }

  private static String brief(JsonNode value) {
    String text = value.isMissingNode() ? "not told" : value.toString();
    return text.length() > 60 ? text.substring(0, 60) + "..." : text;
  }

  private T parse(String line, int number) {
    try {
      return Json.MAPPER.readValue(line, type);
    } catch (JsonProcessingException e) {
      throw new EvalException("%s:%d: is no outcome; remove the file".formatted(file, number), e);
    }
  }

  /** In the order in which they came. */
  List<T> outcomes() {
    return outcomes;
  }

  /** Writes further outcomes to the file's end. */
  void add(List<T> more) {
    StringBuilder lines = new StringBuilder();
    more.forEach(outcome -> lines.append(Json.line(outcome)).append('\n'));
    try {
      Files.write(
          file, lines.toString().getBytes(StandardCharsets.UTF_8), StandardOpenOption.APPEND);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    outcomes.addAll(more);
  }
}
