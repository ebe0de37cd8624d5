package org.eellm.checkpoint;

import static java.nio.charset.StandardCharsets.UTF_16LE;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.SafetensorsHeader;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SafetensorsTest {
  /** Header and data of a file that Python's safetensors 0.4.5 wrote. */
  private static final String PYTHON_HEADER =
      "{\"__metadata__\":{\"k\":\"é\\\"\\n\"},"
          + "\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
          + "\"z\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[16,16]},"
          + "\"é\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[16,20]},"
          + "\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[20,26]}} ";

  private static final byte[] PYTHON_DATA =
      HexFormat.of().parseHex("0000803f000000c000006040000080400000e040803f00400000");

  @TempDir Path folder;

  @Test
  void open_fileOfThePythonLibrary_givesItsTensors() {
    try (SafetensorsFile file = SafetensorsFile.open(file(PYTHON_HEADER, PYTHON_DATA))) {
      assertThat(file.metadata()).isEqualTo(Map.of("k", "é\"\n"));
      assertThat(file.tensors().keySet()).containsExactly("a", "z", "é", "b");
      assertThat(file.tensors().values())
          .extracting(StoredTensor::shape)
          .containsExactly(List.of(2L, 2L), List.of(0L, 3L), List.of(), List.of(3L));
      assertThat(file.tensors().values())
          .extracting(StoredTensor::type)
          .containsExactly(
              SafetensorsType.F32, SafetensorsType.F32, SafetensorsType.F32, SafetensorsType.BF16);
      assertThat(floats(file, "a")).containsExactly(1, -2, 3.5f, 4);
      assertThat(floats(file, "z")).isEmpty();
      assertThat(floats(file, "é")).containsExactly(7);
      assertThat(file.tensor("b").bytes().toArray(ValueLayout.JAVA_SHORT_UNALIGNED))
          .containsExactly((short) 0x3f80, (short) 0x4000, (short) 0);
    }
  }

  @Test
  void write_tensorsOfAFileOfThePythonLibrary_givesItsBytes() throws IOException {
    Path original = file(PYTHON_HEADER, PYTHON_DATA);
    Path copy = folder.resolve("copy.safetensors");
    try (SafetensorsFile file = SafetensorsFile.open(original)) {
      SafetensorsWriter.write(
          copy,
          file.metadata(),
          file.tensors().entrySet().stream()
              .map(
                  entry -> {
                    StoredTensor tensor = entry.getValue();
                    return TensorSource.of(
                        entry.getKey(), tensor.type(), tensor.shape(), tensor.bytes());
                  })
              .toList());
    }
    assertThat(copy).hasSameBinaryContentAs(original);
  }

  @Test
  void write_contentInPieces_joinsThem() {
    Path path = folder.resolve("pieces.safetensors");
    TensorSource.Content content =
        sink -> {
          sink.write(MemorySegment.ofArray(new byte[] {1, 2}));
          sink.write(MemorySegment.ofArray(new byte[] {3}));
        };
    SafetensorsWriter.write(
        path, Map.of(), List.of(new TensorSource("a", SafetensorsType.U8, List.of(3L), content)));
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertThat(file.tensor("a").bytes().toArray(ValueLayout.JAVA_BYTE)).containsExactly(1, 2, 3);
    }
  }

  @Test
  void write_tensorLargerThanAPiece_writesAllOfIt() {
    Path path = folder.resolve("large.safetensors");
    byte[] bytes = new byte[20_000_003];
    new Random(1).nextBytes(bytes);
    SafetensorsWriter.write(
        path,
        Map.of(),
        List.of(
            TensorSource.of(
                "a",
                SafetensorsType.I8,
                List.of((long) bytes.length),
                MemorySegment.ofArray(bytes))));
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertThat(file.tensor("a").bytes().mismatch(MemorySegment.ofArray(bytes))).isEqualTo(-1);
    }
  }

  @Test
  void write_noTensors_opensAgain() {
    Path path = folder.resolve("empty.safetensors");
    SafetensorsWriter.write(path, Map.of(), List.of());
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertThat(file.tensors()).isEmpty();
      assertThat(file.metadata()).isEmpty();
    }
  }

  @Test
  void write_anyHeader_alignsTheDataToEightBytes() throws IOException {
    for (int length = 1; length <= 8; length++) {
      Path path = folder.resolve(length + ".safetensors");
      SafetensorsWriter.write(path, Map.of("k", "x".repeat(length)), List.of());
      assertThat(Files.size(path) % 8).isZero();
    }
  }

  @Test
  void write_nameTwice_isRefused() {
    TensorSource tensor =
        TensorSource.of("a", SafetensorsType.U8, List.of(1L), MemorySegment.ofArray(new byte[1]));
    assertThatThrownBy(
            () ->
                SafetensorsWriter.write(
                    folder.resolve("x.safetensors"), Map.of(), List.of(tensor, tensor)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'a'");
  }

  @Test
  void write_fewerBytesThanTheShape_isRefused() {
    TensorSource tensor =
        TensorSource.of("a", SafetensorsType.F32, List.of(2L), MemorySegment.ofArray(new byte[4]));
    assertThatThrownBy(
            () ->
                SafetensorsWriter.write(folder.resolve("x.safetensors"), Map.of(), List.of(tensor)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("tensor 'a' gave 4 bytes; F32 of shape [2] has 8");
  }

  @Test
  void write_existingFile_isRefusedAndKept() {
    Path path = file("{}", new byte[0]);
    assertThatThrownBy(() -> SafetensorsWriter.write(path, Map.of(), List.of()))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("exists already");
    SafetensorsFile.open(path).close();
  }

  @Test
  void open_fileBeyondTwoGigabytes_reachesItsLastByte() throws IOException {
    long count = 3L << 30;
    Path path =
        file("{'a':{'dtype':'U8','shape':[%d],'data_offsets':[0,%d]}}".formatted(count, count));
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
      // Sparse: it takes no space on the disk.
      file.setLength(file.length() + count);
      file.seek(file.length() - 1);
      file.write(42);
    }
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      MemorySegment bytes = file.tensor("a").bytes();
      assertThat(bytes.byteSize()).isEqualTo(count);
      assertThat(bytes.get(ValueLayout.JAVA_BYTE, count - 1)).isEqualTo((byte) 42);
    }
  }

  @Test
  void close_openFile_endsAccessToItsTensors() {
    SafetensorsFile file = SafetensorsFile.open(file(PYTHON_HEADER, PYTHON_DATA));
    MemorySegment bytes = file.tensor("a").bytes();
    file.close();
    assertThatThrownBy(() -> bytes.get(ValueLayout.JAVA_BYTE, 0))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void open_missingFile_isRefused() {
    assertRefused(folder.resolve("none.safetensors"), "cannot be read: no such file");
  }

  @Test
  void open_folder_isRefused() {
    assertRefused(folder, "is a folder");
  }

  @Test
  void open_fileShorterThanTheLength_isRefused() throws IOException {
    assertRefused(Files.write(folder.resolve("x.safetensors"), new byte[7]), "has 7 bytes");
    assertRefused(Files.write(folder.resolve("x.safetensors"), new byte[0]), "has 0 bytes");
  }

  @Test
  void open_headerLengthBeyondTheLimit_isRefused() {
    assertRefused(file(100_000_001, "{}"), "100000001 is beyond the format's limit");
    assertRefused(file(-1, "{}"), "18446744073709551615 is beyond the format's limit");
  }

  @Test
  void open_headerLengthBeyondTheFile_isRefused() {
    assertRefused(file(3, "{}"), "length 3 is beyond the file's 10 bytes; the file is truncated");
  }

  @Test
  void open_headerNotUtf8_isRefused() throws IOException {
    byte[] overlongBrace = {(byte) 0xc1, (byte) 0xbb};
    assertRefused(file(2, overlongBrace), "not UTF-8");
    byte[] wide = "{}".getBytes(UTF_16LE);
    assertRefused(file(wide.length, wide), "not valid JSON");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      textBlock =
          """
          {                                                         | not valid JSON
          {}{}                                                      | not valid JSON
                                                                    | not a JSON object
          []                                                        | not a JSON object
          {'a':1}                                                   | 'a' is not described by
          {'__metadata__':[]}                                       | __metadata__ is not a JSON object
          {'__metadata__':{'k':1}}                                  | 'k' is not a text
          {'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]},'a':{'dtype':'U8','shape':[1],'data_offsets':[1,2]}} | the key 'a' is there twice
          {'a':{'dtype':'U8','dtype':'U8','shape':[1],'data_offsets':[0,1]}} | the key 'dtype' is there twice
          {'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1],'x':1}} | unknown key 'x'
          {'a':{'dtype':'F31','shape':[1],'data_offsets':[0,4]}}    | unknown dtype 'F31'; known are BOOL, F4
          {'a':{'shape':[1],'data_offsets':[0,4]}}                  | unknown dtype ''
          {'a':{'dtype':'U8','data_offsets':[0,1]}}                 | shape is not a list
          {'a':{'dtype':'U8','shape':2,'data_offsets':[0,2]}}       | shape is not a list
          {'a':{'dtype':'U8','shape':[-1],'data_offsets':[0,1]}}    | shape holds -1
          {'a':{'dtype':'U8','shape':[1.0],'data_offsets':[0,1]}}   | shape holds 1.0
          {'a':{'dtype':'U8','shape':[9223372036854775808],'data_offsets':[0,1]}} | shape holds 9223372036854775808
          {'a':{'dtype':'U8','shape':[4294967296,4294967296],'data_offsets':[0,0]}} | 'a': the size of shape
          {'a':{'dtype':'F64','shape':[2305843009213693952],'data_offsets':[0,0]}} | 'a': the size of shape
          {'a':{'dtype':'F4','shape':[3],'data_offsets':[0,2]}}     | 12 bits are no whole number of bytes
          {'a':{'dtype':'F32','shape':[1],'data_offsets':[0,2]}}    | takes 4 bytes, but data_offsets [0, 2] hold 2
          {'a':{'dtype':'U8','shape':[1]}}                          | data_offsets is not a list
          {'a':{'dtype':'U8','shape':[1],'data_offsets':[0]}}       | data_offsets [0] is not [begin, end]
          {'a':{'dtype':'U8','shape':[1],'data_offsets':[1,0]}}     | data_offsets [1, 0] is not [begin, end]
          {'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]}}     | end beyond the file's 2 bytes of data; the file is truncated
          {'a':{'dtype':'U8','shape':[2],'data_offsets':[0,2]},'b':{'dtype':'U8','shape':[1],'data_offsets':[1,2]}} | 'b': data_offsets [1, 2] overlap
          {'a':{'dtype':'U8','shape':[1],'data_offsets':[1,2]}}     | leave a hole
          {'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}     | 1 bytes follow the last tensor
          {}                                                        | 2 bytes follow the last tensor
          """)
  void open_brokenRule_isRefusedByName(String header, String message) {
    String json = header == null ? " " : header.replace('\'', '"');
    assertRefused(file(json, new byte[2]), message);
  }

  @Test
  void open_hostileName_leavesTheMessageOnOneShortLine() {
    Path path =
        file("{'%s':{'dtype':'x\\u0007\\n'}}".formatted("n".repeat(60_000)).replace('\'', '"'));
    assertThatThrownBy(() -> SafetensorsFile.open(path))
        .isInstanceOf(CheckpointException.class)
        .message()
        .hasSizeLessThan(1000)
        .doesNotContainPattern("\\p{Cntrl}");
  }

  @Test
  void parse_randomlyChangedHeaders_eitherSucceedsOrRefuses() {
    byte[] valid = PYTHON_HEADER.getBytes(UTF_8);
    String[] scraps = {
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      "\"",
      "null",
      "-1",
      "1e9",
      "0",
      "16",
      "18446744073709551616",
      "\\u0000",
      "\\ud800",
      "\"F32\"",
      "\"F4\"",
      "\"data_offsets\"",
      "\"__metadata__\":"
    };
    Random random = new Random(20);
    int refused = 0;
    int count = 25_000;
    for (int i = 0; i < count; i++) {
      byte[] header = valid;
      for (int change = random.nextInt(3); change >= 0; change--) {
        int at = random.nextInt(header.length);
        int until = Math.min(header.length, at + random.nextInt(6));
        byte[] scrap =
            random.nextBoolean()
                ? scraps[random.nextInt(scraps.length)].getBytes(UTF_8)
                : new byte[] {(byte) random.nextInt(256)};
        ByteBuffer changed =
            ByteBuffer.allocate(at + scrap.length + header.length - until)
                .put(header, 0, at)
                .put(scrap)
                .put(header, until, header.length - until);
        header = changed.array();
      }
      try {
        SafetensorsHeader.parse(ByteBuffer.wrap(header), PYTHON_DATA.length);
      } catch (CheckpointException expected) {
        refused++;
      }
    }
    assertThat(refused).isBetween(count / 2, count - 1);
  }

  private static void assertRefused(Path path, String message) {
    assertThatThrownBy(() -> SafetensorsFile.open(path).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(path + ": ")
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n");
  }

  private static float[] floats(SafetensorsFile file, String name) {
    return file.tensor(name).bytes().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
  }

  private Path file(String header, byte... data) {
    byte[] json = header.replace('\'', '"').getBytes(UTF_8);
    byte[] content = ByteBuffer.allocate(json.length + data.length).put(json).put(data).array();
    return file(json.length, content);
  }

  private Path file(long length, String content) {
    return file(length, content.getBytes(UTF_8));
  }

  private Path file(long length, byte[] content) {
    try {
      return Files.write(
          folder.resolve("test.safetensors"),
          ByteBuffer.allocate(8 + content.length)
              .order(ByteOrder.LITTLE_ENDIAN)
              .putLong(length)
              .put(content)
              .array());
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }
}
