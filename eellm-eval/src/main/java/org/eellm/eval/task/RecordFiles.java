package org.eellm.eval.task;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MappingIterator;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.dataformat.csv.CsvMapper;
import com.fasterxml.jackson.dataformat.csv.CsvParser;
import com.fasterxml.jackson.dataformat.csv.CsvSchema;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.eellm.data.DataException;
import org.eellm.data.corpus.Decompression;
import org.eellm.data.corpus.ParquetRows;
import org.eellm.file.InputFiles;

/**
 * Records of data sets, whose kind their name tells: {@code .jsonl}, {@code .json} (an array),
 * {@code .csv}, {@code .tsv}, {@code .parquet}, and any other name for text with a field a line;
 * all but Parquet plain or with {@code .gz}, {@code .bz2}, {@code .xz} or {@code .zst}.
 */
final class RecordFiles {
  private static final JsonMapper JSON =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private static final TypeReference<LinkedHashMap<String, Object>> RECORD =
      new TypeReference<>() {};
  private static final Pattern COMPRESSED = Pattern.compile("\\.(gz|bz2|xz|zst)$");

  private RecordFiles() {}

  /**
   * Reads records whole.
   *
   * @param columns names of the fields of a CSV or TSV file without a header, or of the lines that
   *     make a record of a text file; empty where the files name their fields
   * @return records in the files' order: strings, numbers, booleans, lists and maps by name
   * @throws DataException if a file cannot be read or is not what its name says
   */
  public static List<SequencedMap<String, Object>> read(Path file, List<String> columns) {
    String kind = kind(file);
    try {
      return switch (kind) {
        case "jsonl" -> jsonLines(file);
        case "json" -> jsonArray(file);
        case "csv" -> separated(file, columns, ',');
        case "tsv" -> separated(file, columns, '\t');
        case "parquet" -> parquet(file);
        default -> linesOfFields(file, columns);
      };
    } catch (JsonProcessingException e) {
      int line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
      throw malformed(file, line, kind, e);
    } catch (IOException | UncheckedIOException | IllegalArgumentException e) {
      throw DataException.unreadable(file, e);
    }
  }

  /** The format that a file's name ends with, compression left out. */
  static String kind(Path file) {
    String name = COMPRESSED.matcher(file.toString()).replaceFirst("");
    return name.substring(name.lastIndexOf('.') + 1);
  }

  private static DataException malformed(
      Path file, int line, String kind, JsonProcessingException e) {
    return new DataException(
        "%s:%d: is no %s: %s".formatted(file, line, kind, DataException.reason(e)), e);
  }

  /** The lines of a text file, without their ends. */
  public static List<String> lines(Path file) {
    try (BufferedReader reader = reader(file)) {
      return reader.readAllLines();
    } catch (IOException e) {
      throw DataException.unreadable(file, e);
    }
  }

  /**
   * Files in a folder, sorted.
   *
   * @param name a path within the folder, or a glob
   * @throws DataException if there is none
   */
  public static List<Path> find(Path folder, String name) {
    Path file = folder.resolve(name);
    if (Files.exists(file) && !Files.isDirectory(file)) {
      return List.of(file); // what is no regular file is refused where it is read
    }
    if (!Files.isDirectory(folder)) {
      throw new DataException(folder + ": is no folder; give the one with the data sets");
    }
    PathMatcher matcher = FileSystems.getDefault().getPathMatcher("glob:" + name);
    try (Stream<Path> walk = Files.walk(folder)) {
      List<Path> found =
          walk.filter(Files::isRegularFile)
              .filter(path -> matcher.matches(folder.relativize(path)))
              .sorted()
              .toList();
      if (found.isEmpty()) {
        throw new DataException(
            "%s: there is no file %s; put the data set there".formatted(folder, name));
      }
      return found;
    } catch (IOException e) {
      throw new DataException(
          "%s: cannot be listed: %s".formatted(folder, DataException.reason(e)), e);
    }
  }

