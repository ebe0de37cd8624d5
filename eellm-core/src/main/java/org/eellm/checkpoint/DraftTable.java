package org.eellm.checkpoint;

import java.io.IOException;
import java.io.Serializable;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.gguf.GgufFile;

/**
 * The most frequent followers of pairs, in a model folder's file {@value #FILE}: drafts that cost
 * no layer (N-Grammys, arXiv 2411.03786). Counted once on text like that to be written.
 *
 * <p>A pair is found by bisection: some hundred nanoseconds, where a token takes as many
 * microseconds.
 */
public final class DraftTable implements Serializable {
  private static final String FILE = "draft_table.safetensors";

  /** Pairs by default; beyond these come such as hardly ever come again. */
  public static final int PAIRS = 1 << 16;

  /** Pairs of a table at most: what is read has to fit into memory. */
  public static final int MOST_PAIRS = 1 << 20;

  /** Tokens that are counted at most: sorting them takes ten bytes of memory each. */
  public static final int MOST_TOKENS = 1 << 24;

  /** A token that followed a pair less often may be chance. */
  private static final int LEAST_COUNT = 3;

  /** Of ids: three of them fit a long. */
  private static final int MOST_IDS = 1 << 21;

  private static final int BITS = 21;

  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private static final DraftTable NONE = new DraftTable(new long[0], new int[0], new byte[0]);

  private final long[] pairs; // ascending
  private final int[] followers; // by pair: the token that follows most often
  private final byte[] shares; // in per cent: how often it does

  private DraftTable(long[] pairs, int[] followers, byte[] shares) {
    this.pairs = pairs;
    this.followers = followers;
    this.shares = shares;
  }

  /** A table of no pairs. */
  public static DraftTable none() {
    return NONE;
  }

  /** A pair of tokens, and how often what follows them most often does. */
  private record Counted(long pair, int follower, int count, int total) {}

  /**
   * Counts what follows pairs of tokens in a text.
   *
   * @param ids each from 0 to 2^21, without it
   * @param most pairs: those whose follower came most often
   */
  public static DraftTable count(int[] ids, int most) {
    if (most < 1 || most > MOST_PAIRS) {
      throw new CheckpointException(
          "a draft table of %d pairs: use 1 to %d".formatted(most, MOST_PAIRS));
    }
    long[] triples = new long[Math.max(0, ids.length - 2)];
    for (int i = 0; i < triples.length; i++) {
      triples[i] = ((long) ids[i] << BITS | ids[i + 1]) << BITS | ids[i + 2];
    }
    Arrays.parallelSort(triples);
    PriorityQueue<Counted> kept = new PriorityQueue<>(Comparator.comparingInt(Counted::count));
    for (int start = 0; start < triples.length; ) {
      Counted counted = mostFrequent(triples, start);
      start += counted.total();
      if (counted.count() >= LEAST_COUNT) {
        kept.add(counted);
        if (kept.size() > most) {
          kept.remove();
        }
      }
    }
    return of(kept.stream().sorted(Comparator.comparingLong(Counted::pair)).toList());
  }

  /** Counts the triples of one pair. */
  private static Counted mostFrequent(long[] sorted, int start) {
    long pair = sorted[start] >> BITS;
    long best = 0;
    int count = 0;
    int end = start;
    while (end < sorted.length && sorted[end] >> BITS == pair) {
      long triple = sorted[end];
      int first = end;
      while (end < sorted.length && sorted[end] == triple) {
        end++;
      }
      if (end - first > count) {
        count = end - first;
        best = triple;
      }
    }
    return new Counted(pair, (int) best & MOST_IDS - 1, count, end - start);
  }

  private static DraftTable of(List<Counted> ascending) {
    int size = ascending.size();
    DraftTable table = new DraftTable(new long[size], new int[size], new byte[size]);
    for (int i = 0; i < size; i++) {
      Counted counted = ascending.get(i);
      table.pairs[i] = counted.pair();
      table.followers[i] = counted.follower();
      table.shares[i] = (byte) (100L * counted.count() / counted.total());
    }
    return table;
  }

  /** Of memory. */
  public long bytes() {
    return (long) size() * (Long.BYTES + Integer.BYTES + Byte.BYTES);
  }

  /** Number of pairs. */
  public int size() {
    return pairs.length;
  }

  /** The place of a pair of tokens, below 0 where nothing is known of it. */
  public int find(int first, int second) {
    return Arrays.binarySearch(pairs, (long) first << BITS | second);
  }

