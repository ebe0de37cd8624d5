package org.eellm.data;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * A blend of sources by weight: sample i comes from the source that is furthest behind its share of
 * the first i samples (Megatron's rule), and each source's samples are taken in their order. So
 * every prefix of the row has the wanted proportions, to within a sample or so.
 */
public final class BlendedSamples implements SampleSource {
  /**
   * A source of a blend.
   *
   * @param weight relative share of samples, positive
   */
  public record WeightedSource(SampleSource source, double weight) {}

  /**
   * Where a blend is.
   *
   * @param sample the next one's index
   * @param taken how many samples of each source are before it
   */
  public record Position(long sample, List<Long> taken) {}

  /** Which sample of which source. */
  private record Pick(int source, long index) {}

  private static final int SNAPSHOT_INTERVAL = 1 << 16;

  private final List<SampleSource> sources;
  private final double[] shares;
  private final int sequenceLength;

  // The rule needs how often each source has been taken before. Going on from the last index costs
  // a step; going back, the steps from the nearest snapshot. The result depends on the index only.
  private final TreeMap<Long, long[]> snapshots = new TreeMap<>();
  private final long[] taken;
  private long position;

  /**
   * @param sources at least one; all of the same sequence length
   */
  public BlendedSamples(List<WeightedSource> sources) {
    this.sources = sources.stream().map(WeightedSource::source).toList();
    double sum = sources.stream().mapToDouble(WeightedSource::weight).sum();
    this.shares = sources.stream().mapToDouble(source -> source.weight() / sum).toArray();
    this.sequenceLength = this.sources.getFirst().sequenceLength();
    this.taken = new long[shares.length];
    snapshots.put(0L, taken.clone());
    for (WeightedSource source : sources) {
      if (!(source.weight() > 0) || source.source().sequenceLength() != sequenceLength) {
        throw new IllegalArgumentException("a weight that is not positive or unequal lengths");
      }
    }
  }

  @Override
  public int sequenceLength() {
    return sequenceLength;
  }

  /** How many samples show nearly every token of every source at least once. */
  @Override
  public long samplesPerEpoch() {
    double most = 0;
    for (int i = 0; i < shares.length; i++) {
      most = Math.max(most, sources.get(i).samplesPerEpoch() / shares[i]);
    }
    return (long) Math.ceil(most);
  }

  @Override
  public void sample(long index, int[] into, int offset) {
    Pick pick = pick(index);
    sources.get(pick.source()).sample(pick.index(), into, offset);
  }

  @Override
  public boolean isMasked() {
    return sources.stream().anyMatch(SampleSource::isMasked);
  }

  @Override
  public void lossMask(long index, float[] into, int offset) {
    Pick pick = pick(index);
    sources.get(pick.source()).lossMask(pick.index(), into, offset);
  }

  @Override
  public long counted(long index) {
    Pick pick = pick(index);
    return sources.get(pick.source()).counted(pick.index());
  }

  @Override
  public void starts(long index, int[] inputs, int[] into, int offset) {
    Pick pick = pick(index);
    sources.get(pick.source()).starts(pick.index(), inputs, into, offset);
  }

  private synchronized Pick pick(long index) {
    reach(index);
    int source = furthestBehind();
    return new Pick(source, taken[source]);
  }

  /** Where the blend is before a sample. */
  public synchronized Position position(long index) {
    reach(index);
    return new Position(index, Arrays.stream(taken).boxed().toList());
  }

  /**
   * Goes on from a {@link #position} of the same blend; the samples before it are found as before.
   *
   * @throws DataException if it is of another blend
   */
  public synchronized void seek(Position to) {
    long sum = to.taken().stream().mapToLong(Long::longValue).sum();
    if (to.taken().size() != shares.length || sum != to.sample()) {
      throw new DataException(
          "blend of %d sources: samples %s make no position %d in it; resume with the run's own data.sources"
              .formatted(shares.length, to.taken(), to.sample()));
    }
    snapshots.put(to.sample(), to.taken().stream().mapToLong(Long::longValue).toArray());
    position = Long.MAX_VALUE; // behind all, so that the next one looks for the nearest snapshot
  }

  /** Counts what has been taken before a sample. */
  private void reach(long index) {
    if (index < position) {
      Map.Entry<Long, long[]> nearest = snapshots.floorEntry(index);
      System.arraycopy(nearest.getValue(), 0, taken, 0, taken.length);
      position = nearest.getKey();
    }
    while (position < index) {
      taken[furthestBehind()]++;
      position++;
      if (position % SNAPSHOT_INTERVAL == 0) {
        snapshots.put(position, taken.clone());
      }
    }
  }

  private int furthestBehind() {
    double samples = Math.max(position, 1);
    int furthest = 0;
    double largest = Double.NEGATIVE_INFINITY;
    for (int i = 0; i < shares.length; i++) {
      double behind = shares[i] * samples - taken[i];
      if (behind > largest) {
        largest = behind;
        furthest = i;
      }
    }
    return furthest;
  }
}
