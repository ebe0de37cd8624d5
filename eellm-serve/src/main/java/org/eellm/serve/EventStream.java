package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import org.eellm.serve.json.HttpJson;

/** Server-sent events with JSON in them, as OpenAI sends them. */
final class EventStream implements CompletionService.Sink {
  private static final byte[] BEGIN = "data: ".getBytes(StandardCharsets.UTF_8);
  private static final byte[] END = "\n\n".getBytes(StandardCharsets.UTF_8);

  private final OutputStream out;

  EventStream(OutputStream out) {
    this.out = out;
  }

  @Override
  public void send(ObjectNode part) {
    write(BEGIN, HttpJson.bytes(part), END);
  }

  @Override
  public void idle() {
    write(": waiting".getBytes(StandardCharsets.UTF_8), END);
  }

  /** Tells that everything has been sent. */
  void done() {
    write(BEGIN, "[DONE]".getBytes(StandardCharsets.UTF_8), END);
  }

  private void write(byte[]... parts) {
    try {
      for (byte[] part : parts) {
        out.write(part);
      }
      out.flush();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
