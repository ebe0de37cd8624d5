package org.eellm.eval.task;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.eellm.config.ConfigException;
import org.eellm.eval.EvalException;
import org.eellm.eval.SnakeCaseJson;
import org.eellm.file.InputFiles;

/**
 * Outcomes of long work as they come: a line that says what was asked of what, then a line an
 * outcome. What is there already is not asked again; a last line that was cut short is.
 *
 * @param <T> a record that goes through JSON unchanged
 */
public final class OutcomeFile<T> {
  private final Path file;
  private final Class<? extends T> type;
  private final List<T> outcomes = new ArrayList<>();

  /**
   * @param fingerprint all that the outcomes depend on, as one line of JSON
   * @throws ConfigException if the file has outcomes of something else
   * @throws EvalException if it is damaged before its last line
   */
  public OutcomeFile(Path file, String fingerprint, Class<? extends T> type) {
    this.file = file;
    this.type = type;
    try {
      Files.createDirectories(file.toAbsolutePath().getParent());
      byte[] bytes = Files.exists(file) ? bytes(file) : new byte[0];
      int whole = wholeLines(bytes); // what was cut short may end within a letter
      List<String> lines = text(bytes, whole).lines().toList();
      if (!lines.isEmpty() && !lines.getFirst().equals(fingerprint)) {
        throw new ConfigException(
            "%s: has outcomes of another model, task or setting (%s); give another --output, or remove it"
                .formatted(file, difference(lines.getFirst(), fingerprint)));
      }
      for (int i = 1; i < lines.size(); i++) {
        outcomes.add(parse(lines.get(i), i + 1));
      }
      if (lines.isEmpty()) {
        Files.writeString(file, fingerprint + "\n");
      } else if (whole < bytes.length) {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
          channel.truncate(whole);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static byte[] bytes(Path file) throws IOException {
    InputFiles.requireRegular(file);
    return Files.readAllBytes(file);
  }

  private String text(byte[] bytes, int count) {
    try {
      return StandardCharsets.UTF_8
          .newDecoder()
          .decode(ByteBuffer.wrap(bytes, 0, count))
          .toString();
    } catch (CharacterCodingException e) {
      throw new EvalException(file + ": is damaged, it is not in UTF-8; remove the file", e);
    }
  }

  /** Bytes of the lines that have an end. */
  private static int wholeLines(byte[] bytes) {
    int end = bytes.length;
    while (end > 0 && bytes[end - 1] != '\n') {
      end--;
    }
    return end;
  }

  /** The first value of a fingerprint that is another. */
  private static String difference(String before, String now) {
    try {
      return difference(
          "", SnakeCaseJson.MAPPER.readTree(before), SnakeCaseJson.MAPPER.readTree(now));
    } catch (JsonProcessingException _) {
      return "its first line is not JSON";
    }
  }

  private static String difference(String name, JsonNode before, JsonNode now) {
    if (before.isObject() && now.isObject()) {
      TreeSet<String> keys = new TreeSet<>();
      before.fieldNames().forEachRemaining(keys::add);
      now.fieldNames().forEachRemaining(keys::add);
      for (String key : keys) {
        if (!before.path(key).equals(now.path(key))) {
          String path = name.isEmpty() ? key : name + "." + key;
          return difference(path, before.path(key), now.path(key));
        }
      }
    }
    if (before.isArray() && now.isArray()) {
      int index = 0;
      while (before.path(index).equals(now.path(index))) {
        index++;
      }
      return difference("%s[%d]".formatted(name, index), before.path(index), now.path(index));
    }
    String old = text(before);
    String other = text(now);
    int from = Math.max(0, mismatch(old, other) - 20);
    return "%s was %s and is %s".formatted(name, brief(old, from), brief(other, from));
  }

  private static String text(JsonNode value) {
    return value.isMissingNode() ? "not there" : value.toString();
  }

  private static int mismatch(String a, String b) {
    int at = 0;
    while (at < Math.min(a.length(), b.length()) && a.charAt(at) == b.charAt(at)) {
      at++;
    }
    return at;
  }

  private static String brief(String text, int from) {
    String rest = from > 0 ? "..." + text.substring(from) : text;
    return rest.length() > 60 ? rest.substring(0, 60) + "..." : rest;
  }

  private T parse(String line, int number) {
    try {
      return SnakeCaseJson.MAPPER.readValue(line, type);
    } catch (JsonProcessingException e) {
      throw new EvalException("%s:%d: is no outcome; remove the file".formatted(file, number), e);
    }
  }

  /** In the order in which they came. */
  public List<T> outcomes() {
    return outcomes;
  }

  /** Writes further outcomes to the file's end. */
  public void add(List<T> more) {
    StringBuilder lines = new StringBuilder();
    more.forEach(outcome -> lines.append(SnakeCaseJson.line(outcome)).append('\n'));
    try {
      Files.write(
          file, lines.toString().getBytes(StandardCharsets.UTF_8), StandardOpenOption.APPEND);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    outcomes.addAll(more);
  }
}
