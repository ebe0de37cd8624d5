package org.eellm.gguf;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.eellm.gguf.GgufFixture.int32;
import static org.eellm.gguf.GgufFixture.int64;
import static org.eellm.gguf.GgufFixture.join;
import static org.eellm.gguf.GgufFixture.string;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.eellm.gguf.GgufValue.Flag;
import org.eellm.gguf.GgufValue.Real;
import org.eellm.gguf.GgufValue.Text;
import org.eellm.gguf.GgufValue.Whole;
import org.eellm.gguf.GgufValue.Wholes;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** GGUF files, whole and damaged. */
final class GgufFileTest {
  @TempDir private Path folder;

  private Path file(byte[] bytes) throws IOException {
    return Files.write(folder.resolve("model.gguf"), bytes);
  }

  private static GgufFixture usual() {
    return new GgufFixture()
        .text("general.architecture", "llama")
        .number("llama.block_count", 2)
        .texts("tokens", List.of("a", "b"))
        .floats("first", 4L, 3L)
        .floats("second", 5L);
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void open_wholeFile_hasValuesAndTensors(int version) throws IOException {
    byte[] bytes =
        usual()
            .version(version)
            .key("byte", 0, new byte[] {(byte) 200})
            .key("int64", 11, int64(-5))
            .key("double", 12, int64(Double.doubleToLongBits(0.1)))
            .flag("flag", true)
            .numbers("numbers", List.of(3, -4))
            .bytes();
    try (GgufFile file = GgufFile.open(file(bytes))) {
      assertThat(file.metadata().values())
          .containsEntry("general.architecture", new Text("llama"))
          .containsEntry("llama.block_count", new Whole(2))
          .containsEntry("byte", new Whole(200))
          .containsEntry("int64", new Whole(-5))
          .containsEntry("double", new Real(0.1))
          .containsEntry("flag", new Flag(true))
          .containsEntry("numbers", new Wholes(List.of(3L, -4L)));
      GgufTensor first = Objects.requireNonNull(file.tensors().get("first"));
      assertThat(first.shape()).containsExactly(3L, 4L);
      assertThat(first.bytes().isMapped()).isTrue();
      GgufTensor second = Objects.requireNonNull(file.tensors().get("second"));
      assertThat(second.bytes().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED))
          .containsExactly(0, 0.5f, 1, 1.5f, 2);
    }
  }

  @Test
  void open_otherAlignment_findsTensors() throws IOException {
    GgufFixture fixture =
        new GgufFixture().number("general.alignment", 64).floats("first", 16L).floats("next", 2L);
    try (GgufFile file = GgufFile.open(file(fixture.bytes(2, 1, 64)))) {
      assertThat(Objects.requireNonNull(file.tensors().get("next")).bytes().byteSize())
          .isEqualTo(8);
      assertThat(
              Objects.requireNonNull(file.tensors().get("first"))
                  .bytes()
                  .toArray(ValueLayout.JAVA_FLOAT_UNALIGNED))
          .contains(7.5f);
    }
  }

  @Test
  void real_ofFloat32_isTheShortestThatIsMeant() throws IOException {
    byte[] bytes = new GgufFixture().real("epsilon", 1e-5f).bytes();
    try (GgufFile file = GgufFile.open(file(bytes))) {
      assertThat(file.metadata().real("epsilon")).contains(1e-5);
    }
  }

