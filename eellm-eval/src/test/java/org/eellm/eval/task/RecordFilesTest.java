package org.eellm.eval.task;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SequencedMap;
import java.util.stream.IntStream;
import org.eellm.data.DataException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Tables that DuckDB wrote ({@code make_sets.js}), and such as nobody should write. */
final class RecordFilesTest {
  private static final String TWO_LINES = "two\nlines";

  @TempDir private Path folder;

  private static Path table(String name) {
    try {
      return Path.of(
          Objects.requireNonNull(RecordFilesTest.class.getResource("/org/eellm/eval/sets/" + name))
              .toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"table.csv", "table.csv.gz", "table.tsv"})
  void read_separatedValues_areTextsByTheHeadersNames(String name) {
    List<SequencedMap<String, Object>> records = RecordFiles.read(table(name), List.of());

    assertThat(records).hasSize(4);
    assertThat(records.getFirst())
        .containsExactly(
            Map.entry("name", "plain"),
            Map.entry("full name", "one"),
            Map.entry("n", "1"),
            Map.entry("big", "9007199254740993"),
            Map.entry("x", "0.5"),
            Map.entry("f", "0.25"),
            Map.entry("flag", "true"));
    assertThat(records.get(1))
        .containsEntry("name", "a \"quoted\", text")
        .containsEntry("full name", TWO_LINES);
    assertThat(records.get(2))
        .containsEntry("name", "Größe €")
        .containsEntry("full name", "tab\there")
        .containsEntry("n", "")
        .containsEntry("flag", "");
    assertThat(records.get(3)).containsEntry("name", "").containsEntry("full name", " spaced ");
  }

  /** What is missing is left out; numbers keep their type. */
  @Test
  void read_parquet_hasEveryKindOfValue() {
    List<SequencedMap<String, Object>> records =
        RecordFiles.read(table("table.parquet"), List.of());

    assertThat(records).hasSize(4);
    assertThat(records.getFirst())
        .containsExactly(
            Map.entry("name", "plain"),
            Map.entry("full name", "one"),
            Map.entry("n", 1),
            Map.entry("big", 9007199254740993L),
            Map.entry("x", 0.5),
            Map.entry("f", 0.25f),
            Map.entry("flag", true));
    assertThat(records.get(1))
        .containsEntry("name", "a \"quoted\", text")
        .containsEntry("full name", TWO_LINES)
        .containsEntry("n", -2)
        .containsEntry("flag", false);
    assertThat(records.get(2))
        .containsExactly(Map.entry("name", "Größe €"), Map.entry("full name", "tab\there"));
    assertThat(records.get(3)).containsEntry("name", "").containsEntry("full name", " spaced ");
  }

  @Test
  void read_parquetOfManyRowGroups_keepsTheOrder() {
    assertThat(RecordFiles.read(table("many.parquet"), List.of()).stream().map(r -> r.get("i")))
        .containsExactlyElementsOf(
            IntStream.range(0, 30_000).mapToObj(i -> (Object) (long) i).toList());
  }

  @Test
  void read_structsAndLists_areMapsAndLists() {
    SequencedMap<String, Object> record =
        RecordFiles.read(table("narrativeqa/test-00000-of-00001.parquet"), List.of()).get(1);

    assertThat(record).containsOnlyKeys("document", "question", "answers");
    assertThat(record.get("answers"))
        .isEqualTo(
            List.of(
                Map.of("text", "Ben", "tokens", List.of("Ben")),
                Map.of("text", "Ben 2", "tokens", List.of("Ben", "2"))));
    assertThat(((Map<?, ?>) Objects.requireNonNull(record.get("document"))).get("file_size"))
        .isEqualTo(9);
  }

  @ParameterizedTest
  @CsvSource({
    "table.parquet, 0.5",
    "table.parquet, 0",
    "many.parquet, 0.9",
    "table.csv.gz, 0.5",
  })
  void read_cutFile_isRefusedInOneLine(String name, double share) throws IOException {
    byte[] whole = Files.readAllBytes(table(name));
    Path cut = folder.resolve(name);
    Files.write(cut, Arrays.copyOf(whole, (int) (whole.length * share)));

    assertRefused(cut, "");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "a.jsonl | {\"a\": 1}~{\"a\": | :2: is no jsonl: it ends too early",
        "a.jsonl | {\"a\": 1} {\"a\": 2} | :1: is no jsonl: something follows its one value",
        "a.jsonl | {\"a\": 1, \"a\": 2} | :1: is no jsonl: the key 'a' is there twice",
        "a.jsonl | 7 | :1: is no JSON object",
        "a.json | [{\"a\": 1}, 2] | : record 2: is no JSON object",
        "a.json | {\"a\": 1}~{\"a\": 2} | name it .jsonl if each of its lines is one",
        "a.json | {\"a\": {\"b\": 1}} | : is not one JSON array of records",
        "a.json | [{\"a\": 1}]~[{\"a\": 2}] | : is not one JSON array of records",
        "a.json | [{\"a\": 1]~ | :1: is no json: a bracket is closed by one of another kind",
        "a.parquet | PAR1 is not all of it PAR1 | : cannot be read: Invalid footer",
        "a.txt | a line | : is text",
      })
  void read_whatItsNameDoesNotSay_isRefusedInOneLine(String name, String content, String message)
      throws IOException {
    assertRefused(Files.writeString(folder.resolve(name), content.replace('~', '\n')), message);
  }

  @ParameterizedTest
  @ValueSource(strings = {"a.jsonl", "a.json", "a.csv"})
  void read_notUtf8_isRefused(String name) throws IOException {
    byte[] latin = "[{\"a\": \"\u00e9\"}]".getBytes(StandardCharsets.ISO_8859_1);
    assertRefused(Files.write(folder.resolve(name), latin), "not UTF-8 text");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {"a.jsonl | {\"a\": \"1\"}", "a.json | [{\"a\": \"1\"}]", "a.csv | a~1"})
  void read_byteOrderMark_isNoPartOfTheText(String name, String content) throws IOException {
    Path file = Files.writeString(folder.resolve(name), "\uFEFF" + content.replace('~', '\n'));
    assertThat(RecordFiles.read(file, List.of()))
        .containsExactly(new LinkedHashMap<>(Map.of("a", "1")));
  }

  private static void assertRefused(Path file, String message) {
    assertThatThrownBy(() -> RecordFiles.read(file, List.of()))
        .isInstanceOf(DataException.class)
        .message()
        .startsWith(file.toString())
        .contains(message)
        .doesNotContain("\n", "REDACTED");
  }
}
