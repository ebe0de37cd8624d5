package org.eellm.data;

import java.util.Locale;
import java.util.OptionalInt;
import java.util.stream.IntStream;
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
  private final OptionalInt documentEnd;

  /**
   * What a sample is like.
   *
   * @param sequenceLength tokens that the loss sees in it
   * @param vocabSize the model's vocabulary; a token beyond it is an error when it is read
   * @param documentEnd the token that ends every document, where a token sees its own document
   *     alone (Megatron's {@code --reset-attention-mask} and {@code --reset-position-ids}). Where
   *     the dataset has a mask, its index alone tells documents: chats have that token in them,
   *     too.
   */
  public record Shape(int sequenceLength, int vocabSize, OptionalInt documentEnd) {}

  /**
   * @param seed of the order of training samples; that of the other parts is always the same
   * @throws DataException if the part is too short for one sample
   */
  public DatasetSamples(IndexedDataset dataset, Split split, Part part, Shape shape, long seed) {
    this.dataset = dataset;
    this.sequenceLength = shape.sequenceLength();
    this.vocabSize = shape.vocabSize();
    this.seed = part == Part.TRAINING ? seed : 0;
    this.documentEnd = shape.documentEnd();
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
    long from = from(index);
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

  @Override
  public boolean isMasked() {
    return dataset.isMasked();
  }

  @Override
  public void lossMask(long index, float[] into, int offset) {
    if (!isMasked()) {
      SampleSource.super.lossMask(index, into, offset);
      return;
    }
    long from = from(index) + 1; // of the targets
    for (int i = 0; i < sequenceLength; i++) {
      into[offset + i] = dataset.isCounted(start + (from + i) % length) ? 1 : 0;
    }
  }

  @Override
  public long counted(long index) {
    if (!isMasked()) {
      return SampleSource.super.counted(index);
    }
    long from = from(index) + 1; // of the targets
    return IntStream.range(0, sequenceLength)
        .filter(i -> dataset.isCounted(start + (from + i) % length))
        .count();
  }

  @Override
  public void starts(long index, int[] inputs, int[] into, int offset) {
    if (documentEnd.isEmpty()) {
      return;
    }
    long from = from(index);
    long document = dataset.documentAt(start + from);
    for (int i = 1; i < sequenceLength; i++) {
      long token = (from + i) % length;
      boolean begins =
          isMasked()
              ? token == 0 || dataset.documentStart(document + 1) <= start + token
              : inputs[offset + i - 1] == documentEnd.getAsInt();
      into[offset + i] = begins ? i : into[offset + i - 1];
      if (begins && isMasked()) {
        document = dataset.documentAt(start + token);
      }
    }
  }

  /** Where a sample begins, in tokens of the part. */
  private long from(long index) {
    long epoch = index / samplesPerEpoch();
    long epochKey = KeyedPermutation.mix(KeyedPermutation.mix(seed) + epoch);
    long rotation = Math.floorMod(KeyedPermutation.mix(epochKey), length);
    long place = new KeyedPermutation(samplesPerEpoch(), epochKey).at(index % samplesPerEpoch());
    return (rotation + place * sequenceLength) % length;
  }
}