  @ParameterizedTest
  @EnumSource(
      mode = EnumSource.Mode.EXCLUDE,
      names = {"F32", "F16", "BF16"})
  void read_quantisedRows_areTheirNumbersInOurOrder(GgufType type) {
    Random random = new Random(7);
    int columns = 512;
    QuantisedFixture fixture = QuantisedFixture.of(type, 3 * columns / type.group(), random);
    GgufRows rows =
        new GgufRows(
            type, 3, columns, MemorySegment.ofArray(fixture.bytes()), row -> (row + 1) % 3);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment read = arena.allocate(3 * rows.valueBytes(), Long.BYTES);
      rows.read(read);
      float[] values = read.toArray(ValueLayout.JAVA_FLOAT);
      for (int row = 0; row < 3; row++) {
        int from = (row + 1) % 3 * columns;
        assertThat(Arrays.copyOfRange(values, row * columns, (row + 1) * columns))
            .containsExactly(Arrays.copyOfRange(fixture.values(), from, from + columns));
      }
    }
    int rowBytes = columns / type.group() * type.groupBytes();
    assertThat(rows.row(2).toArray(ValueLayout.JAVA_BYTE))
        .containsExactly(Arrays.copyOf(fixture.bytes(), rowBytes));
  }

  private static Arguments hostile(String name, byte[] bytes, String message) {
    return arguments(name, bytes, message);
  }

  private static byte[] changed(byte[] bytes, int at, byte... values) {
    byte[] copy = bytes.clone();
    System.arraycopy(values, 0, copy, at, values.length);
    return copy;
  }

  private static byte[] withKey(int type, byte[] value) {
    return new GgufFixture().key("odd", type, value).bytes();
  }

  private static byte[] withTensor(UnaryOperator<GgufFixture> tensors) {
    return tensors.apply(new GgufFixture().number("n", 1)).bytes();
  }

  static Stream<Arguments> hostileFiles() {
    byte[] whole = usual().bytes();
    byte[] data = new byte[64];
    return Stream.of(
        hostile("empty", new byte[0], "does not begin with GGUF"),
        hostile("three bytes", Arrays.copyOf(whole, 3), "does not begin with GGUF"),
        hostile("bad magic", changed(whole, 0, (byte) 'X'), "does not begin with GGUF"),
        hostile("magic alone", Arrays.copyOf(whole, 4), "end at the version"),
        hostile("version 0", usual().version(0).bytes(), "has version 0"),
        hostile("version 1", usual().version(1).bytes(), "has version 1"),
        hostile("version 4", usual().version(4).bytes(), "has version 4"),
        hostile("negative version", usual().version(-1).bytes(), "has version 4294967295"),
        hostile("big-endian", usual().version(0x03000000).bytes(), "is big-endian"),
        hostile("no counts", Arrays.copyOf(whole, 12), "end at the number of tensors"),
        hostile("cut in a key", Arrays.copyOf(whole, 40), "is truncated"),
        hostile("cut in the tensors", Arrays.copyOf(whole, whole.length - 1), "is truncated"),
        hostile("cut before the data", Arrays.copyOf(whole, 250), "is truncated"),
        hostile(
            "huge tensor count", usual().bytes(Long.MAX_VALUE, 3, 32), "tensors are not possible"),
        hostile("negative tensor count", usual().bytes(-1, 3, 32), "tensors are not possible"),
        hostile("huge key count", usual().bytes(2, 1L << 60, 32), "keys are not possible"),
        hostile("more keys than there are", usual().bytes(2, 7, 32), "truncated"),
        hostile("huge name", new GgufFixture().bytes(0, 1, 32), "keys are not possible"),
        hostile("huge text", withKey(8, int64(Long.MAX_VALUE)), "ends beyond"),
        hostile("negative text", withKey(8, int64(-8)), "ends beyond"),
        hostile("text that is no UTF-8", withKey(8, join(int64(1), new byte[] {-1})), "not UTF-8"),
        hostile("unknown value type", withKey(13, int64(0)), "has a value of type 13"),
        hostile("flag of 2", withKey(7, new byte[] {2}), "2 is neither true nor false"),
        hostile("array of arrays", withKey(9, join(int32(9), int64(1))), "array of arrays"),
        hostile(
            "array of unknown type", withKey(9, join(int32(77), int64(1))), "an array of type 77"),
        hostile(
            "huge array", withKey(9, join(int32(4), int64(1L << 61))), "elements of odd are not"),
        hostile(
            "array of cut texts",
            withKey(9, join(int32(8), int64(2), string("a"), int64(99), new byte[20])),
            "ends beyond"),
        hostile("empty key", new GgufFixture().number("", 1).bytes(), "has 0 characters"),
        hostile(
            "key twice", new GgufFixture().number("a", 1).number("a", 2).bytes(), "is there twice"),
        hostile(
            "alignment 0",
            usual().number("general.alignment", 0).bytes(),
            "general.alignment: 0 is no power of two"),
        hostile(
            "alignment 48",
            usual().number("general.alignment", 48).bytes(),
            "general.alignment: 48 is no power of two"),
        hostile(
            "alignment of text",
            usual().text("general.alignment", "32").bytes(),
            "is no power of two"),
        hostile(
            "tensor twice",
            withTensor(f -> f.floats("t", 4L).floats("t", 4L)),
            "tensor t is there twice"),
        hostile(
            "no dimensions",
            withTensor(f -> f.tensor("t", List.of(), 0, data)),
            "has 0 dimensions"),
        hostile(
            "five dimensions",
            withTensor(f -> f.tensor("t", List.of(1L, 1L, 1L, 1L, 1L), 0, data)),
            "has 5 dimensions"),
        hostile(
            "dimension of 0",
            withTensor(f -> f.tensor("t", List.of(0L, 4L), 0, data)),
            "dimension of 0 is not possible"),
        hostile(
            "dimensions whose product overflows",
            withTensor(f -> f.tensor("t", List.of(1L << 33, 1L << 33), 0, data)),
            "dimension of 8589934592 is not possible"),
        hostile(
            "unknown format",
            withTensor(f -> f.tensor("t", List.of(4L), 99, data)),
            "tensor t has type 99, which is not read"),
        hostile(
            "format that is not read",
            withTensor(f -> f.tensor("t", List.of(4L), 16, data)),
            "tensor t has type IQ2_XXS, which is not read"),
        hostile(
            "rows of half a group",
            withTensor(f -> f.tensor("t", List.of(48L), 8, data)),
            "rows of 48 do not divide into groups of 32"),
        hostile(
            "offset off the alignment",
            withTensor(f -> f.tensorAt("t", List.of(4L), 0, 4, data)),
            "begins at 4, which is no multiple"),
        hostile(
            "negative offset",
            withTensor(f -> f.tensorAt("t", List.of(4L), 0, -32, data)),
            "is no multiple"),
        hostile(
            "offset beyond the end",
            withTensor(f -> f.tensorAt("t", List.of(4L), 0, 1L << 40, data)),
            "ends beyond the file's data"),
        hostile(
            "tensor longer than the file",
            withTensor(f -> f.tensor("t", List.of(17L), 0, data)),
            "tensor t of 68 bytes at 0 ends beyond"),
        hostile(
            "overlap",
            withTensor(f -> f.floats("t", 16L).tensorAt("u", List.of(4L), 0, 32, data)),
            "tensors t and u overlap"));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("hostileFiles")
  void open_hostileFile_isRefusedInOneLine(String name, byte[] bytes, String message)
      throws IOException {
    Path file = file(bytes);
    assertThatThrownBy(() -> GgufFile.open(file))
        .as(name)
        .isInstanceOf(GgufException.class)
        .hasMessageStartingWith(file + ": ")
        .hasMessageContaining(message)
        .message()
        .hasLineCount(1);
  }

  @Test
  void open_wherethereIsNoFile_saysSo() {
    assertThatThrownBy(() -> GgufFile.open(folder.resolve("none.gguf")))
        .isInstanceOf(GgufException.class)
        .hasMessageEndingWith("none.gguf: cannot be read: no such file or folder");
  }

  /** Any single damaged byte: read, or refused in one line; nothing else. */
  @Test
  void open_anyByteChanged_isReadOrRefused() throws IOException {
    byte[] whole = usual().bytes();
    int header = whole.length - 96;
    int refused = 0;
    for (int at = 0; at < header; at++) {
      for (int value : new int[] {0, 1, 0x7f, 0xff}) {
        try (GgufFile file = GgufFile.open(file(changed(whole, at, (byte) value)))) {
          assertThat(file.path()).exists();
        } catch (GgufException failure) {
          assertThat(failure).message().hasLineCount(1);
          refused++;
        }
      }
    }
    assertThat(refused).isPositive();
  }
}
