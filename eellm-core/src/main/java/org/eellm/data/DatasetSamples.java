package org.eellm.data;

import java.util.Locale;
import org.eellm.data.Split.Part;

/**
 * Samples of a part of one dataset.
 *
 * <p>The part's documents, in the order of the file, are joined to a ring of T tokens. An epoch
 * cuts it into T / s samples, s being the sequence length, from a random token on; each begins with
 * the token that ended the one before it. They come in a random order. Both are drawn anew for each
 * epoch, from the seed and the epoch's number. Nothing is stored: memory does not grow with the
 * data. Since documents are not shuffled among each other, a sample shows neighbours of the file; a
 * corpus of short documents in a telling order is better shuffled before it is prepared.
 */
public final class DatasetSamples implements SampleSource {
  private final IndexedDataset dataset;
  private final long start; // of the part, in tokens
  private final long length;
  private final int sequenceLength;
  private final int vocabSize;
  private final long seed;

  /**
   * @param sequenceLength tokens that the loss sees in a sample
   * @param vocabSize the model's vocabulary; a token beyond it is an error when it is read
   * @param seed of the order of training samples; that of the other parts is always the same
   * @throws DataException if the part is too short for one sample
   */
  public DatasetSamples(
      IndexedDataset dataset,
      Split split,
      Part part,
      int sequenceLength,
      int vocabSize,
      long seed) {
    this.dataset = dataset;
    this.sequenceLength = sequenceLength;
    this.vocabSize = vocabSize;
    this.seed = part == Part.TRAINING ? seed : 0;
    long[] boundaries = split.tokenBoundaries(dataset);
    this.start = boundaries[part.ordinal()];
    this.length = boundaries[part.ordinal() + 1] - start;
    if (length <= sequenceLength) {
      throw new DataException(
          ("%s: its %s part has %d of %d tokens, too few for a sample of %d; prepare more text,"
                  + " choose another split or a shorter sequence length")
              .formatted(
                  dataset.prefix(),
                  part.name().toLowerCase(Locale.ROOT),
                  length,
                  dataset.tokens(),
                  sequenceLength + 1L));
    }
  }

  @Override
  public int sequenceLength() {
    return sequenceLength;
  }

  @Override
  public long samplesPerEpoch() {
    return length / sequenceLength;
  }

  @Override
  public void sample(long index, int[] into, int offset) {
    long epoch = index / samplesPerEpoch();
    long epochKey = KeyedPermutation.mix(KeyedPermutation.mix(seed) + epoch);
    long rotation = Math.floorMod(KeyedPermutation.mix(epochKey), length);
    long place = new KeyedPermutation(samplesPerEpoch(), epochKey).at(index % samplesPerEpoch());
    long from = (rotation + place * sequenceLength) % length;
    int count = sequenceLength + 1;
    int untilEnd = (int) Math.min(count, length - from);
    dataset.read(start + from, into, offset, untilEnd);
    dataset.read(start, into, offset + untilEnd, count - untilEnd);
    for (int i = 0; i < count; i++) {
      int token = into[offset + i];
      if (token < 0 || token >= vocabSize) {
        throw dataset.beyondVocabulary(start + (from + i) % length, vocabSize);
      }
    }
  }
}
