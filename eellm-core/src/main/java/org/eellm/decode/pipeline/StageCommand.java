package org.eellm.decode.pipeline;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.head.Vocabulary;

/**
 * A command of a pipeline's first stage to a later one. Each stage carries commands out in the
 * order they come; slots and pages have the first stage's numbers.
 */
sealed interface StageCommand {

  /**
   * A runner starts.
   *
   * @param question to be answered with what is on the stage ({@link StagePart})
   * @param pages of keys and values
   */
  record Start(int question, Vocabulary vocabulary, int pages) implements StageCommand {}

  /** Hidden states come from the first stage. */
  record Write(int[] slots, byte[] hidden) implements StageCommand {}

  /** Hidden states go to another stage. */
  record Send(int stage, int[] slots) implements StageCommand {}

  /** Hidden states come from another stage, which sends them. */
  record Receive(int stage, int[] slots) implements StageCommand {}

  /**
   * Rows pass branches here, or leave their keys and values there.
   *
   * @param propagates see {@link ModelRunner#propagate}
   */
  record Pass(int from, int to, boolean propagates, ForwardBatch rows) implements StageCommand {}

  /**
   * A head predicts.
   *
   * @param question to be answered with the logits ({@link RemoteOutput})
   * @param head its index among the model's
   * @param kind what of them
   */
  record Predict(int question, int head, ModelRunner.HeadQuery kind, ForwardBatch rows, int[] asked)
      implements StageCommand {}

  /**
   * A hidden state is read.
   *
   * @param question to be answered with its bytes
   */
  record Read(int question, int slot) implements StageCommand {}

  /** A hidden state is copied. */
  record Copy(int from, int to) implements StageCommand {}

  record Stop() implements StageCommand {}

  /** There will be no further runner. */
  record Leave() implements StageCommand {}

  default byte[] encode() {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(256);
    try (DataOutputStream out = new DataOutputStream(bytes)) {
      switch (this) {
        case Start(int question, Vocabulary vocabulary, int pages) -> {
          write(out, 0, question, pages, vocabulary.size());
          writeInts(out, vocabulary.draftIds().stream().mapToInt(Integer::intValue).toArray());
        }
        case Write(int[] slots, byte[] hidden) -> {
          write(out, 1);
          writeInts(out, slots);
          out.write(hidden);
        }
        case Send(int stage, int[] slots) -> {
          write(out, 2, stage);
          writeInts(out, slots);
        }
        case Receive(int stage, int[] slots) -> {
          write(out, 3, stage);
          writeInts(out, slots);
        }
        case Pass(int from, int to, boolean propagates, ForwardBatch rows) -> {
          write(out, 4, from, to);
          out.writeBoolean(propagates);
          writeRows(out, rows);
        }
        case Predict ask -> {
          write(out, 5, ask.question, ask.head);
          out.writeBoolean(ask.kind.drafts());
          out.writeBoolean(ask.kind.bestOnly());
          writeRows(out, ask.rows);
          writeInts(out, ask.asked);
        }
        case Read(int question, int slot) -> write(out, 6, question, slot);
        case Copy(int from, int to) -> write(out, 7, from, to);
        case Stop() -> write(out, 8);
        case Leave() -> write(out, 9);
      }
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
    return bytes.toByteArray();
  }

  /**
   * From bytes.
   *
   * @param slots gives the stage's own number of a slot
   */
  static StageCommand decode(byte[] bytes, IntUnaryOperator slots) {
    try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes))) {
      int kind = in.readByte();
      return switch (kind) {
        case 0 -> {
          int question = in.readInt();
          int pages = in.readInt();
          int size = in.readInt();
          List<Integer> draftIds = IntStream.of(readInts(in)).boxed().toList();
          yield new Start(question, new Vocabulary(size, draftIds), pages);
        }
        case 1 -> new Write(readSlots(in, slots), in.readAllBytes());
        case 2 -> new Send(in.readInt(), readSlots(in, slots));
        case 3 -> new Receive(in.readInt(), readSlots(in, slots));
        case 4 -> new Pass(in.readInt(), in.readInt(), in.readBoolean(), readRows(in, slots));
        case 5 ->
            new Predict(
                in.readInt(),
                in.readInt(),
                ModelRunner.HeadQuery.of(in.readBoolean(), in.readBoolean()),
                readRows(in, slots),
                readInts(in));
        case 6 -> new Read(in.readInt(), slots.applyAsInt(in.readInt()));
        case 7 -> new Copy(slots.applyAsInt(in.readInt()), slots.applyAsInt(in.readInt()));
        case 8 -> new Stop();
        case 9 -> new Leave();
        default -> throw new IllegalStateException("a command of the kind " + kind);
      };
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
  }

  private static void write(DataOutputStream out, int kind, int... numbers) throws IOException {
    out.writeByte(kind);
    for (int number : numbers) {
      out.writeInt(number);
    }
  }

  private static void writeInts(DataOutputStream out, int[] values) throws IOException {
    out.writeInt(values.length);
    for (int value : values) {
      out.writeInt(value);
    }
  }

  private static int[] readInts(DataInputStream in) throws IOException {
    int[] values = new int[in.readInt()];
    for (int i = 0; i < values.length; i++) {
      values[i] = in.readInt();
    }
    return values;
  }

  private static int[] readSlots(DataInputStream in, IntUnaryOperator slots) throws IOException {
    return Arrays.stream(readInts(in)).map(slots).toArray();
  }

  /** Of a sequence's pages those that its rows and the positions before them are in. */
  private static void writeRows(DataOutputStream out, ForwardBatch rows) throws IOException {
    out.writeInt(rows.ranges());
    for (int range = 0; range < rows.ranges(); range++) {
      int first = rows.start(range);
      int end = rows.end(range);
      int positions = end == first ? 0 : rows.position(end - 1) + 1;
      int pages = Math.min(rows.pages(range).length, Math.ceilDiv(positions, ModelRunner.PAGE));
      writeInts(out, Arrays.copyOf(rows.pages(range), pages));
      out.writeInt(end - first);
      for (int row = first; row < end; row++) {
        out.writeInt(rows.slot(row));
        out.writeInt(rows.position(row));
      }
    }
  }

  private static ForwardBatch readRows(DataInputStream in, IntUnaryOperator slots)
      throws IOException {
    ForwardBatch rows = new ForwardBatch();
    for (int ranges = in.readInt(); ranges > 0; ranges--) {
      rows.begin(readInts(in));
      for (int left = in.readInt(); left > 0; left--) {
        rows.add(slots.applyAsInt(in.readInt()), in.readInt());
      }
    }
    return rows;
  }
}
