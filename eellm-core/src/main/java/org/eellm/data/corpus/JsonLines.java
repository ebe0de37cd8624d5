package org.eellm.data.corpus;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Optional;
import org.eellm.data.DataException;

/** The objects of a JSON lines file, one a line; blank lines are allowed. */
final class JsonLines implements ObjectDocuments.Objects {
  private final LineReader lines;
  private final String file;
  private final ByteArrayOutputStream line = new ByteArrayOutputStream();

  JsonLines(LineReader lines, String file) {
    this.lines = lines;
    this.file = file;
  }

  @Override
  public Optional<JsonNode> next() throws IOException, ObjectDocuments.BadObject {
    while (readLine()) {
      try {
        JsonNode object = ParsedObjects.JSON.readTree(line.toByteArray());
        if (!object.isMissingNode()) {
          return Optional.of(object);
        }
      } catch (JsonProcessingException e) {
        throw new ObjectDocuments.BadObject("not valid JSON: " + DataException.reason(e));
      }
    }
    return Optional.empty();
  }

  private boolean readLine() throws IOException {
    line.reset();
    boolean found = false;
    while (lines.next()) {
      found = true;
      if (line.size() > ParsedObjects.MAX_OBJECT_BYTES - lines.length()) {
        throw new DataException(
            "%s: the line is longer than %d MiB; divide its text into several documents"
                .formatted(place(), ParsedObjects.MAX_OBJECT_BYTES >> 20));
      }
      lines.appendTo(line);
      if (lines.endsLine()) {
        break;
      }
    }
    return found;
  }

  @Override
  public String place() {
    return file + ":" + lines.line();
  }

  @Override
  public void close() throws IOException {
    lines.close();
  }
}
