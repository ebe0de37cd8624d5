package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.OutputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.eellm.checkpoint.Mapped;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Files that PyTorch wrote, and such as no PyTorch would write. */
final class PyTorchFileTest {
  private static final StoredTensor ONE =
      new StoredTensor(SafetensorsType.F32, List.of(1L), MemorySegment.ofArray(new byte[4]));

  @TempDir private Path folder;

  @Test
  void open_everyKindOfTensor_isReadAsPyTorchHasIt() {
    try (PyTorchFile file = PyTorchFile.open(Layouts.folder("tensors.bin"))) {
      assertThat(tensor(file, "float32").shape()).containsExactly(4L, 6L);
      assertThat(floats(file, "float32")).containsExactly(range(0, 24));
      assertThat(tensor(file, "float64").bytes().toArray(ValueLayout.JAVA_DOUBLE_UNALIGNED))
          .containsExactly(IntStream.range(0, 24).asDoubleStream().toArray());
      assertThat(tensor(file, "float16").type()).isEqualTo(SafetensorsType.F16);
      assertThat(tensor(file, "float16").bytes().get(ValueLayout.JAVA_SHORT_UNALIGNED, 46))
          .isEqualTo(Float.floatToFloat16(23));
      assertThat(tensor(file, "bfloat16").type()).isEqualTo(SafetensorsType.BF16);
      assertThat(tensor(file, "bfloat16").bytes().get(ValueLayout.JAVA_SHORT_UNALIGNED, 46))
          .isEqualTo((short) (Float.floatToIntBits(23) >> 16));
      assertThat(tensor(file, "transposed").shape()).containsExactly(6L, 4L);
      assertThat(floats(file, "transposed")).startsWith(0, 6, 12, 18, 1, 7);
      assertThat(floats(file, "rows")).containsExactly(range(6, 18));
      assertThat(floats(file, "column")).containsExactly(2, 8, 14, 20);
      assertThat(tensor(file, "scalar").shape()).isEmpty();
      assertThat(floats(file, "scalar")).containsExactly(7);
      assertThat(tensor(file, "empty").shape()).containsExactly(0L, 3L);
      assertThat(floats(file, "parameter")).containsExactly(range(1, 25));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "tensors_call.bin,'refers to posix.system, which is no part of weights; nothing was executed'",
    "tensors_legacy.bin,'in PyTorch''s format from before 1.6; load it there'",
    "make_layouts.py,is no file of torch.save",
  })
  void open_whatIsNotRead_isRefusedInOneLine(String name, String message) {
    assertRefused(Layouts.folder(name), message);
    assertThat(Path.of("executed")).doesNotExist();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "63706f7369780a73797374656d0a5821000000", // posix system
        "635f5f6275696c74696e5f5f0a6576616c0a", // __builtin__ eval
        "636275696c74696e730a676574617474720a", // builtins getattr
        "8c086275696c74696e738c046578656393", // builtins exec, by STACK_GLOBAL
        "63746f7263680a5f435f6c6f61640a", // torch _C_load
        "696f730a73797374656d0a", // INST
        "286f", // OBJ
        "8201", // EXT1
        "5030", // PERSID
        "92", // NEWOBJ_EX
        "97", // NEXT_BUFFER
        "46302e0a", // FLOAT as text
      })
  void open_pickleThatCallsOrIsUnknown_isRefused(String hex) throws IOException {
    assertRefused(pickle("8002" + hex + "2e"), "");
  }

  @ParameterizedTest
  @CsvSource({
    "2e,takes more from its stack than there is",
    "7d,ends too early",
    "'',ends too early",
    "80092e,protocol 9",
    "74,goes back to a mark",
    "68052e,recalls what it has not stored",
    "58ffffff7f2e,longer than itself",
    "8dffffffffffffffff2e,longer than itself",
    "5802000000ffff2e,not UTF-8",
    "7d4b01737d2e,takes more from its stack",
    "4b014b024b03732e,no dictionary",
    "7d5d4b01732e,neither text nor number",
    "7d284b01752e,a key without a value",
    "4b014b01612e,uses as a list what is none",
    "4b014b01522e,uses as a list what is none",
    "4b0129522e,calls what is no name",
    "29512e,no storage of numbers",
    "63746f7263682e5f7574696c730a5f72656275696c645f74656e736f725f76320a29522e,a tensor of what is"
        + " no storage",
  })
  void open_malformedPickle_isRefused(String hex, String message) throws IOException {
    assertRefused(pickle(hex), message);
  }

  @Test
  void open_storageLargerThanTheFile_isRefused() throws IOException {
    byte[] whole = Files.readAllBytes(Layouts.folder("tensors.bin"));
    Path cut = folder.resolve("cut.bin");
    for (int length = 0; length < whole.length; length += 97) {
      Files.write(cut, Arrays.copyOf(whole, length));
      assertRefused(cut, "");
    }
  }

  @ParameterizedTest
  @CsvSource({
    "'(0,)',9,1,reaches beyond its storage",
    "x,5,1,reaches beyond its storage",
    "x,4,2,reaches beyond its storage",
    "x,2000000000,0,reaches beyond its storage",
  })
  void tensorView_beyondItsStorage_isRefused(
      String ignored, long length, long stride, String message) {
    Pickled.Storage storage =
        new Pickled.Storage(SafetensorsType.F32, MemorySegment.ofArray(new byte[16]));
    assertThatThrownBy(() -> new Pickled.TensorView(storage, 0, List.of(length), List.of(stride)))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message);
  }

  @Test
  void tensorView_sizesThatOverflow_areRefused() {
    Pickled.Storage storage =
        new Pickled.Storage(SafetensorsType.F32, MemorySegment.ofArray(new byte[16]));
    assertThatThrownBy(
            () ->
                new Pickled.TensorView(
                    storage, 0, List.of(1L << 40, 1L << 40), List.of(1L << 40, 1L)))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("larger than 2^63");
    assertThatThrownBy(() -> new Pickled.TensorView(storage, 0, List.of(2L), List.of(-1L)))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("negative");
  }

  @Test
  void open_compressedEntry_isRefused() throws IOException {
    Path path = folder.resolve("deflated.bin");
    try (OutputStream out = Files.newOutputStream(path);
        ZipOutputStream zip = new ZipOutputStream(out)) {
      zip.putNextEntry(new ZipEntry("archive/data.pkl"));
      zip.write(new byte[1000]);
      zip.closeEntry();
    }
    assertRefused(path, "compressed");
  }

  @Test
  void open_zipWithoutPickle_isRefused() throws IOException {
    assertRefused(zip("archive/other", new byte[] {1}), "has no data.pkl");
  }

  @ParameterizedTest
  @CsvSource({
    "a,b,has no tensor 'c'",
    "a,a,tensor 'a' is in another shard too",
    "a,,y.bin: is no file of torch.save",
  })
  void weights_shardsThatAreNotWhatTheIndexSays_areRefusedAndClosed(
      String first, @Nullable String second, String message) throws IOException {
    PickleWriter.save(folder.resolve("x.bin"), Map.of(first, ONE));
    if (second == null) {
      Files.writeString(folder.resolve("y.bin"), "nothing");
    } else {
      PickleWriter.save(folder.resolve("y.bin"), Map.of(second, ONE));
    }
    Files.writeString(
        folder.resolve("pytorch_model.bin.index.json"),
        "{\"weight_map\": {\"a\": \"x.bin\", \"c\": \"y.bin\"}}");

    assertThatThrownBy(() -> PyTorchWeights.open(folder).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message);
    Mapped.assertNothingOf(folder);
  }

  private Path pickle(String hex) throws IOException {
    return zip("archive/data.pkl", HexFormat.of().parseHex(hex));
  }

  private Path zip(String name, byte[] content) throws IOException {
    Path path = folder.resolve("file.bin");
    try (OutputStream out = Files.newOutputStream(path);
        ZipOutputStream zip = new ZipOutputStream(out, StandardCharsets.UTF_8)) {
      ZipEntry entry = new ZipEntry(name);
      entry.setMethod(ZipEntry.STORED);
      entry.setSize(content.length);
      CRC32 crc = new CRC32();
      crc.update(content);
      entry.setCrc(crc.getValue());
      zip.putNextEntry(entry);
      zip.write(content);
      zip.closeEntry();
    }
    return path;
  }

  private static void assertRefused(Path path, String message) {
    assertThatThrownBy(() -> PyTorchFile.open(path).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(path + ": ")
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n");
    Mapped.assertNothingOf(path);
  }

  private static StoredTensor tensor(PyTorchFile file, String name) {
    return ((Pickled.TensorView) ((Pickled.Dict) file.root()).find(name).orElseThrow())
        .stored(file.arena());
  }

  private static float[] floats(PyTorchFile file, String name) {
    return tensor(file, name).bytes().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
  }

  private static float[] range(int from, int to) {
    float[] values = new float[to - from];
    for (int i = 0; i < values.length; i++) {
      values[i] = from + i;
    }
    return values;
  }
}
