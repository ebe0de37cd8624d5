package org.eellm.train.metrics;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.NullNode;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.eellm.file.InputFiles;
import org.eellm.train.TrainException;

/**
 * {@code metrics.jsonl}: one JSON object a line, {@code step} first. A number that is not finite is
 * written as null, for JSON has no word for it. Every line is handed to the operating system at
 * once, so a killed process loses none.
 */
public final class MetricsFile implements MetricsSink {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Path path;
  private final OutputStream out;

  private MetricsFile(Path path, OutputStream out) {
    this.path = path;
    this.out = out;
  }

  /**
   * Opens the file to go on after a step. Lines of later steps, and a last line that was cut off,
   * are removed, so that in the end the file is what an undisturbed run would have left.
   *
   * @param path the file; created where absent
   * @param lastStep the step the run goes on after; 0 at the start of a run
   * @throws TrainException if the file cannot be read or written, or a line of it is not metrics
   */
  public static MetricsFile open(Path path, long lastStep) {
    try {
      if (Files.exists(path)) {
        long keep = bytesUpTo(path, lastStep);
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
          channel.truncate(keep);
        }
      }
      return new MetricsFile(
          path, Files.newOutputStream(path, StandardOpenOption.CREATE, StandardOpenOption.APPEND));
    } catch (IOException e) {
      throw TrainException.of(path, "cannot be opened", e);
    }
  }

  /**
   * All lines of a file, as objects with the values by name.
   *
   * @throws TrainException if the file cannot be read or a line of it is not metrics
   */
  public static List<JsonNode> read(Path path) {
    List<JsonNode> lines = new ArrayList<>();
    try {
      int number = 0;
      InputFiles.requireRegular(path);
      for (String line : Files.readAllLines(path)) {
        number++;
        lines.add(parse(path, number, line));
      }
    } catch (IOException e) {
      throw TrainException.of(path, "cannot be read", e);
    }
    return lines;
  }

  @Override
  public void accept(TrainEvent event) {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("step", event.step());
    event.values().forEach((name, value) -> line.put(name, finiteOrNull(value)));
    try {
      out.write((JSON.writeValueAsString(line) + "\n").getBytes(StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw TrainException.of(path, "cannot be written", e);
    }
  }

  @Override
  public void close() {
    try {
      out.close();
    } catch (IOException e) {
      throw TrainException.of(path, "cannot be closed", e);
    }
  }

  /** The length of the part of the file that whole lines of steps up to {@code lastStep} make. */
  private static long bytesUpTo(Path path, long lastStep) throws IOException {
    long kept = 0;
    int number = 0;
    try (InputStream in = new BufferedInputStream(InputFiles.stream(path))) {
      ByteArrayOutputStream line = new ByteArrayOutputStream();
      for (int next = in.read(); next >= 0; next = in.read()) {
        line.write(next);
        if (next == '\n') {
          number++;
          String text = line.toString(StandardCharsets.UTF_8);
          if (parse(path, number, text).path("step").asLong() > lastStep) {
            break;
          }
          kept += line.size();
          line.reset();
        }
      }
    }
    return kept;
  }

  private static JsonNode parse(Path path, int number, String line) {
    String message =
        path + ":" + number + ": not a JSON object with a step; repair or remove the file";
    try {
      JsonNode node = JSON.readTree(line);
      if (!node.path("step").isIntegralNumber()) {
        throw new TrainException(message);
      }
      return node;
    } catch (JsonProcessingException e) {
      throw new TrainException(message, e);
    }
  }

  private static Object finiteOrNull(Object value) {
    return value instanceof Double number && !Double.isFinite(number)
        ? NullNode.getInstance()
        : value;
  }
}
