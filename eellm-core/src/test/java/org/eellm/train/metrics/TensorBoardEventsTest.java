package org.eellm.train.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.WireFormat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import org.eellm.train.Events;
import org.eellm.train.optimizer.StepGuard.UpdateDecision;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TensorBoardEventsTest {
  private static final Clock CLOCK =
      Clock.fixed(Instant.ofEpochSecond(1_700_000_000), ZoneOffset.UTC);

  @TempDir Path folder;

  private List<byte[]> records(long lastStep, TrainEvent... events) throws IOException {
    try (TensorBoardEvents board = TensorBoardEvents.open(folder, lastStep, CLOCK)) {
      for (TrainEvent event : events) {
        board.accept(event);
      }
    }
    ByteBuffer file =
        ByteBuffer.wrap(
                Files.readAllBytes(folder.resolve("events.out.tfevents.1700000000000.eellm")))
            .order(ByteOrder.LITTLE_ENDIAN);
    List<byte[]> records = new ArrayList<>();
    while (file.hasRemaining()) {
      byte[] data = new byte[Math.toIntExact(file.getLong())];
      file.getInt();
      file.get(data);
      file.getInt();
      records.add(data);
    }
    return records;
  }

  @Test
  void open_newRun_writesTheVersionRecordByteForByte() throws IOException {
    records(0);
    byte[] file = Files.readAllBytes(folder.resolve("events.out.tfevents.1700000000000.eellm"));
    // Length 26 and the two checksums as TensorFlow writes them: CRC-32C by a bitwise computation.
    ByteBuffer expected = ByteBuffer.allocate(file.length).order(ByteOrder.LITTLE_ENDIAN);
    byte[] length = {26, 0, 0, 0, 0, 0, 0, 0};
    byte[] event = new byte[26];
    ByteBuffer.wrap(event)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put((byte) 0x09)
        .putDouble(1.7e9)
        .put(new byte[] {0x10, 0x00, 0x1a, 13})
        .put("brain.Event:2".getBytes(StandardCharsets.US_ASCII));
    expected.put(length).putInt(masked(length)).put(event).putInt(masked(event));
    assertThat(file).isEqualTo(expected.array());
  }

  /** The definition: polynomial 0x1EDC6F41 reflected, bit by bit, then TFRecord's mask. */
  private static int masked(byte[] bytes) {
    int crc = ~0;
    for (byte next : bytes) {
      crc ^= next & 0xff;
      for (int bit = 0; bit < 8; bit++) {
        crc = (crc >>> 1) ^ ((crc & 1) * 0x82F63B78);
      }
    }
    crc = ~crc;
    return ((crc >>> 15) | (crc << 17)) + 0xa282ead8;
  }

  @Test
  void accept_step_writesAScalarForEveryNumber() throws IOException {
    List<byte[]> records = records(0, Events.step(7, 2.5, UpdateDecision.APPLY));
    assertThat(records).hasSize(2);
    CodedInputStream event = CodedInputStream.newInstance(records.get(1));
    assertThat(event.readTag()).isEqualTo(tag(1, WireFormat.WIRETYPE_FIXED64));
    assertThat(event.readDouble()).isEqualTo(1.7e9);
    assertThat(event.readTag()).isEqualTo(tag(2, WireFormat.WIRETYPE_VARINT));
    assertThat(event.readInt64()).isEqualTo(7);
    assertThat(event.readTag()).isEqualTo(tag(5, WireFormat.WIRETYPE_LENGTH_DELIMITED));
    List<String> tags = new ArrayList<>();
    List<Float> numbers = new ArrayList<>();
    CodedInputStream summary = event.readBytes().newCodedInput();
    while (!summary.isAtEnd()) {
      assertThat(summary.readTag()).isEqualTo(tag(1, WireFormat.WIRETYPE_LENGTH_DELIMITED));
      CodedInputStream value = summary.readBytes().newCodedInput();
      assertThat(value.readTag()).isEqualTo(tag(1, WireFormat.WIRETYPE_LENGTH_DELIMITED));
      tags.add(value.readString());
      assertThat(value.readTag()).isEqualTo(tag(2, WireFormat.WIRETYPE_FIXED32));
      numbers.add(value.readFloat());
    }
    assertThat(tags).startsWith("loss", "loss_exit_2", "loss_exit_4", "loss_final");
    assertThat(numbers).startsWith(2.5f, 3.5f, 3.0f, 2.5f);
    assertThat(event.isAtEnd()).isTrue();
  }

  private static int tag(int field, int wireType) {
    return field << 3 | wireType;
  }

  @Test
  void open_resumedRun_tellsTensorBoardToForgetLaterSteps() throws IOException {
    CodedInputStream event = CodedInputStream.newInstance(records(40).get(1));
    event.readTag();
    event.readDouble();
    event.readTag();
    assertThat(event.readInt64()).isEqualTo(41);
    assertThat(event.readTag()).isEqualTo(tag(7, WireFormat.WIRETYPE_LENGTH_DELIMITED));
    CodedInputStream log = event.readBytes().newCodedInput();
    assertThat(log.readTag()).isEqualTo(tag(1, WireFormat.WIRETYPE_VARINT));
    assertThat(log.readEnum()).isEqualTo(1);
  }

  @Test
  void accept_step_isReadByProtoc() throws IOException, InterruptedException {
    assumeTrue(protocIsInstalled(), "protoc (Debian's protobuf-compiler) is not installed");
    Path record = folder.resolve("record");
    Files.write(record, records(0, Events.step(7, 2.5, UpdateDecision.APPLY)).get(1));
    Process protoc =
        new ProcessBuilder("protoc", "--decode_raw").redirectInput(record.toFile()).start();
    String text = new String(protoc.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(protoc.waitFor()).isZero();
    assertThat(text).contains("2: 7\n", "1: \"loss_final\"\n    2: 0x40200000");
  }

  private static boolean protocIsInstalled() throws InterruptedException {
    try {
      return new ProcessBuilder("protoc", "--version").start().waitFor() == 0;
    } catch (IOException e) {
      return false;
    }
  }
}
