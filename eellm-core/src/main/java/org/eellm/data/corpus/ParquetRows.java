package org.eellm.data.corpus;

import dev.hardwood.InputFile;
import dev.hardwood.reader.ParquetFileReader;
import dev.hardwood.reader.RowReader;
import dev.hardwood.row.PqList;
import dev.hardwood.row.PqStruct;
import dev.hardwood.row.StructAccessor;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import org.eellm.data.DataException;
import org.eellm.file.InputFiles;

/** The rows of a Parquet file, one by one. */
public final class ParquetRows implements AutoCloseable {
  private final Path file;
  private final ParquetFileReader reader;
  private final RowReader rows;

  private ParquetRows(Path file, ParquetFileReader reader) {
    this.file = file;
    this.reader = reader;
    this.rows = reader.rowReader();
  }

  /**
   * Opens a file.
   *
   * @throws DataException if it is no Parquet file
   */
  public static ParquetRows open(Path file) throws IOException {
    InputFiles.requireRegular(file);
    try {
      return new ParquetRows(file, ParquetFileReader.open(InputFile.of(file)));
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
   * The next row: strings, numbers, booleans, lists and maps by name, and nothing for null.
   *
   * @return empty at the end
   * @throws DataException if the file is damaged
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
        fields.put(struct.getFieldName(i), plain(struct.getValue(i)));
      }
    }
    return fields;
  }

  private static Object plain(Object value) {
    return switch (value) {
      case PqStruct struct -> fields(struct);
      case PqList list ->
          list.values().stream().filter(Objects::nonNull).map(ParquetRows::plain).toList();
      case byte[] bytes -> new String(bytes, StandardCharsets.UTF_8);
      default -> value;
    };
  }

  @Override
  public void close() throws IOException {
    rows.close();
    reader.close();
  }
}
