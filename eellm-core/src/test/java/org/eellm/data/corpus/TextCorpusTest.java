package org.eellm.data.corpus;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.github.luben.zstd.ZstdOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.zip.GZIPOutputStream;
import org.eellm.data.DataException;
import org.eellm.data.corpus.Corpus.DocumentChunk;
import org.eellm.data.corpus.TextCorpus.Format;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.tukaani.xz.LZMA2Options;
import org.tukaani.xz.XZOutputStream;

final class TextCorpusTest {
  private static final Format SKIPPING = new Format("<|endoftext|>", Optional.empty(), true);

  @TempDir Path folder;

  @Test
  void json_listOrSequence_isAnObjectADocument() throws IOException {
    write("a.json", "[{\"text\": \"one\"},\n {\"text\": \"two\\n\"}]\n");
    write("b.json", "{\"text\": \"one\"}\n{\n\"text\": \"two\"}\n");
    write("c.json", "[]");
    assertThat(read("a.json")).containsExactly("one", "two\n");
    assertThat(read("b.json")).containsExactly("one", "two");
    assertThat(read("c.json")).isEmpty();
  }

  @Test
  void json_badObjectOrForm_isNamed() throws IOException {
    write("a.json", "[{\"text\": \"one\"},\n {\"other\": 1},\n {\"text\": \"two\"}]");
    assertThatThrownBy(() -> read("a.json"))
        .hasMessageStartingWith(folder.resolve("a.json") + ":2: has no key \"text\" and no chat");
    assertThat(documents(TextCorpus.of(paths("a.json"), SKIPPING))).containsExactly("one", "two");

    write("b.json", "[{\"text\": \"one\"},\n {\"text\" 1}]");
    assertThatThrownBy(() -> documents(TextCorpus.of(paths("b.json"), SKIPPING)))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(folder.resolve("b.json") + ":2: not valid: ")
        .hasMessageNotContaining("\n");
  }

  @Test
  void csv_rows_areDocuments() throws IOException {
    write("a.csv", "id,text\n1,\"one, \"\"two\"\"\nthree\"\n2,four\n3\n");
    assertThatThrownBy(() -> read("a.csv"))
        .hasMessageContaining("a.csv:")
        .hasMessageContaining("text");
    assertThat(documents(TextCorpus.of(paths("a.csv"), SKIPPING)))
        .containsExactly("one, \"two\"\nthree", "four");
  }

  @Test
  void csv_emptyLines_areNoRows() throws IOException {
    write("a.csv", "id,text\n1,one\n\n2,\"\n\ntwo\"\n\n");
    assertThat(read("a.csv")).containsExactly("one", "\n\ntwo");
  }

  @Test
  void csv_promptAndCompletion_areChats() throws IOException {
    write("a.csv", "prompt,completion\nhello,world\n");
    try (Corpus.DocumentReader pass = TextCorpus.of(paths("a.csv"), Format.DEFAULT).open()) {
      assertThat(pass.next().orElseThrow().chat().orElseThrow().messages())
          .containsExactly(
              new Chat.Message("user", "hello", Optional.empty(), false),
              new Chat.Message("assistant", "world", Optional.empty(), true));
    }
  }

  @Test
  void json_textBesideChat_countsUnderItsKeyAlone() throws IOException {
    write("a.jsonl", "{\"text\": \"x\", \"prompt\": \"hello\", \"completion\": \"world\"}\n");
    try (Corpus.DocumentReader pass = TextCorpus.of(paths("a.jsonl"), Format.DEFAULT).open()) {
      assertThat(pass.next().orElseThrow().chat().orElseThrow().messages()).hasSize(2);
    }
    Format key = new Format("", Optional.of("text"), false);
    assertThat(documents(TextCorpus.of(paths("a.jsonl"), key))).containsExactly("x");
    write("b.jsonl", "{\"text\": \"x\", \"messages\": null}\n");
    assertThat(read("b.jsonl")).containsExactly("x");
  }

