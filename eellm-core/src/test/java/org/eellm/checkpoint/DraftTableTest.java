package org.eellm.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class DraftTableTest {
  private static final String FILE = "draft_table.safetensors";

  @TempDir private Path folder;

  /** After 1 2 comes 3 four times of five; after 2 3 always 1. */
  private static DraftTable table() {
    return DraftTable.count(new int[] {1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 7}, 10);
  }

  @Test
  void count_text_hasWhatFollowsMostOftenAndItsShare() {
    DraftTable table = table();

    assertThat(table.size()).isEqualTo(3);
    int place = table.find(1, 2);
    assertThat(table.follower(place)).isEqualTo(3);
    assertThat(table.share(place)).isEqualTo(80);
    assertThat(table.share(table.find(2, 3))).isEqualTo(100);
    assertThat(table.find(2, 7)).isNegative(); // the text ends there
    assertThat(table.find(2, 1)).isNegative();
  }

  @Test
  void count_tooManyPairs_keepsTheMostFrequent() {
    DraftTable table = DraftTable.count(new int[] {1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3}, 1);

    assertThat(table.size()).isEqualTo(1);
    assertThat(table.follower(table.find(1, 1))).isEqualTo(1);
    assertThat(DraftTable.count(new int[] {1}, 1).size()).isZero();
    assertThatThrownBy(() -> DraftTable.count(new int[] {1}, 0))
        .hasMessage("a draft table of 0 pairs: use 1 to 1048576");
  }

  @Test
  void read_whatWasWritten_isTheSame() throws IOException {
    Random random = new Random(1);
    int[] ids = random.ints(20_000, 0, 12).toArray();
    DraftTable written = DraftTable.count(ids, 100);
    table().write(folder);
    written.write(folder);

    DraftTable read = DraftTable.read(folder, 12);

    assertThat(read.size()).isEqualTo(100);
    for (int pair = 0; pair < 144; pair++) {
      int place = written.find(pair / 12, pair % 12);
      assertThat(read.find(pair / 12, pair % 12)).isEqualTo(place);
      if (place >= 0) {
        assertThat(read.follower(place)).isEqualTo(written.follower(place));
        assertThat(read.share(place)).isEqualTo(written.share(place));
      }
    }
    assertThat(DraftTable.read(folder.resolve("none"), 12).size()).isZero();
    assertThatThrownBy(() -> DraftTable.read(folder, 11))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(FILE + ": token 11 is outside 0..10; remove the file, or make it");
  }

  @Test
  void write_checkpointWithChecksums_listsTheTable() throws IOException {
    Files.writeString(folder.resolve("config.json"), "{}");
    CheckpointIntegrity.write(folder, Map.of());
    table().write(folder);
    table().write(folder);
    CheckpointIntegrity.requireModel(folder);

    byte[] bytes = Files.readAllBytes(folder.resolve(FILE));
    bytes[bytes.length - 1]++;
    Files.write(folder.resolve(FILE), bytes);

    assertThatThrownBy(() -> CheckpointIntegrity.requireModel(folder))
        .hasMessageContaining(FILE + ": is not as it was written");
  }

  @Test
  void read_hostileFile_isRefusedInALine() throws IOException {
    refuse(ints(1, 2, 1, 2), ints(3, 4), new byte[] {50, 50}, "pairs have to ascend");
    refuse(ints(1, 2, 1, 1), ints(3, 4), new byte[] {50, 50}, "pairs have to ascend");
    refuse(ints(1, 2, 1, 3), ints(3, 4), new byte[] {50, 101}, "shares to be per cent");
    refuse(ints(1, 2, 1, 3), ints(3, 4), new byte[] {50, -1}, "shares to be per cent");
    refuse(ints(1, -2, 1, 3), ints(3, 4), new byte[] {50, 50}, "token -2 is outside 0..9");
    refuse(ints(1, 2, 1, 3), ints(3, 10), new byte[] {50, 50}, "token 10 is outside 0..9");
    refuse(ints(1, 2), ints(3, 4), new byte[] {50, 50}, "pairs is I32 of shape [1, 2]");
    refuse(ints(1, 2, 1, 3), ints(3, 4), new byte[] {50}, "shares is U8 of shape [1]");
    Files.write(folder.resolve(FILE), new byte[] {1, 2, 3});
    requireRefusal(FILE);
  }

  private void refuse(byte[] pairs, byte[] followers, byte[] shares, String message)
      throws IOException {
    Files.deleteIfExists(folder.resolve(FILE));
    SafetensorsWriter.write(
        folder.resolve(FILE),
        Map.of(),
        List.of(
            tensor("pairs", SafetensorsType.I32, List.of(pairs.length / 8L, 2L), pairs),
            tensor("followers", SafetensorsType.I32, List.of(followers.length / 4L), followers),
            tensor("shares", SafetensorsType.U8, List.of((long) shares.length), shares)));
    requireRefusal(message);
  }

  private void requireRefusal(String message) {
    assertThatThrownBy(() -> DraftTable.read(folder, 10))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(FILE)
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n");
  }

  private static TensorSource tensor(
      String name, SafetensorsType type, List<Long> shape, byte[] bytes) {
    return TensorSource.of(name, type, shape, MemorySegment.ofArray(bytes));
  }

  private static byte[] ints(int... values) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    Arrays.stream(values).forEach(bytes::putInt);
    return bytes.array();
  }
}
