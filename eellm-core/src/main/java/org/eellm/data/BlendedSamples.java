package org.eellm.data;

import java.util.ArrayList;
import java.util.List;

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

  /** Which sample of which source. */
  private record Pick(int source, long index) {}

  private static final int SNAPSHOT_INTERVAL = 1 << 16;

  private final List<SampleSource> sources;
  private final double[] shares;
  private final int sequenceLength;

  // The rule needs how often each source has been taken before. Going on from the last index costs
  // a step; going back, the steps from the nearest snapshot. The result depends on the index only.
  private final List<long[]> snapshots = new ArrayList<>();
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

  private synchronized Pick pick(long index) {
    if (index < position) {
      int snapshot = (int) (index / SNAPSHOT_INTERVAL);
      System.arraycopy(snapshots.get(snapshot), 0, taken, 0, taken.length);
      position = (long) snapshot * SNAPSHOT_INTERVAL;
    }
    while (true) {
      if (position == (long) snapshots.size() * SNAPSHOT_INTERVAL) {
        snapshots.add(taken.clone());
      }
      int source = furthestBehind();
      Pick pick = new Pick(source, taken[source]);
      taken[source]++;
      if (position++ == index) {
        return pick;
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
