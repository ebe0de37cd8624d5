package org.eellm.generate;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;

/**
 * What a stage of a pipeline sends the next one. Without any rows it says no more than that the
 * sender is alive.
 *
 * @param finished numbers of requests that are done; what is kept for them can go
 * @param parts of the block
 * @param hidden the hidden states of all parts' rows, row-major
 */
record RowsMessage(List<Integer> finished, List<PartMessage> parts, byte[] hidden) {

  /**
   * Rows of one sequence.
   *
   * @param number of the request
   * @param first position of the first row
   * @param ids of the rows' tokens
   * @param asks whether a next token is to come out
   * @param said what the heads that were asked so far say of it
   */
  record PartMessage(int number, int first, List<Integer> ids, boolean asks, List<Said> said) {}

  /**
   * @param head its index among the model's
   * @param best the most probable id
   * @param probability of that
   */
  record Said(int head, int best, double probability) {}

  byte[] encode() {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(256 + hidden.length);
    try (DataOutputStream out = new DataOutputStream(bytes)) {
      writeInts(out, finished);
      out.writeInt(parts.size());
      for (PartMessage part : parts) {
        out.writeInt(part.number());
        out.writeInt(part.first());
        writeInts(out, part.ids());
        out.writeBoolean(part.asks());
        out.writeInt(part.said().size());
        for (Said said : part.said()) {
          out.writeInt(said.head());
          out.writeInt(said.best());
          out.writeDouble(said.probability());
        }
      }
      out.write(hidden);
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
    return bytes.toByteArray();
  }

  static RowsMessage decode(byte[] message) {
    try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(message))) {
      List<Integer> finished = readInts(in);
      List<PartMessage> parts = new ArrayList<>();
      for (int left = in.readInt(); left > 0; left--) {
        int number = in.readInt();
        int first = in.readInt();
        List<Integer> ids = readInts(in);
        boolean asks = in.readBoolean();
        List<Said> said = new ArrayList<>();
        for (int more = in.readInt(); more > 0; more--) {
          said.add(new Said(in.readInt(), in.readInt(), in.readDouble()));
        }
        parts.add(new PartMessage(number, first, ids, asks, said));
      }
      return new RowsMessage(finished, parts, in.readAllBytes());
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
  }

  private static void writeInts(DataOutputStream out, List<Integer> values) throws IOException {
    out.writeInt(values.size());
    for (int value : values) {
      out.writeInt(value);
    }
  }

  private static List<Integer> readInts(DataInputStream in) throws IOException {
    List<Integer> values = new ArrayList<>();
    for (int left = in.readInt(); left > 0; left--) {
      values.add(in.readInt());
    }
    return values;
  }
}
