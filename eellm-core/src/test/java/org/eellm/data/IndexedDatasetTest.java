package org.eellm.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.eellm.file.ChecksumFile;
import org.eellm.golden.SharedFiles;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

final class IndexedDatasetTest {
  @TempDir Path folder;

  @Test
  void write_smallDataset_isTheFormatByteForByte() throws IOException {
    write("small", 300, new int[] {1, 256}, new int[] {299});
    assertThat(hex("small.bin")).isEqualTo("01000001" + "2b01");
    assertThat(hex("small.idx"))
        .isEqualTo(
            "4d4d4944494458"
                + "0000" // magic
                + "0100000000000000" // version
                + "08" // uint16
                + "0200000000000000" // sequences
                + "0300000000000000" // document boundaries
                + "02000000"
                + "01000000" // lengths
                + "0000000000000000"
                + "0400000000000000" // offsets
                + "0000000000000000"
                + "0100000000000000"
                + "0200000000000000");
  }

  @Test
  void write_vocabularySize_choosesTheType() throws IOException {
    write("short", 65_499, new int[] {65_498});
    write("wide", 65_500, new int[] {65_499});
    assertThat(hex("short.bin")).isEqualTo("daff");
    assertThat(hex("wide.bin")).isEqualTo("dbff0000");
    for (String name : List.of("short", "wide")) {
      try (IndexedDataset dataset = IndexedDataset.open(folder.resolve(name))) {
        assertThat(dataset.sequence(0)).containsExactly(name.equals("short") ? 65_498 : 65_499);
      }
    }
  }

  @Test
  void copy_ofAnotherWritersDataset_isByteIdentical() throws IOException {
    Random random = new Random(4);
    int[][] documents = new int[1_000][];
    Arrays.setAll(documents, i -> random.ints(1 + random.nextInt(900), 0, 50_257).toArray());
    Path original = folder.resolve("original");
    writeByTheFormat(original, documents);

    assertCopied(
        original, documents.length, Arrays.stream(documents).mapToLong(d -> d.length).sum());
  }

  static Stream<Path> megatron() {
    return SharedFiles.find("data/megatron").stream();
  }

  /** Megatron-DeepSpeed's own dataset for tests, where it is at hand. */
  @ParameterizedTest(allowZeroInvocations = true)
  @MethodSource("megatron")
  void copy_ofMegatronsDataset_isByteIdentical(Path megatron) {
    Path original = megatron.resolve("meg-gpt2-openwebtext_text_document");
    assertCopied(original, 1_000, 1_361_845);
  }

  @Test
  void check_writtenDataset_findsEveryChange() throws IOException {
    Path prefix = folder.resolve("set");
    writeByTheFormat(folder.resolve("original"), new int[][] {{1, 2, 3}, {4, 5}});
    assertCopied(folder.resolve("original"), 2, 5);
    for (String ending : List.of(".bin", ".idx", ".checksums")) {
      Files.move(folder.resolve("copy" + ending), folder.resolve("set" + ending));
    }
    assertThatThrownBy(() -> check(prefix, 6))
        .hasMessageContaining("set.checksums: is damaged or of files with other names");
    Files.delete(folder.resolve("set.checksums"));
    String checksum = check(prefix, 6).orElseThrow();

    assertCopied(prefix, 2, 5);
    Path copy = folder.resolve("copy");
    assertThat(check(copy, 6)).contains(checksum);
    Path tokens = folder.resolve("copy.bin");
    byte[] bytes = Files.readAllBytes(tokens);
    bytes[0] = 2;
    Files.write(tokens, bytes);
    assertThatThrownBy(() -> check(copy, 6))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("copy.bin: is not as it was written (10 bytes with checksum ")
        .hasMessageContaining(", copy.checksums has 10 with ");
    System.setProperty(ChecksumFile.PROPERTY, "skip");
    try {
      assertThat(check(copy, 6)).contains(checksum);
    } finally {
      System.clearProperty(ChecksumFile.PROPERTY);
    }
  }