  /** The text of a file, which has to be UTF-8; a byte order mark in front is no part of it. */
  private static BufferedReader reader(Path file) throws IOException {
    InputStream bytes = Decompression.of(file.toString(), InputFiles.stream(file));
    BufferedReader reader =
        new BufferedReader(new InputStreamReader(bytes, StandardCharsets.UTF_8.newDecoder()));
    reader.mark(1);
    if (reader.read() != '\uFEFF') {
      reader.reset();
    }
    return reader;
  }

  private static List<SequencedMap<String, Object>> jsonLines(Path file) throws IOException {
    List<SequencedMap<String, Object>> records = new ArrayList<>();
    try (BufferedReader reader = reader(file)) {
      int number = 0;
      for (String line : reader.lines().toList()) {
        number++;
        if (!line.isBlank()) {
          try {
            records.add(record(JSON.readTree(line), file + ":" + number));
          } catch (JsonProcessingException e) {
            throw malformed(file, number, "jsonl", e);
          }
        }
      }
    }
    return records;
  }

  private static List<SequencedMap<String, Object>> jsonArray(Path file) throws IOException {
    JsonNode root;
    try (BufferedReader text = reader(file);
        JsonParser parser = JSON.createParser(text)) {
      root = JSON.reader().without(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).readTree(parser);
      if (!(root instanceof ArrayNode) || parser.nextToken() != null) {
        throw new DataException(
            file
                + ": is not one JSON array of records; name it .jsonl if each of its lines is one");
      }
    }
    List<SequencedMap<String, Object>> records = new ArrayList<>();
    for (JsonNode node : root) {
      records.add(record(node, "%s: record %d".formatted(file, records.size() + 1)));
    }
    return records;
  }

  private static SequencedMap<String, Object> record(JsonNode node, String place) {
    if (!node.isObject()) {
      throw new DataException(place + ": is no JSON object; write a record as {\"field\": value}");
    }
    return JSON.convertValue(node, RECORD);
  }

  private static List<SequencedMap<String, Object>> separated(
      Path file, List<String> columns, char separator) throws IOException {
    CsvSchema schema =
        columns.isEmpty()
            ? CsvSchema.emptySchema().withHeader()
            : CsvSchema.builder().addColumns(columns, CsvSchema.ColumnType.STRING).build();
    List<SequencedMap<String, Object>> records = new ArrayList<>();
    try (BufferedReader text = reader(file);
        MappingIterator<LinkedHashMap<String, Object>> rows =
            new CsvMapper()
                .enable(CsvParser.Feature.SKIP_EMPTY_LINES)
                .readerFor(RECORD)
                .with(schema.withColumnSeparator(separator))
                .readValues(text)) {
      while (rows.hasNextValue()) {
        records.add(rows.nextValue());
      }
    }
    return records;
  }

  private static List<SequencedMap<String, Object>> linesOfFields(Path file, List<String> columns) {
    if (columns.isEmpty()) {
      throw new DataException(
          file
              + ": is text, whose lines have no names; name in columns the lines that make a"
              + " record, or use .jsonl, .json, .csv, .tsv or .parquet");
    }
    List<String> lines = lines(file);
    if (lines.size() % columns.size() != 0) {
      throw new DataException(
          "%s: has %d lines, which is no multiple of the %d that columns names"
              .formatted(file, lines.size(), columns.size()));
    }
    List<SequencedMap<String, Object>> records = new ArrayList<>();
    for (int first = 0; first < lines.size(); first += columns.size()) {
      SequencedMap<String, Object> fields = new LinkedHashMap<>();
      for (int i = 0; i < columns.size(); i++) {
        fields.put(columns.get(i), lines.get(first + i));
      }
      records.add(fields);
    }
    return records;
  }

  private static List<SequencedMap<String, Object>> parquet(Path file) throws IOException {
    try (ParquetRows rows = ParquetRows.open(file)) {
      return Stream.generate(rows::next).takeWhile(Optional::isPresent).map(Optional::get).toList();
    }
  }
}