  @Test
  void json_chatsOfWeights_learnAnswersOfWeightOne() throws IOException {
    write(
        "a.jsonl",
        """
        {"messages": [{"role": "assistant", "content": "a", "weight": 0}, \
        {"role": "user", "content": "b", "name": "ada"}, \
        {"role": "assistant", "content": "c", "weight": 1, "tool_calls": []}], "tools": null}
        """);
    try (Corpus.DocumentReader pass = TextCorpus.of(paths("a.jsonl"), Format.DEFAULT).open()) {
      assertThat(pass.next().orElseThrow().chat().orElseThrow().messages())
          .containsExactly(
              new Chat.Message("assistant", "a", Optional.empty(), false),
              new Chat.Message("user", "b", Optional.of("ada"), false),
              new Chat.Message("assistant", "c", Optional.empty(), true));
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '^',
      textBlock =
          """
          'tools': [{'type': 'function'}]     |                                   | "tools" is not supported in chats
          'functions': [{'name': 'f'}]        |                                   | "functions" is not supported in chats
          'system': 'be brief'                |                                   | "system" is not supported in chats
          'id': 1                             | 'tool_calls': [{'id': '1'}]       | "messages[1].tool_calls" is not supported in chats
          'id': 1                             | 'function_call': {'name': 'f'}    | "messages[1].function_call" is not supported in chats
          'id': 1                             | 'reasoning_content': 'hm'         | "messages[1].reasoning_content" is not supported in chats
          'id': 1                             | 'weight': 0.5                     | messages[1].weight is neither 0 nor 1
          'id': 1                             | 'weight': 0                       | the chat has no message of the assistant to learn from
          """)
  void json_chatsWithWhatIsNotHonoured_areRefusedByName(
      String beside, String within, String message) throws IOException {
    String object =
        "{%s, 'messages': [{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'b'%s}]}"
            .formatted(beside, within == null ? "" : ", " + within);
    write("a.jsonl", object.replace('\'', '"'));
    assertThatThrownBy(() -> read("a.jsonl"))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(folder.resolve("a.jsonl") + ":1: " + message);
  }

  @Test
  void json_listsBehindEachOther_areAllRead() throws IOException {
    write("a.json", "[{\"text\": \"one\"}]\n[] [{\"text\": \"two\"}] {\"text\": \"three\"}");
    assertThat(read("a.json")).containsExactly("one", "two", "three");
    write("b.json", "[{\"text\": \"one\"}]]");
    assertThatThrownBy(() -> read("b.json")).hasMessageContaining("b.json:1: not valid: ");
  }

  @Test
  void parquet_datesTimesUuidsAndMaps_areRead() throws IOException {
    try (ParquetRows rows = ParquetRows.open(table("types.parquet"))) {
      assertThat(rows.next().orElseThrow())
          .containsExactly(
              Map.entry("text", "one"),
              Map.entry("day", "2024-02-29"),
              Map.entry("at", "2024-02-29T12:30:00Z"),
              Map.entry("id", "00112233-4455-6677-8899-aabbccddeeff"),
              Map.entry("counts", Map.of("a", 1, "b", 2)));
      assertThat(rows.next().orElseThrow()).containsExactly(Map.entry("text", "two"));
    }
    assertThat(read("types.parquet")).containsExactly("one", "two");
    table("variant.parquet");
    assertThatThrownBy(() -> read("variant.parquet"))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("the column event has values of the type")
        .hasMessageEndingWith("; leave it out");
  }

  private Path table(String name) throws IOException {
    try (InputStream table = TextCorpusTest.class.getResourceAsStream("/" + name)) {
      Files.copy(table, folder.resolve(name), StandardCopyOption.REPLACE_EXISTING);
    }
    return folder.resolve(name);
  }

  @Test
  void markdown_isText() throws IOException {
    write("a.md", "# One\n\ntwo\n");
    assertThat(read("a.md")).containsExactly("# One\n\ntwo");
  }

  @Test
  void parquet_rows_areDocuments() throws IOException {
    table("table.parquet");
    TextCorpus corpus =
        TextCorpus.of(paths("table.parquet"), new Format("", Optional.of("name"), false));
    assertThat(documents(corpus)).hasSize(4).startsWith("plain");
    try (Corpus.DocumentReader pass = corpus.open()) {
      while (pass.next().isPresent()) {
        assertThat(pass.position()).isLessThanOrEqualTo(corpus.size());
      }
      assertThat(pass.position()).isEqualTo(corpus.size());
    }
    write("b.parquet", "PAR1 no");
    assertThatThrownBy(() -> read("b.parquet"))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("b.parquet: cannot be read: ");
  }

  @Test
  void text_separators_divideDocuments() throws IOException {
    write(
        "a.txt", "<|endoftext|>\none\ntwo\n\n<|endoftext|>\n<|endoftext|>\nthree <|endoftext|>\n");
    assertThat(read("a.txt")).containsExactly("one\ntwo\n", "three <|endoftext|>");
  }

  @Test
  void text_noSeparator_isOneDocument() throws IOException {
    write("a.txt", "one\n\ntwo");
    assertThat(read("a.txt")).containsExactly("one\n\ntwo");
  }

  @Test
  void text_otherSeparator_isUsed() throws IOException {
    write("a.txt", "one\ntwo\n\n\nthree\n");
    assertThat(documents(TextCorpus.of(paths("a.txt"), new Format("", Optional.empty(), false))))
        .containsExactly("one\ntwo", "three");
    assertThatThrownBy(() -> new Format("a\n", Optional.empty(), false))
        .hasMessageStartingWith("--separator: holds a line end");
  }

  @Test
  void text_markAndCarriageReturns_areNoText() throws IOException {
    write("a.txt", "\uFEFFone\r\n<|endoftext|>\r\ntwo\r\nthree\rfour\r\n");
    assertThat(read("a.txt")).containsExactly("one", "two\nthree\rfour");
  }

  @Test
  void text_hugeDocument_comesInPieces() throws IOException {
    Random random = new Random(1);
    StringBuilder lines = new StringBuilder("first");
    while (lines.length() < 3 * TextCorpus.PIECE_LENGTH) {
      lines.append('\n').append("é🦙x ".repeat(random.nextInt(100)));
    }
    String oneLine = "é🦙x".repeat(TextCorpus.PIECE_LENGTH);
    write("a.txt", lines + "\n<|endoftext|>\n" + oneLine);

    List<DocumentChunk> pieces = pieces(TextCorpus.of(paths("a.txt"), Format.DEFAULT));
    assertThat(joined(pieces)).containsExactly(lines.toString(), oneLine);
    assertThat(pieces).hasSizeGreaterThan(6);
    assertThat(pieces)
        .allSatisfy(
            piece -> assertThat(piece.text().length()).isLessThan(2 * TextCorpus.PIECE_LENGTH));
    assertThat(pieces.get(1).text()).startsWith("\n");
    assertThat(pieces.stream().filter(DocumentChunk::startsDocument)).hasSize(2);
    assertThat(pieces.getFirst().startsDocument()).isTrue();
  }

  /** Many tokenizers have words that go on over line ends, such as a stop and two of these. */
  @ParameterizedTest
  @ValueSource(strings = {"a.txt", "a.jsonl"})
  void pieces_endBehindWordsWhereThatIsNear(String name) throws IOException {
    String text = "one; two.\n\n\nand three\nfour;\n  five.\n".repeat(10_000);
    String json = "{\"text\": \"%s\"}".formatted(text.replace("\n", "\\n"));
    write(name, name.endsWith(".txt") ? text : json);

    List<DocumentChunk> pieces = pieces(TextCorpus.of(paths(name), Format.DEFAULT));
    assertThat(pieces).hasSizeGreaterThan(3);
    assertThat(pieces.subList(0, pieces.size() - 1))
        .allSatisfy(piece -> assertThat(piece.text()).endsWith("and three"));
  }

  @Test
  void text_lineLengthsAroundTheBuffer_areRead() throws IOException {
    for (int length = TextCorpus.PIECE_LENGTH - 3;
        length <= TextCorpus.PIECE_LENGTH + 3;
        length++) {
      String line = "x".repeat(length - 1) + "é";
      write("a.txt", line + "\n<|endoftext|>\n" + line);
      assertThat(read("a.txt")).containsExactly(line, line);
    }
  }

  @Test
  void json_keyAndBlankLines() throws IOException {
    write(
        "a.jsonl",
        """
        {"text": "one \\u00e9 \\ud83e\\udd99\\n", "id": 1}

        {"id": {"deep": []}, "text": ""}
        {"text":"three"}\
        """);
    assertThat(read("a.jsonl")).containsExactly("one é 🦙\n", "", "three");

    write("b.jsonl", "{\"content\": \"x\"}\n");
    assertThat(
            documents(
                TextCorpus.of(paths("b.jsonl"), new Format("", Optional.of("content"), false))))
        .containsExactly("x");
  }

  @Test
  void json_longText_comesInPieces() throws IOException {
    String text = ("word ".repeat(30) + "\\n").repeat(10_000) + "🦙".repeat(300_000);
    write("a.jsonl", "{\"text\": \"" + text + "\"}\n{\"text\": \"b\"}\n");
    List<DocumentChunk> pieces = pieces(TextCorpus.of(paths("a.jsonl"), Format.DEFAULT));
    assertThat(joined(pieces)).containsExactly(text.replace("\\n", "\n"), "b");
    assertThat(pieces)
        .allSatisfy(
            piece ->
                assertThat(piece.text().length()).isLessThanOrEqualTo(TextCorpus.PIECE_LENGTH));
    assertThat(pieces.get(1).text()).startsWith("\n");
    assertThat(pieces.stream().filter(DocumentChunk::startsDocument)).hasSize(2);
    assertThat(pieces.getFirst().startsDocument()).isTrue();
  }

  @Test
  void json_badLine_isNamed() throws IOException {
    assertBadLine("{\"text\": \"b\"", "not valid JSON: it ends too early");
    assertBadLine("{\"text\": \"b\"} {}", "not valid JSON: something follows its one value");
    assertBadLine("[1]", "is no JSON object");
    assertBadLine(
        "{\"content\": \"b\", \"id\": 3}",
        "has no key \"text\" and no chat but \"content\", \"id\"");
    assertBadLine("{\"text\": 5}", "\"text\" is no string");
    assertBadLine("{\"text\": null}", "\"text\" is no string");
    assertBadLine("{\"text\": \"\\ud83e\"}", "\"text\" has half a surrogate pair");
    assertBadLine("[".repeat(5000), "not valid JSON: it is nested too deep");
  }

  private void assertBadLine(String line, String message) throws IOException {
    String content = "{\"text\": \"a\"}\n" + line + "\n{\"text\": \"c\"}\n";
    write("bad.jsonl", content);
    assertThatThrownBy(() -> read("bad.jsonl"))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(folder.resolve("bad.jsonl") + ":2: " + message)
        .hasMessageEndingWith("--skip-bad-lines")
        .hasMessageNotContaining("\n");

    TextCorpus skipping = TextCorpus.of(paths("bad.jsonl"), SKIPPING);
    try (Corpus.DocumentReader pass = skipping.open()) {
      assertThat(pass.next()).contains(DocumentChunk.document("a"));
      assertThat(pass.next()).contains(DocumentChunk.document("c"));
      assertThat(pass.next()).isEmpty();
      assertThat(pass.skippedLines()).isEqualTo(1);
    }
  }

  @Test
  void text_notUtf8_isNamed() throws IOException {
    Path file = folder.resolve("latin.txt");
    Files.write(file, "eins\nzw\u00F6lf\ndrei\n".getBytes(StandardCharsets.ISO_8859_1));
    assertThatThrownBy(() -> read("latin.txt"))
        .hasMessage(
            file
                + ":2: not UTF-8 at byte 7 of the text (0xF6); convert the file to UTF-8, for"
                + " example with iconv");
    try (Corpus.DocumentReader pass = TextCorpus.of(paths("latin.txt"), SKIPPING).open()) {
      assertThat(pass.next()).contains(DocumentChunk.document("eins\ndrei"));
      assertThat(pass.skippedLines()).isEqualTo(1);
    }

    Files.write(
        folder.resolve("latin.jsonl"),
        "{\"text\": \"\u00F6\"}".getBytes(StandardCharsets.ISO_8859_1));
    assertThatThrownBy(() -> read("latin.jsonl"))
        .hasMessageContaining("latin.jsonl:1: not valid JSON: it is not UTF-8");
    Files.write(folder.resolve("wide.txt"), "wide".getBytes(StandardCharsets.UTF_16));
    assertThatThrownBy(() -> read("wide.txt")).hasMessageContaining("not UTF-8 at byte 0");
  }

  @Test
  void compressed_allKinds_areRead() throws IOException {
    String text = "one\n<|endoftext|>\ntwo\n";
    for (String kind : List.of("gz", "xz", "zst")) {
      writeCompressed("a.txt." + kind, kind, text);
      assertThat(read("a.txt." + kind)).containsExactly("one", "two");
      writeCompressed("a.jsonl." + kind, kind, "{\"text\": \"three\"}\n");
      assertThat(read("a.jsonl." + kind)).containsExactly("three");
    }
  }

  @Test
  void compressed_severalMembers_areReadToTheEnd() throws IOException {
    for (String kind : List.of("gz", "xz", "zst")) {
      ByteArrayOutputStream both = new ByteArrayOutputStream();
      both.write(compressed(kind, "one\n"));
      both.write(compressed(kind, "two\n"));
      Files.write(folder.resolve("a.txt." + kind), both.toByteArray());
      assertThat(read("a.txt." + kind)).containsExactly("one\ntwo");
    }
  }

  @Test
  void gzip_secondMemberDamaged_isNamed() throws IOException {
    byte[] first = compressed("gz", "one\n");
    byte[] second = compressed("gz", "two\n");
    ByteArrayOutputStream both = new ByteArrayOutputStream();
    both.write(first);
    second[0] ^= 1;
    both.write(second);
    Path file = folder.resolve("members.txt.gz");
    Files.write(file, both.toByteArray());
    assertThatThrownBy(() -> read("members.txt.gz"))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(file + ": cannot be decompressed, it is damaged or cut short: ");
  }

  @Test
  void compressed_damaged_isNamed() throws IOException {
    byte[] noise = new byte[50_000];
    new Random(2).nextBytes(noise);
    String text = HexFormat.of().formatHex(noise);
    for (String kind : List.of("gz", "xz", "zst")) {
      byte[] whole = compressed(kind, text);
      byte[] flipped = whole.clone();
      flipped[whole.length / 2] ^= 0x55;
      byte[] cut = Arrays.copyOf(whole, whole.length / 2);
      byte[] foreign = "not compressed at all, just text".getBytes(StandardCharsets.UTF_8);
      for (byte[] damaged : List.of(flipped, cut, foreign)) {
        Path file = folder.resolve("damaged.txt." + kind);
        Files.write(file, damaged);
        assertThatThrownBy(() -> read("damaged.txt." + kind))
            .isInstanceOf(DataException.class)
            .hasMessageStartingWith(file + ": cannot be decompressed, it is damaged or cut short: ")
            .hasMessageNotContaining("\n");
      }
    }
  }

  @Test
  void inputs_foldersAndGlobs_areSorted() throws IOException {
    write("b/2.txt", "b2");
    write("b/deep/1.txt", "b1");
    write("a/3.jsonl", "{\"text\": \"a3\"}");
    write("a/README.rst", "no corpus");
    write("z.txt", "z");

    assertThat(read(".")).containsExactly("a3", "b2", "b1", "z");
    assertThat(read("b")).containsExactly("b2", "b1");
    assertThat(read("z.txt", "a")).containsExactly("z", "a3");
    assertThat(read("*/*.txt")).containsExactly("b2");
    assertThat(read("**/*.{txt,jsonl}")).containsExactly("a3", "b2", "b1");
    assertThat(read("[yz].t?t")).containsExactly("z");
  }

  @Test
  void inputs_linkedFolder_isFollowed() throws IOException {
    write("real/1.txt", "one");
    Files.createSymbolicLink(folder.resolve("link"), folder.resolve("real"));
    assertThat(read("link")).containsExactly("one");
  }

  @Test
  void inputs_whatIsNotThere_isNamed() throws IOException {
    write("a.rst", "text");
    Files.createDirectory(folder.resolve("empty"));
    assertBadInput("missing.txt", "no such file or folder");
    assertBadInput("empty", "holds no file named .txt, .md, .jsonl");
    assertBadInput("*.txt", "holds no file named .txt, .md, .jsonl");
    assertBadInput("nowhere/*.txt", "there is no folder");
    assertBadInput("a.rst", "not a kind of file that is read");
    assertBadInput("{a.txt", "not a glob: Missing '}");
    assertBadInput("a\0.txt", "not a path: Nul character not allowed");
    assertThatThrownBy(() -> TextCorpus.of(List.of(" "), Format.DEFAULT))
        .hasMessageContaining("an input is empty");
  }

  private void assertBadInput(String input, String message) {
    assertThatThrownBy(() -> read(input))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(folder + "/" + input)
        .hasMessageContaining(message);
  }

  @Test
  void pass_position_growsToTheSize() throws IOException {
    writeCompressed("a.txt.xz", "xz", "one\n".repeat(100_000));
    write("b.txt", "two");
    TextCorpus corpus = TextCorpus.of(paths("."), Format.DEFAULT);
    try (Corpus.DocumentReader pass = corpus.open()) {
      long last = 0;
      while (pass.next().isPresent()) {
        assertThat(pass.position()).isGreaterThanOrEqualTo(last);
        last = pass.position();
      }
      assertThat(pass.position()).isEqualTo(corpus.size());
    }
  }

  private List<String> read(String... inputs) {
    return documents(TextCorpus.of(paths(inputs), Format.DEFAULT));
  }

  private List<String> paths(String... names) {
    return Arrays.stream(names).map(name -> folder + "/" + name).toList();
  }

  private static List<String> documents(Corpus corpus) {
    return joined(pieces(corpus));
  }

  private static List<DocumentChunk> pieces(Corpus corpus) {
    List<DocumentChunk> pieces = new ArrayList<>();
    try (Corpus.DocumentReader pass = corpus.open()) {
      for (Optional<DocumentChunk> piece = pass.next(); piece.isPresent(); piece = pass.next()) {
        pieces.add(piece.get());
      }
    }
    return pieces;
  }

  private static List<String> joined(List<DocumentChunk> pieces) {
    List<String> documents = new ArrayList<>();
    StringBuilder document = new StringBuilder();
    for (DocumentChunk piece : pieces) {
      document.append(piece.text());
      if (piece.endsDocument()) {
        documents.add(document.toString());
        document.setLength(0);
      }
    }
    assertThat(document).isEmpty();
    return documents;
  }

  private void write(String name, String content) throws IOException {
    Path file = folder.resolve(name);
    Files.createDirectories(file.getParent());
    Files.writeString(file, content);
  }

  private void writeCompressed(String name, String kind, String content) throws IOException {
    Files.write(folder.resolve(name), compressed(kind, content));
  }

  private static byte[] compressed(String kind, String content) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (OutputStream out =
        switch (kind) {
          case "gz" -> new GZIPOutputStream(bytes);
          case "xz" -> new XZOutputStream(bytes, new LZMA2Options());
          default -> new ZstdOutputStream(bytes).setChecksum(true);
        }) {
      out.write(content.getBytes(StandardCharsets.UTF_8));
    }
    return bytes.toByteArray();
  }
}