  private static Optional<String> check(Path prefix, int vocabSize) {
    try (IndexedDataset dataset = IndexedDataset.open(prefix)) {
      return dataset.check(vocabSize);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 7, 64})
  void checkPart_ofAllRanks_isTheWholeChecksumAndFindsWhatIsWrong(int ranks) throws IOException {
    int[][] documents = new int[20][];
    Arrays.setAll(documents, document -> IntStream.range(0, 3 * document + 1).toArray());
    Path prefix = folder.resolve("shared");
    writeByTheFormat(prefix, documents);
    Optional<String> whole = check(prefix, 60);
    try (IndexedDataset dataset = IndexedDataset.open(prefix)) {
      List<String> parts =
          IntStream.range(0, ranks).mapToObj(rank -> dataset.checkPart(60, rank, ranks)).toList();
      assertThat(dataset.requireWhole(parts)).isEqualTo(whole);
      assertThatThrownBy(
              () -> IntStream.range(0, ranks).forEach(rank -> dataset.checkPart(57, rank, ranks)))
          .hasMessageContaining("document 19 has token 57");
    }
    Path index = folder.resolve("shared.idx");
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(index)).order(ByteOrder.LITTLE_ENDIAN);
    bytes.putInt(34 + 4 * 11, 5); // the length of the twelfth document
    Files.write(index, bytes.array());
    try (IndexedDataset dataset = IndexedDataset.open(prefix)) {
      assertThatThrownBy(
              () -> IntStream.range(0, ranks).forEach(rank -> dataset.checkPart(60, rank, ranks)))
          .hasMessageContaining("shared.idx: sequence 12 starts at byte ");
    }
  }

  @Test
  void check_tokenBeyondTheVocabulary_isNamedWithItsDocument() throws IOException {
    Path prefix = folder.resolve("set");
    writeByTheFormat(prefix, new int[][] {{1, 2, 3}, {4, 5}});
    assertThatThrownBy(() -> check(prefix, 5))
        .isInstanceOf(DataException.class)
        .hasMessageContaining(
            "set.bin: document 1 has token 5, outside the model's vocabulary of 5");
  }

  @Test
  void read_fileCutShortMeanwhile_namesIt() throws IOException {
    Path prefix = folder.resolve("set");
    writeByTheFormat(prefix, new int[][] {new int[100_000]});
    try (IndexedDataset dataset = IndexedDataset.open(prefix)) {
      Files.write(folder.resolve("set.bin"), new byte[0]);
      assertThatThrownBy(() -> dataset.read(50_000, new int[100], 0, 100))
          .isInstanceOf(DataException.class)
          .hasMessageContaining("set.bin: cannot be read any more, it was cut short");
    }
  }

  @Test
  void open_lastDocumentEndsBeforeTheLastSequence_isRefused() throws IOException {
    Path prefix = folder.resolve("set");
    writeByTheFormat(prefix, new int[][] {{1, 2, 3}, {4, 5}});
    Path index = folder.resolve("set.idx");
    byte[] bytes = Files.readAllBytes(index);
    bytes[bytes.length - 8] = 1;
    Files.write(index, bytes);
    assertThatThrownBy(() -> check(prefix, 6))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("set.idx: the last document ends at sequence 1 of 2");
  }

  private void assertCopied(Path original, long documents, long tokens) {
    try (IndexedDataset dataset = IndexedDataset.open(original);
        IndexedDatasetWriter writer = IndexedDatasetWriter.create(folder.resolve("copy"), 50_257)) {
      assertThat(dataset.documents()).isEqualTo(documents);
      assertThat(dataset.tokens()).isEqualTo(tokens);
      for (long i = 0; i < dataset.sequences(); i++) {
        writer.add(dataset.sequence(i));
        writer.endDocument();
      }
      writer.finish();
      writer.commit();
    }
    for (String ending : List.of(".bin", ".idx")) {
      assertThat(folder.resolve("copy" + ending))
          .hasSameBinaryContentAs(original.resolveSibling(original.getFileName() + ending));
    }
  }

  /** A dataset of one sequence a document, as Megatron describes its files. */
  private static void writeByTheFormat(Path prefix, int[][] documents) throws IOException {
    int tokens = Arrays.stream(documents).mapToInt(document -> document.length).sum();
    ByteBuffer bin = ByteBuffer.allocate(2 * tokens).order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer index =
        ByteBuffer.allocate(34 + 20 * documents.length + 8).order(ByteOrder.LITTLE_ENDIAN);
    index.put("MMIDIDX\0\0".getBytes(StandardCharsets.US_ASCII)).putLong(1).put((byte) 8);
    index.putLong(documents.length).putLong(documents.length + 1);
    Arrays.stream(documents).forEach(document -> index.putInt(document.length));
    for (int[] document : documents) {
      index.putLong(bin.position());
      Arrays.stream(document).forEach(token -> bin.putShort((short) token));
    }
    LongStream.rangeClosed(0, documents.length).forEach(index::putLong);
    Files.write(prefix.resolveSibling(prefix.getFileName() + ".bin"), bin.array());
    Files.write(prefix.resolveSibling(prefix.getFileName() + ".idx"), index.array());
  }

  @Test
  void read_manySequences_areFoundByToken() {
    int[][] documents = new int[50_000][];
    Arrays.setAll(documents, i -> IntStream.range(0, i % 4).map(j -> (i + j) % 500).toArray());
    write("many", 500, documents);
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("many"))) {
      assertThat(dataset.tokens()).isEqualTo(75_000);
      for (int i = 0; i < documents.length; i++) {
        assertThat(dataset.sequence(i)).isEqualTo(documents[i]);
        for (int j = 0; j < documents[i].length; j++) {
          assertThat(dataset.sequenceAt(dataset.start(i) + j)).isEqualTo(i);
        }
      }
      int[] across = new int[7];
      dataset.read(3, across, 1, 6); // documents 1 to 3 are of lengths 1, 2, 3
      assertThat(across).containsExactly(0, 3, 4, 5, 5, 6, 7);
    }
  }

  @Test
  void open_otherTokenTypes_areRead() throws IOException {
    assertThat(tokensOfType(1, 1, "7fff")).containsExactly(127, 255);
    assertThat(tokensOfType(2, 1, "7f01")).containsExactly(127, 1);
    assertThat(tokensOfType(3, 2, "ff7f0100")).containsExactly(32_767, 1);
    assertThat(tokensOfType(5, 8, "ff7f000000000000" + "0000000001000000"))
        .containsExactly(32_767, -1); // beyond every vocabulary
  }

  private int[] tokensOfType(int code, int bytes, String content) throws IOException {
    write("typed", 300, new int[] {1, 2});
    Files.write(folder.resolve("typed.bin"), HexFormat.of().parseHex(content));
    change("typed.idx", index -> index.put(17, (byte) code));
    assertThat(Files.size(folder.resolve("typed.bin"))).isEqualTo(2L * bytes);
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("typed"))) {
      return dataset.sequence(0);
    }
  }

  @Test
  void open_damagedFiles_areNamed() throws IOException {
    assertBad("missing", "missing.idx: no such file");

    assertBadIndex(index -> index.put(0, (byte) 'X'), "is not an indexed dataset");
    assertBadIndex(index -> index.putLong(9, 2), "has version 2, only 1 is known");
    assertBadIndex(index -> index.put(17, (byte) 7), "has element type 7, which holds no tokens");
    assertBadIndex(index -> index.putLong(18, -1), "counts -1 sequences");
    assertBadIndex(index -> index.putLong(26, 0), "counts 2 sequences and 0 document boundaries");
    assertBadIndex(
        index -> index.putLong(18, 3), "holds 82 bytes, its 3 sequences and 2 documents take 94");
    assertBadIndex(index -> index.putLong(18, Long.MAX_VALUE), "take 110680464442257309");
    assertBadIndex(index -> index.putInt(34, -5), "sequence 0 has length -5");
    assertBadIndex(
        index -> index.putInt(34, 3),
        "sequence 1 starts at byte 4 of .bin, the one before it ends at 6");
    assertBadIndex(index -> index.putLong(42, 2), "sequence 0 starts at byte 2 of .bin");
    assertBadIndex(index -> index.putInt(38, 2), "bad.bin: holds 6 bytes, its index describes 8");
    assertBadIndex(index -> index.putLong(58, 1), "document boundary 0 is sequence 1");
    assertBadIndex(index -> index.putLong(66, -1), "document boundary 1 is sequence -1");
    assertBadIndex(index -> index.putLong(74, 3), "document boundary 2 is sequence 3");
  }

  @Test
  void open_truncatedFiles_areNamedWithTheirSizes() throws IOException {
    write("whole", 300, new int[] {1, 256}, new int[] {299});
    byte[] index = Files.readAllBytes(folder.resolve("whole.idx"));
    byte[] tokens = Files.readAllBytes(folder.resolve("whole.bin"));
    Files.write(folder.resolve("cut.bin"), tokens);
    for (int length = 0; length < index.length; length++) {
      Files.write(folder.resolve("cut.idx"), Arrays.copyOf(index, length));
      assertBad("cut", "cut.idx: holds " + length + " bytes");
    }
    Files.write(folder.resolve("cut.idx"), index);
    for (int length = 0; length < tokens.length; length++) {
      Files.write(folder.resolve("cut.bin"), Arrays.copyOf(tokens, length));
      assertBad("cut", "cut.bin: holds " + length + " bytes, its index describes 6");
    }
  }

  @Test
  void writer_notCommitted_leavesWhatWasThere() throws IOException {
    write("kept", 300, new int[] {1});
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(folder.resolve("kept"), 300)) {
      writer.add(7, 8, 9);
      writer.endDocument();
      writer.finish();
    }
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("kept"));
        Stream<Path> files = Files.list(folder)) {
      assertThat(dataset.sequence(0)).containsExactly(1);
      assertThat(files.map(file -> file.getFileName().toString()))
          .containsExactlyInAnyOrder("kept.bin", "kept.idx", "kept.checksums");
    }
  }

  @Test
  void writer_committedWithoutFinish_isWhole() throws IOException {
    write("finished", 300, new int[] {1, 256}, new int[] {299});
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(folder.resolve("short"), 300)) {
      writer.add(1, 256);
      writer.endDocument();
      writer.add(299);
      writer.endDocument();
      writer.commit();
    }
    assertThat(hex("short.bin")).isEqualTo(hex("finished.bin"));
    assertThat(hex("short.idx")).isEqualTo(hex("finished.idx"));
  }

  @Test
  void mask_goneOrOfAnotherLength_isRefused() throws IOException {
    writeChat("chat");
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("chat"))) {
      assertThat(dataset.isMasked()).isTrue();
      assertThat(IntStream.range(0, 6).filter(dataset::isCounted)).containsExactly(0, 1, 3, 5);
      assertThat(dataset.check(300)).hasValueSatisfying(word -> assertThat(word).contains("-"));
      String whole = dataset.check(300).orElseThrow();
      List<String> parts =
          IntStream.range(0, 3).mapToObj(part -> dataset.checkPart(300, part, 3)).toList();
      assertThat(dataset.requireWhole(parts)).hasValue(whole);
    }
    Path mask = folder.resolve("chat.mask");
    Files.write(mask, new byte[] {1, 1, 1, 1, 0, 1});
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("chat"))) {
      assertThatThrownBy(() -> dataset.check(300))
          .hasMessageStartingWith(mask + ": is not as it was written");
    }
    Files.write(mask, new byte[5]);
    assertBad("chat", "chat.mask: holds 5 bytes beside 6 tokens");
    Files.delete(mask);
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("chat"))) {
      assertThatThrownBy(() -> dataset.check(300))
          .hasMessageStartingWith(mask + ": is not there, other than when the dataset was written");
    }
  }

  @Test
  void writer_textInThePlaceOfChats_leavesNoMask() throws IOException {
    writeChat("same");
    write("same", 300, new int[] {1, 2});
    assertThat(folder.resolve("same.mask")).doesNotExist();
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("same"))) {
      assertThat(dataset.isMasked()).isFalse();
      assertThat(dataset.check(300)).isPresent();
    }
  }

  private void writeChat(String name) {
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(folder.resolve(name), 300)) {
      writer.add(7, 8); // a text in front
      writer.endDocument();
      writer.add(new CountedTokens(new int[] {1, 2, 3}, new boolean[] {false, true, false}));
      writer.add(4);
      writer.endDocument();
      writer.commit();
    }
  }

  @Test
  void writer_committedWithinADocument_isRefusedAndLeavesNothing() throws IOException {
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(folder.resolve("open"), 300)) {
      writer.add(1);
      assertThatThrownBy(writer::commit)
          .isInstanceOf(IllegalStateException.class)
          .hasMessage("a document has not ended");
    }
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).isEmpty();
    }
  }

  @Test
  void writer_whereNothingCanBeWritten_isNamed() throws IOException {
    Files.writeString(folder.resolve("file"), "");
    assertThatThrownBy(() -> IndexedDatasetWriter.create(folder.resolve("file/data"), 300))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(
            folder.resolve("file/data")
                + ": the dataset cannot be written: "
                + folder.resolve("file")
                + " is not a folder");
  }

  private void assertBadIndex(Consumer<ByteBuffer> damage, String message) throws IOException {
    write("bad", 300, new int[] {1, 256}, new int[] {299});
    change("bad.idx", damage);
    assertBad("bad", message);
  }

  private void assertBad(String name, String message) {
    assertThatThrownBy(() -> check(folder.resolve(name), 1000))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(folder.resolve(name) + ".")
        .hasMessageContaining(message);
  }

  private void change(String file, Consumer<ByteBuffer> change) throws IOException {
    byte[] content = Files.readAllBytes(folder.resolve(file));
    change.accept(ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN));
    Files.write(folder.resolve(file), content);
  }

  private void write(String name, int vocabSize, int[]... documents) {
    write(folder.resolve(name), vocabSize, documents);
  }

  static void write(Path prefix, int vocabSize, int[]... documents) {
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(prefix, vocabSize)) {
      for (int[] document : documents) {
        writer.add(document);
        writer.endDocument();
      }
      writer.finish();
      writer.commit();
    }
  }

  private String hex(String file) throws IOException {
    return HexFormat.of().formatHex(Files.readAllBytes(folder.resolve(file)));
  }
}