  /** The token that mostly follows the pair at a place. */
  public int follower(int place) {
    return followers[place];
  }

  /** How often it does, in per cent, in the text that was counted. */
  public int share(int place) {
    return shares[place];
  }

  /**
   * Reads a model folder's; without pairs if it has none.
   *
   * @param vocabSize ids that the model may write: those below
   * @throws CheckpointException if the file is damaged, or of another vocabulary
   */
  public static DraftTable read(Path folder, int vocabSize) {
    Path path = folder.resolve(FILE);
    if (!Files.exists(path)) {
      return NONE;
    }
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      List<Long> shape = file.tensor("followers").shape();
      long size = shape.size() == 1 ? shape.getFirst() : -1;
      if (size < 0 || size > MOST_PAIRS) {
        throw damaged(path, "has followers of shape %s, not up to %d".formatted(shape, MOST_PAIRS));
      }
      // Whole arrays: number by number took a tenth of the time to the first token.
      int[] ids = bytes(file, "pairs", SafetensorsType.I32, List.of(size, 2L)).toArray(INT);
      int[] followers = bytes(file, "followers", SafetensorsType.I32, List.of(size)).toArray(INT);
      byte[] shares =
          bytes(file, "shares", SafetensorsType.U8, List.of(size)).toArray(ValueLayout.JAVA_BYTE);
      long[] pairs = new long[(int) size];
      long before = -1;
      for (int i = 0; i < size; i++) {
        int first = id(path, ids[2 * i], vocabSize);
        int second = id(path, ids[2 * i + 1], vocabSize);
        id(path, followers[i], vocabSize);
        pairs[i] = (long) first << BITS | second;
        if (pairs[i] <= before || shares[i] < 0 || shares[i] > 100) {
          throw damaged(path, "pairs have to ascend, and shares to be per cent");
        }
        before = pairs[i];
      }
      return new DraftTable(pairs, followers, shares);
    }
  }

  private static MemorySegment bytes(
      SafetensorsFile file, String name, SafetensorsType type, List<Long> shape) {
    StoredTensor tensor = file.tensor(name);
    if (tensor.type() != type || !tensor.shape().equals(shape)) {
      throw damaged(
          file.path(),
          "%s is %s of shape %s, not %s of %s"
              .formatted(name, tensor.type(), tensor.shape(), type, shape));
    }
    return tensor.bytes();
  }

  private static int id(Path path, int id, int vocabSize) {
    if (id < 0 || id >= Math.min(vocabSize, MOST_IDS)) {
      throw damaged(path, "token %d is outside 0..%d".formatted(id, vocabSize - 1));
    }
    return id;
  }

  private static CheckpointException damaged(Path path, String why) {
    return new CheckpointException(
        "%s: %s; remove the file, or make it anew with draft-table".formatted(path, why));
  }

  /**
   * Writes it into a model folder, in place of the one that is there.
   *
   * @throws CheckpointException if the model is a GGUF file, or the disk is full
   */
  public void write(Path folder) throws IOException {
    if (GgufFile.isOne(folder)) {
      throw new CheckpointException(
          folder + ": a table of drafts lies in a model folder; make one with eellm convert");
    }
    long size = size();
    MemorySegment pairBytes = MemorySegment.ofArray(new byte[8 * pairs.length]);
    MemorySegment followerBytes = MemorySegment.ofArray(new byte[4 * pairs.length]);
    for (int i = 0; i < pairs.length; i++) {
      pairBytes.set(INT, 8L * i, (int) (pairs[i] >> BITS));
      pairBytes.set(INT, 8L * i + 4, (int) pairs[i] & MOST_IDS - 1);
      followerBytes.set(INT, 4L * i, followers[i]);
    }
    Path part = folder.resolve(FILE + ".part");
    Files.deleteIfExists(part);
    SafetensorsWriter.write(
        part,
        Map.of(),
        List.of(
            TensorSource.of("pairs", SafetensorsType.I32, List.of(size, 2L), pairBytes),
            TensorSource.of("followers", SafetensorsType.I32, List.of(size), followerBytes),
            TensorSource.of(
                "shares", SafetensorsType.U8, List.of(size), MemorySegment.ofArray(shares))));
    CheckpointIntegrity.forget(folder, FILE);
    Files.move(part, folder.resolve(FILE), StandardCopyOption.REPLACE_EXISTING);
    CheckpointIntegrity.add(folder, FILE);
  }
}
