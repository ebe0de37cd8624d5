package org.eellm.train.metrics;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.eellm.distributed.World;
import org.eellm.train.TrainException;

/**
 * Writes what every rank did as a trace that Perfetto (ui.perfetto.dev) and Chrome's {@code
 * about:tracing} draw: a process a rank, a thread a chunk.
 */
public final class TraceFile {
  private static final ObjectMapper JSON = new ObjectMapper();

  private TraceFile() {}

  /**
   * Gathers the ranks' events and writes them on the first. Every rank calls this.
   *
   * @param path a JSON file
   */
  public static void write(Path path, World world, List<Trace.Event> events) {
    // The monotonic clocks of machines differ; their wall clocks agree well enough for a picture.
    long offset = System.currentTimeMillis() * 1_000_000 - System.nanoTime();
    List<Map<String, Object>> mine = new ArrayList<>();
    mine.add(
        Map.of(
            "name",
            "process_name",
            "ph",
            "M",
            "pid",
            world.rank(),
            "args",
            Map.of("name", world.mesh().name(world.rank()))));
    for (Trace.Event event : events) {
      mine.add(
          Map.of(
              "name", event.name(),
              "ph", "X",
              "pid", world.rank(),
              "tid", event.chunk(),
              "ts", (event.start() + offset) / 1e3,
              "dur", (event.end() - event.start()) / 1e3,
              "args", Map.of("microbatch", event.microbatch())));
    }
    List<byte[]> all = world.all().gatherBytes(json(mine));
    if (world.rank() > 0) {
      return;
    }
    List<String> parts = new ArrayList<>();
    for (byte[] part : all) {
      String array = new String(part, StandardCharsets.UTF_8);
      parts.add(array.substring(1, array.length() - 1));
    }
    try {
      Files.writeString(path, "{\"traceEvents\":[" + String.join(",\n", parts) + "]}\n");
    } catch (IOException e) {
      throw TrainException.of(path, "cannot be written", e);
    }
  }

  private static byte[] json(Object value) {
    try {
      return JSON.writeValueAsBytes(value);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }
}
