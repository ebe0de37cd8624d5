package org.eellm.decode.strategy;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What a stage of a pipeline sends the next one.
 *
 * @param finished numbers of requests that are done; what is kept for them can go
 * @param parts of the block
 */
public record HiddenStatesMessage(List<Integer> finished, List<SequenceHiddenStates> parts) {
  /** Instead of an encoded message: there is none, and no further one. */
  public static final byte[] END_OF_STREAM = {};

  /**
   * Rows of one sequence.
   *
   * @param requestId index of the request, the same on all ranks
   * @param attempt of the sequence; the first rows of a later one replace what was there
   * @param first position of the first row
   * @param ids of the rows' tokens
   * @param needsToken whether a next token is to come out
   * @param earlier what the heads that were asked so far predict of it
   * @param hidden the rows' hidden states, one after the other
   */
  public record SequenceHiddenStates(
      int requestId,
      int attempt,
      int first,
      List<Integer> ids,
      boolean needsToken,
      List<RemotePrediction> earlier,
      byte[] hidden) {

    /** These rows, of which no token is asked, and those that follow or replace them. */
    SequenceHiddenStates and(SequenceHiddenStates later) {
      int kept = Math.clamp((long) later.first - first, 0, ids.size());
      int bytes = hidden.length / ids.size() * kept;
      List<Integer> all = new ArrayList<>(ids.subList(0, kept));
      all.addAll(later.ids);
      byte[] rows = Arrays.copyOf(hidden, bytes + later.hidden.length);
      System.arraycopy(later.hidden, 0, rows, bytes, later.hidden.length);
      return new SequenceHiddenStates(
          requestId, later.attempt, later.first - kept, all, later.needsToken, later.earlier, rows);
    }
  }

  /**
   * What a head predicts of a token.
   *
   * @param head its index among the model's
   * @param best the most probable id
   * @param probability of that
   */
  public record RemotePrediction(int head, int best, double probability) {}

  /** Whether a next token is to come out for any of the sequences. */
  public boolean needsToken() {
    return parts.stream().anyMatch(SequenceHiddenStates::needsToken);
  }

  /** Number of rows, of all sequences. */
  public int rows() {
    return parts.stream().mapToInt(part -> part.ids().size()).sum();
  }

  /** This message, in which no token is asked for, and the one that follows it. */
  public HiddenStatesMessage and(HiddenStatesMessage later) {
    List<Integer> done = new ArrayList<>(finished);
    done.addAll(later.finished);
    Map<Integer, SequenceHiddenStates> all = new LinkedHashMap<>();
    parts.forEach(part -> all.put(part.requestId(), part));
    later.finished.forEach(all::remove);
    later.parts.forEach(part -> all.merge(part.requestId(), part, SequenceHiddenStates::and));
    return new HiddenStatesMessage(done, List.copyOf(all.values()));
  }

  public byte[] encode() {
    int hidden = parts.stream().mapToInt(part -> part.hidden().length).sum();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(hidden + 1024);
    try (DataOutputStream out = new DataOutputStream(bytes)) {
      writeInts(out, finished);
      out.writeInt(parts.size());
      for (SequenceHiddenStates part : parts) {
        out.writeInt(part.requestId());
        out.writeInt(part.attempt());
        out.writeInt(part.first());
        writeInts(out, part.ids());
        out.writeBoolean(part.needsToken());
        out.writeInt(part.earlier().size());
        for (RemotePrediction predicted : part.earlier()) {
          out.writeInt(predicted.head());
          out.writeInt(predicted.best());
          out.writeDouble(predicted.probability());
        }
        out.writeInt(part.hidden().length);
        out.write(part.hidden());
      }
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
    return bytes.toByteArray();
  }

  public static HiddenStatesMessage decode(byte[] message) {
    try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(message))) {
      List<Integer> finished = readInts(in);
      List<SequenceHiddenStates> parts = new ArrayList<>();
      for (int left = in.readInt(); left > 0; left--) {
        int requestId = in.readInt();
        int attempt = in.readInt();
        int first = in.readInt();
        List<Integer> ids = readInts(in);
        boolean needsToken = in.readBoolean();
        List<RemotePrediction> earlier = new ArrayList<>();
        for (int more = in.readInt(); more > 0; more--) {
          earlier.add(new RemotePrediction(in.readInt(), in.readInt(), in.readDouble()));
        }
        byte[] hidden = in.readNBytes(in.readInt());
        parts.add(
            new SequenceHiddenStates(requestId, attempt, first, ids, needsToken, earlier, hidden));
      }
      return new HiddenStatesMessage(finished, parts);
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
