package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.function.IntFunction;
import java.util.function.IntUnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.eellm.checkpoint.DraftTable;
import org.eellm.checkpoint.huggingface.GgufMatrix;
import org.eellm.config.DataType;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.Quantization;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftMemory;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.decode.token.TokenListener;
import org.eellm.gguf.GgufRows;
import org.eellm.gguf.GgufType;
import org.eellm.kernel.weight.DecodedRows;
import org.eellm.kernel.weight.WeightRows;
import org.eellm.model.Decoder;
import org.eellm.model.StoredDecoder;
import org.eellm.model.StoredDecoder.Part;
import org.eellm.model.parameter.ParameterSpec;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * That drafts leave the full model's text as it is, in every format that weights, keys and values
 * may have; {@code -Dtexts=240} for more texts in all of them.
 */
@ExtendWith(OneThread.class)
final class LosslessFormatsTest {
  private static final int TEXTS = Integer.getInteger("texts", 8);

  /** Of few ids, exits often guess right, and a text repeats itself. */
  private static final int IDS = 6;

  private static final DecodingMethod OF_HEAD = new DecodingMethod.AdaptiveDrafts(DraftSource.HEAD);

  private static final List<DecodingMethod> DRAFTS =
      List.of(
          new DecodingMethod.Speculative(2, new DraftLength.Fixed(3)),
          new DecodingMethod.Speculative(List.of(1, 4), new DraftLength.Adaptive(3, 0.1)),
          new DecodingMethod.Speculative(List.of(1), new DraftLength.Adaptive(4, 0.05), 4, 0),
          new DecodingMethod.Speculative(List.of(2), new DraftLength.Fixed(3), 0, 4),
          new DecodingMethod.AdaptiveDrafts(DraftSource.EXITS),
          OF_HEAD,
          fixed(DraftSource.HEAD),
          fixed(DraftSource.TEXT),
          new DecodingMethod.AdaptiveDrafts(DraftSource.TEXT),
          new DecodingMethod.AdaptiveDrafts(DraftSource.PROMPT),
          new DecodingMethod.AdaptiveDrafts(DraftSource.TABLE),
          new DecodingMethod.AdaptiveDrafts(DraftSource.REPLIES),
          new DecodingMethod.AdaptiveDrafts(DraftSource.RECYCLED),
          new DecodingMethod.AdaptiveDrafts(DraftSource.BOTH));

