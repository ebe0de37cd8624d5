package org.eellm.cli.generate;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.eellm.decode.Engine;

/** Lines of a stream, for one who waits for them and for the end of an engine alike. */
final class InputLines {
  private static final long LOOK_MILLIS = 200;

  private final BufferedReader lines;

  InputLines(InputStream from) {
    lines = new BufferedReader(new InputStreamReader(from, StandardCharsets.UTF_8));
  }

  /**
   * Waits for the next line; empty at the end.
   *
   * @throws RuntimeException what ended the engine meanwhile, as when another rank has failed
   */
  Optional<String> next(Engine engine) throws IOException {
    CompletableFuture<Optional<String>> line = new CompletableFuture<>();
    Thread.ofPlatform().daemon().name("eellm-input").start(() -> read(line));
    while (true) {
      engine.requireAlive();
      try {
        return line.get(LOOK_MILLIS, TimeUnit.MILLISECONDS);
      } catch (TimeoutException _) {
        // Nobody has said anything yet.
      } catch (ExecutionException e) {
        throw new IOException(e.getCause());
      } catch (InterruptedException _) {
        Thread.currentThread().interrupt();
        return Optional.empty();
      }
    }
  }

  private void read(CompletableFuture<Optional<String>> line) {
    try {
      line.complete(Optional.ofNullable(lines.readLine()));
    } catch (IOException e) {
      line.completeExceptionally(e);
    }
  }
}
