package org.eellm.data.corpus;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;

/** The rows of a Parquet file, as objects. */
final class ParquetObjects implements ObjectDocuments.Objects {
  private final Path file;
  private final ParquetRows rows;
  private long row;

  ParquetObjects(Path file) throws IOException {
    this.file = file;
    this.rows = ParquetRows.open(file);
  }

  @Override
  public Optional<JsonNode> next() {
    row++;
    return rows.next().map(ParsedObjects.JSON::valueToTree);
  }

  @Override
  public String place() {
    return file + ":" + row;
  }

  @Override
  public void close() throws IOException {
    rows.close();
  }
}
