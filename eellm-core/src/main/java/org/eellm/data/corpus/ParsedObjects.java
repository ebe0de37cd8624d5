package org.eellm.data.corpus;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MappingIterator;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.dataformat.csv.CsvFactory;
import com.fasterxml.jackson.dataformat.csv.CsvMapper;
import com.fasterxml.jackson.dataformat.csv.CsvSchema;
import java.io.IOException;
import java.io.InputStream;
import java.util.Optional;
import org.eellm.data.DataException;

/**
 * The objects of a JSON file, which are in one list or follow each other, or the rows of a CSV
 * file, whose first names the columns. Read one by one. Behind a fault in a file's form nothing can
 * be told any more, so it is never left out.
 */
final class ParsedObjects implements ObjectDocuments.Objects {
  static final int MAX_OBJECT_BYTES = 1 << 28;

  private static final StreamReadConstraints LONG_TEXTS =
      StreamReadConstraints.builder().maxStringLength(MAX_OBJECT_BYTES).build();

  static final ObjectMapper JSON =
      new ObjectMapper(JsonFactory.builder().streamReadConstraints(LONG_TEXTS).build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private static final CsvMapper CSV =
      new CsvMapper(CsvFactory.builder().streamReadConstraints(LONG_TEXTS).build());

  private final MappingIterator<JsonNode> values;
  private final String file;
  private int line;

  private ParsedObjects(MappingIterator<JsonNode> values, String file) {
    this.values = values;
    this.file = file;
  }

  static ParsedObjects ofJson(InputStream bytes, String file) throws IOException {
    return new ParsedObjects(
        JSON.readerFor(JsonNode.class)
            .without(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .readValues(bytes),
        file);
  }

  static ParsedObjects ofCsv(InputStream bytes, String file) throws IOException {
    return new ParsedObjects(
        CSV.readerFor(JsonNode.class).with(CsvSchema.emptySchema().withHeader()).readValues(bytes),
        file);
  }

  @Override
  public Optional<JsonNode> next() throws IOException {
    try {
      if (!values.hasNextValue()) {
        return Optional.empty();
      }
      line = values.getCurrentLocation().getLineNr();
      return Optional.of(values.nextValue());
    } catch (JsonProcessingException e) {
      line = e.getLocation() == null ? line : e.getLocation().getLineNr();
      throw new DataException(
          "%s: not valid: %s; mend the file".formatted(place(), e.getOriginalMessage()), e);
    }
  }

  @Override
  public String place() {
    return file + ":" + line;
  }

  @Override
  public void close() throws IOException {
    values.close();
  }
}