  @ParameterizedTest
  @CsvSource({
    "FLOAT32, NONE, NONE, NONE",
    "FLOAT32, NONE, NONE, INT8",
    "FLOAT32, INT8, INT8, NONE",
    "FLOAT32, INT4, INT8, INT8",
    "BFLOAT16, NONE, NONE, NONE",
    "BFLOAT16, NONE, NONE, INT8",
    "BFLOAT16, NONE, INT8, NONE",
    "BFLOAT16, INT8, INT8, NONE",
    "BFLOAT16, INT8, INT8, INT8",
    "BFLOAT16, INT4, INT8, NONE",
    "BFLOAT16, INT4, INT4, INT8"
  })
  void generate_drafts_areTheFullModelsText(
      DataType type, Quantization layers, Quantization heads, Quantization cache) {
    MatrixQuantization quantization = new MatrixQuantization(layers, heads, cache);
    try (StoredDecoder stored = StoredDecoder.of(SmallModel.withDraftHead(type), quantization)) {
      if (type == DataType.FLOAT32 && layers == Quantization.NONE && cache == Quantization.NONE) {
        requireFullModelsText(stored, TEXTS, _ -> List.of(1, 8));
      } else {
        requireFullModelsText(stored, type.ordinal() + layers.ordinal() + cache.ordinal());
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "FLOAT32, NONE",
    "FLOAT32, INT4",
    "BFLOAT16, NONE",
    "BFLOAT16, INT8",
    "BFLOAT16, INT4"
  })
  void generate_draftsOfExperts_areTheFullModelsText(DataType type, Quantization layers) {
    MatrixQuantization quantization =
        new MatrixQuantization(layers, Quantization.NONE, Quantization.NONE);
    try (StoredDecoder stored = StoredDecoder.of(SmallModel.withWideExperts(type), quantization)) {
      requireFullModelsText(stored, type.ordinal() + layers.ordinal());
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"Q8_0", "Q4_0"})
  void generate_draftsOfAGgufFilesGroups_areTheFullModelsText(GgufType type) {
    Quantization format = type == GgufType.Q8_0 ? Quantization.INT8 : Quantization.INT4;
    try (Decoder model = SmallModel.withWideHeads(DataType.BFLOAT16)) {
      Part part = Part.whole(model.architecture(), new MatrixQuantization(format, format));
      Map<String, WeightRows> weights =
          part.parameterGroups().stream()
              .flatMap(List::stream)
              .collect(
                  Collectors.toMap(
                      ParameterSpec::name, spec -> grouped(type, model.rows(spec.name()))));
      try (StoredDecoder stored = new StoredDecoder(part, weights, List.of(), () -> {})) {
        requireFullModelsText(stored, type.ordinal());
      }
    }
  }

  /** A matrix as a file has it; what has no whole groups stays as it is. */
  private static WeightRows grouped(GgufType type, WeightRows matrix) {
    if (matrix.rows() == 1 || matrix.columns() % type.group() != 0) {
      return matrix;
    }
    float[] values = matrix.floats();
    ByteBuffer bytes =
        ByteBuffer.allocate(Math.toIntExact(matrix.rows() * type.rowBytes(matrix.columns())))
            .order(ByteOrder.LITTLE_ENDIAN);
    int most = type == GgufType.Q8_0 ? 127 : 7;
    for (int first = 0; first < values.length; first += type.group()) {
      int[] numbers = new int[type.group()];
      float largest = 0;
      for (int i = 0; i < numbers.length; i++) {
        largest = Math.max(largest, Math.abs(values[first + i]));
      }
      for (int i = 0; i < numbers.length; i++) {
        numbers[i] = Math.round(values[first + i] * most / largest);
      }
      bytes.putShort(Float.floatToFloat16(largest / most));
      if (type == GgufType.Q8_0) {
        IntStream.of(numbers).forEach(number -> bytes.put((byte) number));
      } else {
        for (int i = 0; i < 16; i++) {
          bytes.put((byte) (numbers[i] + 8 | (numbers[i + 16] + 8) << 4));
        }
      }
    }
    GgufRows rows =
        new GgufRows(
            type,
            matrix.rows(),
            matrix.columns(),
            MemorySegment.ofArray(bytes.array()),
            IntUnaryOperator.identity());
    return DecodedRows.of(new GgufMatrix(rows));
  }

  @Tag("slow")
  @ParameterizedTest
  @CsvSource({"FLOAT32, 1", "BFLOAT16, 8"})
  void generate_draftsOf240Texts_areTheFullModelsText(DataType type, int batchSize) {
    try (StoredDecoder stored =
        StoredDecoder.of(
            SmallModel.withDraftHead(type),
            new MatrixQuantization(Quantization.NONE, Quantization.NONE, Quantization.NONE))) {
      requireFullModelsText(stored, 240, _ -> List.of(batchSize));
    }
  }

  /** Of the methods every other in large batches, beginning with another one in other formats. */
  private static void requireFullModelsText(StoredDecoder stored, int format) {
    requireFullModelsText(stored, TEXTS, method -> List.of((method + format) % 2 == 0 ? 1 : 8));
  }

  /**
   * @param batchSizes of the method of this number
   */
  private static void requireFullModelsText(
      StoredDecoder stored, int count, IntFunction<List<Integer>> batchSizes) {
    KernelRunner.pack(stored);
    List<Integer> listed = IntStream.range(0, IDS / 2).map(i -> 2 * i).boxed().toList();
    Limits limits = Limits.of(stored).withVocabulary(new Vocabulary(IDS, listed));
    List<List<Integer>> full = ids(texts(stored, limits, DecodingMethod.full(), count));
    int[] written = full.stream().flatMap(List::stream).mapToInt(id -> id).toArray();
    DraftTable table = DraftTable.count(written, 1000);
    limits = limits.withVocabulary(new Vocabulary(IDS, listed, table));
    for (int method = 0; method < DRAFTS.size(); method++) {
      DecodingMethod drafting = DRAFTS.get(method);
      if (drafting instanceof DecodingMethod.OfSource drafts
          && drafts.source() == DraftSource.HEAD
          && stored.draftHead().isEmpty()) {
        continue;
      }
      for (int batchSize : batchSizes.apply(method)) {
        List<Result> drafted = texts(stored, limits.withBatchSize(batchSize), drafting, count);

        assertThat(ids(drafted)).as("%s in batches of %d", drafting, batchSize).isEqualTo(full);
        int judged = drafted.stream().mapToInt(text -> text.usage().draftedTokens()).sum();
        int held = drafted.stream().mapToInt(text -> text.usage().acceptedTokens()).sum();
        if (drafting instanceof DecodingMethod.Speculative
            || drafting instanceof DecodingMethod.FixedDrafts) { // others may find drafts too dear
          assertThat(held).isBetween(1, judged - 1); // both verdicts have been tried
        } else if (drafting.equals(OF_HEAD)) {
          assertThat(judged).isPositive(); // it is tried at least
        }
      }
    }
  }

  private static DecodingMethod fixed(DraftSource source) {
    return new DecodingMethod.FixedDrafts(source, DraftMemory.SHARED, new DraftLength.Fixed(3));
  }

  private static List<List<Integer>> ids(List<Result> texts) {
    return texts.stream().map(Result::ids).toList();
  }

  /** Greedy texts and drawn ones. */
  private static List<Result> texts(
      StoredDecoder stored, Limits limits, DecodingMethod decoding, int count) {
    List<Request> requests = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      Random random = new Random(i);
      List<Integer> prompt =
          random.ints(1 + random.nextInt(40), 0, SmallModel.VOCABULARY).boxed().toList();
      Sampler sampler = i % 2 == 0 ? Sampler.greedy() : new RandomSampler(0.9, 0, 0.9, 1.1, i);
      requests.add(new Request(prompt, 20, Set.of(), decoding, sampler));
    }
    return Generator.generate(stored, limits, requests, TokenListener.none());
  }
}
