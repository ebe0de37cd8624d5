package org.eellm.train.metrics;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Clock;
import java.util.zip.CRC32C;
import org.eellm.train.TrainException;

/**
 * A run's numbers as TensorBoard reads them: a file of TFRecords, each an {@code Event} message
 * (tensorflow/core/util/event.proto) with one scalar {@code Summary.Value} a number.
 *
 * <p>A run that is resumed writes a new file. It begins with a session start at the first new step,
 * which makes TensorBoard forget what earlier files say of that step and later ones.
 */
public final class TensorBoardEvents implements MetricsSink {

  /** Field numbers of the messages. */
  private static final class Field {
    static final int EVENT_WALL_TIME = 1;
    static final int EVENT_STEP = 2;
    static final int EVENT_FILE_VERSION = 3;
    static final int EVENT_SUMMARY = 5;
    static final int EVENT_SESSION_LOG = 7;
    static final int SESSION_LOG_STATUS = 1;
    static final int SUMMARY_VALUE = 1;
    static final int VALUE_TAG = 1;
    static final int VALUE_SIMPLE = 2;
  }

  private static final int SESSION_START = 1;

  private final Path path;
  private final OutputStream out;
  private final Clock clock;

  private TensorBoardEvents(Path path, OutputStream out, Clock clock) {
    this.path = path;
    this.out = out;
    this.clock = clock;
  }

  /**
   * Starts a file of events in a folder.
   *
   * @param folder created where absent
   * @param lastStep the step the run goes on after; 0 at the start of a run
   * @param clock gives the events' wall time and the file's name
   */
  public static TensorBoardEvents open(Path folder, long lastStep, Clock clock) {
    // TensorBoard reads a folder's files in the order of their names.
    Path path = folder.resolve("events.out.tfevents.%013d.eellm".formatted(clock.millis()));
    try {
      Files.createDirectories(folder);
      OutputStream out = Files.newOutputStream(path, StandardOpenOption.CREATE_NEW);
      TensorBoardEvents events = new TensorBoardEvents(path, out, clock);
      events.write(0, event -> event.writeString(Field.EVENT_FILE_VERSION, "brain.Event:2"));
      if (lastStep > 0) {
        ByteString start = message(log -> log.writeEnum(Field.SESSION_LOG_STATUS, SESSION_START));
        events.write(lastStep + 1, event -> event.writeBytes(Field.EVENT_SESSION_LOG, start));
      }
      return events;
    } catch (IOException e) {
      throw TrainException.of(path, "cannot be written", e);
    }
  }

  @Override
  public void accept(TrainEvent event) {
    try {
      ByteString summary =
          message(
              out -> {
                for (var value : event.values().entrySet()) {
                  if (value.getValue() instanceof Number number) {
                    out.writeBytes(
                        Field.SUMMARY_VALUE, scalar(value.getKey(), number.floatValue()));
                  }
                }
              });
      write(event.step(), out -> out.writeBytes(Field.EVENT_SUMMARY, summary));
    } catch (IOException e) {
      throw TrainException.of(path, "cannot be written", e);
    }
  }

  @Override
  public void close() {
    try {
      out.close();
    } catch (IOException e) {
      throw TrainException.of(path, "cannot be closed", e);
    }
  }

  /** Writes the fields of a protobuf message. */
  @FunctionalInterface
  private interface Fields {
    void writeTo(CodedOutputStream out) throws IOException;
  }

  private static ByteString message(Fields fields) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    CodedOutputStream out = CodedOutputStream.newInstance(bytes);
    fields.writeTo(out);
    out.flush();
    return ByteString.copyFrom(bytes.toByteArray());
  }

  private static ByteString scalar(String tag, float number) throws IOException {
    return message(
        out -> {
          out.writeString(Field.VALUE_TAG, tag);
          out.writeFloat(Field.VALUE_SIMPLE, number);
        });
  }

  private void write(long step, Fields what) throws IOException {
    ByteString event =
        message(
            out -> {
              out.writeDouble(Field.EVENT_WALL_TIME, clock.millis() / 1e3);
              out.writeInt64(Field.EVENT_STEP, step);
              what.writeTo(out);
            });
    out.write(record(event.toByteArray()));
  }

  /** TFRecord framing: length, its checksum, the bytes, their checksum, all little-endian. */
  private static byte[] record(byte[] data) {
    ByteBuffer record = ByteBuffer.allocate(8 + 4 + data.length + 4).order(ByteOrder.LITTLE_ENDIAN);
    record.putLong(data.length);
    record.putInt(maskedChecksum(record.array(), 8));
    record.put(data);
    record.putInt(maskedChecksum(data, data.length));
    return record.array();
  }

  /** CRC-32C, rotated and shifted so that data that holds checksums itself stays well protected. */
  private static int maskedChecksum(byte[] bytes, int length) {
    CRC32C checksum = new CRC32C();
    checksum.update(bytes, 0, length);
    return Integer.rotateRight((int) checksum.getValue(), 15) + 0xa282ead8;
  }
}
