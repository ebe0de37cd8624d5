package org.eellm.data.corpus;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.dataformat.csv.CsvFactory;
import com.fasterxml.jackson.dataformat.csv.CsvMapper;
import com.fasterxml.jackson.dataformat.csv.CsvParser;
import com.fasterxml.jackson.dataformat.csv.CsvSchema;
import java.io.IOException;
import java.io.InputStream;
import java.util.Optional;
import org.eellm.data.DataException;

/**
 * The objects of a JSON file, which are in lists or follow each other, or the rows of a CSV file,
 * whose first names the columns. Read one by one. Behind a fault in a file's form nothing can be
 * told any more, so it is never left out.
 */
final class ParsedObjects implements ObjectDocuments.Objects {
  static final int MAX_OBJECT_BYTES = 1 << 28;

  private static final StreamReadConstraints LONG_TEXTS =
      StreamReadConstraints.builder().maxStringLength(MAX_OBJECT_BYTES).build();

  static final ObjectMapper JSON =
      new ObjectMapper(JsonFactory.builder().streamReadConstraints(LONG_TEXTS).build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private static final CsvMapper CSV =
      new CsvMapper(CsvFactory.builder().streamReadConstraints(LONG_TEXTS).build())
          .enable(CsvParser.Feature.SKIP_EMPTY_LINES);

  private final ObjectReader reader;
  private final JsonParser parser;
  private final String file;
  private boolean inList;
  private int line;

  private ParsedObjects(ObjectReader reader, JsonParser parser, String file) {
    this.reader = reader;
    this.parser = parser;
    this.file = file;
  }

  static ParsedObjects ofJson(InputStream bytes, String file) throws IOException {
    ObjectReader reader = JSON.reader().without(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    return new ParsedObjects(reader, reader.createParser(bytes), file);
  }

  static ParsedObjects ofCsv(InputStream bytes, String file) throws IOException {
    // A reader that knows the schema would look for names in each row.
    JsonParser rows = CSV.reader(CsvSchema.emptySchema().withHeader()).createParser(bytes);
    return new ParsedObjects(CSV.reader(), rows, file);
  }

  @Override
  public Optional<JsonNode> next() throws IOException {
    try {
      JsonToken token = parser.nextToken();
      while (token == JsonToken.END_ARRAY || (token == JsonToken.START_ARRAY && !inList)) {
        inList = !inList;
        token = parser.nextToken();
      }
      if (token == null) {
        return Optional.empty();
      }
      line = parser.currentLocation().getLineNr();
      return Optional.of(reader.readTree(parser));
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
    parser.close();
  }
}
