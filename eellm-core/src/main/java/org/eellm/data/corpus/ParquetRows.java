package org.eellm.data.corpus;

import dev.hardwood.InputFile;
import dev.hardwood.reader.ParquetFileReader;
import dev.hardwood.reader.RowReader;
import dev.hardwood.row.PqList;
import dev.hardwood.row.PqMap;
import dev.hardwood.row.PqStruct;
import dev.hardwood.row.StructAccessor;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.temporal.Temporal;
import java.util.LinkedHashMap;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.UUID;
import org.eellm.data.DataException;
import org.eellm.file.InputFiles;

/** The rows of a Parquet file, one by one. */
public final class ParquetRows implements AutoCloseable {
  private final Path file;
  private final ParquetFileReader reader;
  private final RowReader rows;

  private ParquetRows(Path file, ParquetFileReader reader, RowReader rows) {
    this.file = file;
    this.reader = reader;
    this.rows = rows;
  }

  /**
   * Opens a file.
   *
   * @throws DataException if it is no Parquet file
   */
  public static ParquetRows open(Path file) throws IOException {
    InputFiles.requireRegular(file);
    try {
      ParquetFileReader reader = ParquetFileReader.open(InputFile.of(file));
      try {
        return new ParquetRows(file, reader, reader.rowReader());
      } catch (RuntimeException e) {
        reader.close();
        throw e;
      }
    } catch (RuntimeException e) { // the library says so of files that are damaged
      throw unreadable(file, e);
    }
  }

  private static DataException unreadable(Path file, RuntimeException e) {
    return new DataException(
        "%s: is no parquet file that can be read: %s"
            .formatted(file, DataException.reason(e).lines().findFirst().orElse("")),
        e);
  }

  /**
   * The next row: strings, numbers, booleans, lists and maps by name, and nothing for null. Dates,
   * times and UUIDs are strings in their usual forms.
   *
   * @return empty at the end
   * @throws DataException if the file is damaged, or has values of another type
   */
  public Optional<SequencedMap<String, Object>> next() {
    try {
      if (!rows.hasNext()) {
        return Optional.empty();
      }
      rows.next();
      return Optional.of(fields(rows));
    } catch (RuntimeException e) {
      throw unreadable(file, e);
    }
  }

  private static SequencedMap<String, Object> fields(StructAccessor struct) {
    SequencedMap<String, Object> fields = new LinkedHashMap<>();
    for (int i = 0; i < struct.getFieldCount(); i++) {
      if (!struct.isNull(i)) {
        String column = struct.getFieldName(i);
        fields.put(column, plain(struct.getValue(i), column));
      }
    }
    return fields;
  }

  private static Object plain(Object value, String column) {
    return switch (value) {
      case PqStruct struct -> fields(struct);
      case PqList list ->
          list.values().stream()
              .filter(Objects::nonNull)
              .map(element -> plain(element, column))
              .toList();
      case PqMap map -> {
        SequencedMap<String, Object> entries = new LinkedHashMap<>();
        for (PqMap.Entry entry : map.getEntries()) {
          if (!entry.isValueNull()) {
            entries.put(plain(entry.getKey(), column).toString(), plain(entry.getValue(), column));
          }
        }
        yield entries;
      }
      case byte[] bytes -> new String(bytes, StandardCharsets.UTF_8);
      case String _, Number _, Boolean _ -> value;
      case Temporal _, UUID _ -> value.toString();
      default ->
          throw new IllegalArgumentException(
              "the column %s has values of the type %s; leave it out"
                  .formatted(column, value.getClass().getSimpleName()));
    };
  }

  @Override
  public void close() throws IOException {
    try (reader) {
      rows.close();
    }
  }
}
