package org.eellm.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.eellm.data.BlendedSamples.WeightedSource;
import org.eellm.data.Split.Part;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class SamplesTest {
  private static final int LENGTH = 8;

  @TempDir Path folder;

  /** Consecutive samples, one after the other: tokens {@code [count, sequenceLength + 1]}. */
  private static int[] read(SampleSource samples, long first, int count) {
    int width = samples.sequenceLength() + 1;
    int[] tokens = new int[count * width];
    for (int i = 0; i < count; i++) {
      samples.sample(first + i, tokens, i * width);
    }
    return tokens;
  }

  @Test
  void permutation_everySize_isAPermutation() {
    for (int size = 1; size < 300; size++) {
      for (long key = 0; key < 3; key++) {
        KeyedPermutation permutation = new KeyedPermutation(size, key);
        assertThat(LongStream.range(0, size).map(permutation::at).sorted().toArray())
            .isEqualTo(LongStream.range(0, size).toArray());
      }
    }
    KeyedPermutation huge = new KeyedPermutation(1L << 62, 1);
    assertThat(LongStream.range(0, 1000).map(huge::at).distinct().count()).isEqualTo(1000);
  }

  @Test
  void permutation_anyPlace_goesEverywhere() {
    // Where the first of ten goes, over many keys: each place about as often.
    int[] counts = new int[10];
    for (long key = 0; key < 10_000; key++) {
      counts[(int) new KeyedPermutation(10, key).at(0)]++;
    }
    assertThat(Arrays.stream(counts).boxed())
        .allSatisfy(count -> assertThat(count).isBetween(850, 1150));
  }

  @Test
  void split_shares_followMegatronsRounding() {
    assertThat(new Split(969, 30, 1).boundaries(1000)).containsExactly(0, 969, 999, 1000);
    assertThat(new Split(1, 1, 0).boundaries(3)).containsExactly(0, 1, 3, 3);
    assertThat(new Split(9, 1, 0).boundaries(1)).containsExactly(0, 1, 1, 1);
    assertThat(new Split(1, 1, 1).boundaries(100)).containsExactly(0, 34, 67, 100);
    assertThatThrownBy(() -> new Split(0, 0, 0)).isInstanceOf(DataException.class);
    assertThatThrownBy(() -> new Split(1, -1, 0)).isInstanceOf(DataException.class);
    assertThatThrownBy(() -> new Split(Double.NaN, 1, 0)).isInstanceOf(DataException.class);
  }

  @Test
  void sample_epoch_showsEveryTokenOnceAsTarget() {
    try (IndexedDataset dataset = dataset("ring", 10, 16)) { // 160 different tokens
      DatasetSamples samples = samples(dataset, new Split(1, 0, 0), Part.TRAINING, 1);
      assertThat(samples.samplesPerEpoch()).isEqualTo(20);
      for (int epoch = 0; epoch < 5; epoch++) {
        int[] targets = new int[0];
        for (int i = 0; i < 20; i++) {
          int[] sample = read(samples, epoch * 20L + i, 1);
          for (int j = 1; j <= LENGTH; j++) { // neighbours in the file, round the end
            assertThat(sample[j]).isEqualTo((sample[j - 1] + 1) % 160);
          }
          targets =
              IntStream.concat(Arrays.stream(targets), Arrays.stream(sample).skip(1)).toArray();
        }
        assertThat(Arrays.stream(targets).sorted().toArray())
            .isEqualTo(IntStream.range(0, 160).toArray());
      }
    }
  }

  @Test
  void sample_dependsOnSeedAndIndexOnly() {
    try (IndexedDataset dataset = dataset("pure", 10, 160)) {
      int[] expected = read(samples(dataset, new Split(1, 0, 0), Part.TRAINING, 1), 0, 500);
      DatasetSamples again = samples(dataset, new Split(1, 0, 0), Part.TRAINING, 1);
      int width = LENGTH + 1;
      for (int i = 499; i >= 0; i -= 7) {
        assertThat(read(again, i, 1))
            .isEqualTo(Arrays.copyOfRange(expected, i * width, (i + 1) * width));
      }
      assertThat(read(samples(dataset, new Split(1, 0, 0), Part.TRAINING, 2), 0, 500))
          .isNotEqualTo(expected);
      // Epochs are of 200 samples, and not alike.
      assertThat(Arrays.copyOfRange(expected, 200 * width, 400 * width))
          .isNotEqualTo(Arrays.copyOfRange(expected, 0, 200 * width));
    }
  }

  @Test
  void sample_validation_doesNotDependOnTheSeed() {
    try (IndexedDataset dataset = dataset("fixed", 10, 160)) {
      Split split = new Split(1, 1, 0);
      assertThat(read(samples(dataset, split, Part.VALIDATION, 1), 0, 50))
          .isEqualTo(read(samples(dataset, split, Part.VALIDATION, 2), 0, 50));
    }
  }

  @Test
  void sample_parts_doNotShareTokens() {
    try (IndexedDataset dataset = dataset("parts", 10, 16)) {
      Split split = new Split(8, 1, 1);
      Set<Integer> seen = new HashSet<>();
      for (Part part : Part.values()) {
        DatasetSamples samples = samples(dataset, split, part, 3);
        int[] tokens = read(samples, 0, (int) samples.samplesPerEpoch());
        Set<Integer> own = new HashSet<>(Arrays.stream(tokens).boxed().toList());
        assertThat(own).hasSize(part == Part.TRAINING ? 128 : 16);
        assertThat(Collections.disjoint(own, seen)).isTrue();
        seen.addAll(own);
      }
    }
  }

  @Test
  void sample_fewerDocumentsThanParts_areDividedByTokens() {
    try (IndexedDataset dataset = dataset("single", 1, 100)) {
      int[] training =
          read(
              samples(dataset, new Split(9, 1, 0), Part.TRAINING, 1),
              0,
              11); // an epoch: 88 of 90 tokens
      int[] validation = read(samples(dataset, new Split(9, 1, 0), Part.VALIDATION, 1), 0, 1);
      assertThat(Arrays.stream(training).max()).hasValue(89);
      assertThat(Arrays.stream(validation).min().orElseThrow()).isGreaterThanOrEqualTo(90);
    }
  }

  @Test
  void starts_documentEnd_beginDocumentsAfterIt() {
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(folder.resolve("ended"), 300)) {
      for (int document = 0; document < 20; document++) {
        writer.add(IntStream.range(0, document % 5).toArray());
        writer.add(9);
        writer.endDocument();
      }
      writer.commit();
    }
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("ended"))) {
      requireStartsAfter(9, dataset);
    }
  }

  private static void requireStartsAfter(int end, IndexedDataset dataset) {
    DatasetSamples separate =
        new DatasetSamples(
            dataset,
            new Split(1, 0, 0),
            Part.TRAINING,
            new DatasetSamples.Shape(LENGTH, 300, OptionalInt.of(end)),
            1);
    DatasetSamples joined = samples(dataset, new Split(1, 0, 0), Part.TRAINING, 1);
    for (int i = 0; i < 3 * separate.samplesPerEpoch(); i++) {
      int[] tokens = read(separate, i, 1);
      int[] found = new int[LENGTH];
      separate.starts(i, tokens, found, 0);
      int start = 0;
      for (int at = 0; at < LENGTH; at++) {
        start = at > 0 && tokens[at - 1] == end ? at : start;
        assertThat(found[at]).as("%s at %d", Arrays.toString(tokens), at).isEqualTo(start);
      }
      int[] none = new int[LENGTH];
      joined.starts(i, tokens, none, 0);
      assertThat(none).containsOnly(0);
    }
  }

  /** Chats: the token that ends documents ends turns as well, and some tokens do not count. */
  @Test
  void samples_ofMaskedDataset_haveItsMaskAndItsDocuments() {
    int[] ids = {5, 9, 6, 9, 7, 8}; // 8 is at the end of documents alone
    boolean[] counted = {false, false, true, true, false, false};
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(folder.resolve("chats"), 300)) {
      writer.add(20, 20, 8);
      writer.endDocument(); // a text in front: all of it counts
      for (int document = 0; document < 30; document++) {
        writer.add(new CountedTokens(ids, counted));
        writer.endDocument();
      }
      writer.commit();
    }
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(folder.resolve("texts"), 300)) {
      writer.add(IntStream.range(100, 200).toArray());
      writer.endDocument();
      writer.commit();
    }
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("chats"));
        IndexedDataset texts = IndexedDataset.open(folder.resolve("texts"))) {
      assertThat(texts.isMasked()).isFalse();
      assertThat(dataset.isMasked()).isTrue();
      requireStartsAfter(8, dataset);
      DatasetSamples chats =
          new DatasetSamples(
              dataset,
              new Split(1, 0, 0),
              Part.TRAINING,
              new DatasetSamples.Shape(LENGTH, 300, OptionalInt.of(9)),
              1);
      BlendedSamples blend =
          new BlendedSamples(
              List.of(
                  new WeightedSource(chats, 1),
                  new WeightedSource(samples(texts, new Split(1, 0, 0), Part.TRAINING, 1), 1)));
      assertThat(blend.isMasked()).isTrue();
      long sum = 0;
      for (int i = 0; i < 40; i++) {
        int[] tokens = read(blend, i, 1);
        float[] mask = new float[LENGTH];
        blend.lossMask(i, mask, 0);
        for (int at = 0; at < blend.sequenceLength(); at++) {
          int target = tokens[at + 1];
          boolean ends = target == 9 && tokens[at] == 6;
          boolean text = target >= 20 || target == 8 && tokens[at] == 20;
          assertThat(mask[at]).isEqualTo(ends || text || target == 6 ? 1 : 0);
          sum += (long) mask[at];
        }
      }
      assertThat(blend.counted(0, 40)).isEqualTo(sum).isLessThan(40L * LENGTH);
    }
  }

  @Test
  void sample_partTooShort_isNamed() {
    try (IndexedDataset dataset = dataset("short", 2, LENGTH)) {
      assertThatThrownBy(() -> samples(dataset, new Split(1, 1, 0), Part.VALIDATION, 1))
          .isInstanceOf(DataException.class)
          .hasMessage(
              folder.resolve("short")
                  + ": its validation part has 8 of 16 tokens, too few for a sample of 9; prepare"
                  + " more text, choose another split or a shorter sequence length");
      assertThatThrownBy(() -> samples(dataset, new Split(1, 0, 0), Part.TEST, 1))
          .hasMessageContaining("its test part has 0 of 16 tokens");
      assertThat(samples(dataset, new Split(1, 0, 0), Part.TRAINING, 1).samplesPerEpoch())
          .isEqualTo(2);
    }
  }

  @Test
  void sample_tokenBeyondTheVocabulary_isNamed() {
    IndexedDatasetTest.write(
        folder.resolve("beyond"), 100, new int[] {1, 2, 3, 4, 5}, new int[] {6, 77, 7, 8, 9});
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("beyond"))) {
      DatasetSamples samples =
          new DatasetSamples(
              dataset,
              new Split(1, 0, 0),
              Part.TRAINING,
              new DatasetSamples.Shape(LENGTH, 77, OptionalInt.empty()),
              1);
      assertThatThrownBy(() -> read(samples, 0, 1))
          .isInstanceOf(DataException.class)
          .hasMessage(
              folder.resolve("beyond")
                  + ".bin: document 1 has token 77, outside the model's vocabulary of 77; prepare"
                  + " the text with the model's tokenizer");
    }
  }

  @Test
  void blend_weights_areKeptInEveryPrefix() {
    double[] weights = {5, 3, 1.5, 0.5};
    BlendedSamples blend = blend(weights);
    int[] taken = new int[4];
    for (int i = 0; i < 2000; i++) {
      int[] sample = read(blend, i, 1);
      assertThat(sample[1]).isEqualTo(taken[sample[0]]++); // its own samples in order
      for (int j = 0; j < 4; j++) {
        assertThat((double) taken[j]).isCloseTo((i + 1) * weights[j] / 10, within(1.5));
      }
    }
    assertThat(taken).containsExactly(1000, 600, 300, 100);
    // Megatron's rule worked out by hand.
    assertThat(IntStream.range(0, 4).map(i -> read(blend, i, 1)[0])).containsExactly(0, 1, 2, 0);
  }

  @Test
  void blend_anyOrderOfIndices_givesTheSame() {
    BlendedSamples forward = blend(0.7, 0.2, 0.1);
    int[] expected = read(forward, 0, 200_000);
    BlendedSamples other = blend(0.7, 0.2, 0.1);
    for (int index : new int[] {199_999, 5, 65_536, 65_535, 131_072, 0, 70_000, 69_999, 180_000}) {
      assertThat(read(other, index, 1))
          .containsExactly(expected[2 * index], expected[2 * index + 1]);
    }
  }

  @Test
  void blend_fromAKeptPosition_goesOnWithoutCountingFromTheStart() {
    BlendedSamples first = blend(0.7, 0.2, 0.1);
    int[] expected = read(first, 150_000, 1000);
    BlendedSamples.Position kept = first.position(150_123);
    BlendedSamples next = blend(0.7, 0.2, 0.1);
    next.seek(kept);
    assertThat(read(next, 150_123, 800)).isEqualTo(Arrays.copyOfRange(expected, 2 * 123, 2 * 923));
    assertThat(read(next, 150_000, 1000)).isEqualTo(expected);
    // So far that counting from the start would take hours.
    long far = 1L << 50;
    next.seek(new BlendedSamples.Position(far, List.of(far / 2, far / 4, far / 4)));
    assertThat(next.position(far + 3).taken().stream().mapToLong(Long::longValue).sum())
        .isEqualTo(far + 3);
    assertThatThrownBy(() -> next.seek(new BlendedSamples.Position(3, List.of(2L, 1L))))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("resume with the run's own data.sources");
  }

  @Test
  void blend_samplesPerEpoch_coversEverySource() {
    // 100 samples each: half the blend is the first, so its 100 take 200; the last's take 500.
    assertThat(blend(5, 3, 2).samplesPerEpoch()).isEqualTo(500);
  }

  /** Sources whose samples are two tokens: which source, and which of its samples. */
  private static BlendedSamples blend(double... weights) {
    return new BlendedSamples(
        IntStream.range(0, weights.length)
            .mapToObj(i -> new WeightedSource(new Numbered(i), weights[i]))
            .toList());
  }

  private record Numbered(int number) implements SampleSource {
    @Override
    public int sequenceLength() {
      return 1;
    }

    @Override
    public long samplesPerEpoch() {
      return 100;
    }

    @Override
    public void sample(long index, int[] into, int offset) {
      into[offset] = number;
      into[offset + 1] = (int) index;
    }
  }

  private static DatasetSamples samples(IndexedDataset dataset, Split split, Part part, long seed) {
    return new DatasetSamples(
        dataset,
        split,
        part,
        new DatasetSamples.Shape(LENGTH, Integer.MAX_VALUE, OptionalInt.empty()),
        seed);
  }

  /** Documents whose tokens count on from one to the next. */
  private IndexedDataset dataset(String name, int documents, int length) {
    int[][] content = new int[documents][];
    Arrays.setAll(content, i -> IntStream.range(i * length, (i + 1) * length).toArray());
    IndexedDatasetTest.write(folder.resolve(name), 65_000, content);
    return IndexedDataset.open(folder.resolve(name));
  }
}
