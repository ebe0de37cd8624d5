package org.eellm.decode.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.config.DataType;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.Quantization;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.Vocabulary;
import org.eellm.kernel.row.RowKernel;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;
import org.eellm.model.StoredDecoder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What a token's pass leaves on the Java heap, once the JVM has compiled it. */
final class PassAllocationTest {
  private static final int VOCABULARY = 150;
  private static final int CONTEXT = 70;
  private static final int THREADS = 2;
  private static final int TOKENS = 600; // of a window
  private static final int WINDOWS = 400; // until it is compiled, at most
  private static final int STEADY = 3; // windows
  private static final int MOST_BYTES = 200;

  static Stream<Arguments> familiesAndFormats() {
    return Stream.of(RunnerFamily.values())
        .flatMap(family -> Stream.of(DataType.values()).map(type -> Arguments.of(family, type)));
  }

  @ParameterizedTest
  @MethodSource("familiesAndFormats")
  void pass_steadyState_allocatesNextToNothing(RunnerFamily family, DataType type) {
    try (Decoder model = family.decoder(type)) {
      assertAllocatesLittle(model);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"INT8", "INT4"})
  void pass_withQuantizedMatrices_allocatesNextToNothing(Quantization layers) {
    Decoder whole = RunnerFamily.LLAMA.decoder(DataType.FLOAT32);
    MatrixQuantization quantization = MatrixQuantization.of(layers);
    try (StoredDecoder model = StoredDecoder.of(whole, quantization)) {
      assertAllocatesLittle(model);
    }
  }

  /** What exits say of a short list, and what a gate reads of it. */
  @Test
  void pass_withGates_allocatesNextToNothing() {
    Vocabulary listed =
        new Vocabulary(VOCABULARY, IntStream.range(0, VOCABULARY / 2).boxed().toList());
    try (Decoder model = RunnerFamily.LLAMA.decoder(DataType.FLOAT32)) {
      float[] weights = new float[model.architecture().model().hiddenSize()];
      assertAllocatesLittle(
          model,
          0,
          listed,
          (runner, head, rows, asked, count) -> {
            HeadOutput output = runner.draft(head, rows, asked, count);
            for (int row = 0; row < count; row++) {
              output.timesHidden(row, weights);
              output.margin(row);
            }
          });
    }
  }

  /** Asks a head. */
  @FunctionalInterface
  private interface Question {
    void put(ModelRunner runner, Head head, ForwardBatch rows, int[] asked, int count);
  }

  /** Steps of one row, of a few as in speculation, and of more than attend together. */
  static void assertAllocatesLittle(DecodingModel model) {
    assertAllocatesLittle(model, 0);
  }

  /** The same for an adapter, by its number. */
  static void assertAllocatesLittle(DecodingModel model, int adapter) {
    assertAllocatesLittle(model, adapter, Vocabulary.of(VOCABULARY), ModelRunner::predict);
  }

  private static void assertAllocatesLittle(
      DecodingModel model, int adapter, Vocabulary vocabulary, Question question) {
    assumeTrue(RowKernel.isMachineCode(), "sums in plain Java make small objects");
    try (KernelRunner runner = new KernelRunner(model, vocabulary, 8, THREADS)) {
      Steps steps = new Steps(runner, adapter, question);
      steps.fill();
      for (int rows : new int[] {1, 3, 20}) {
        double least = Double.MAX_VALUE;
        int steady = 0;
        for (int window = 0; window < WINDOWS && steady < STEADY; window++) {
          double bytes = steps.bytesPerToken(rows);
          least = Math.min(least, bytes);
          steady = bytes < MOST_BYTES ? steady + 1 : 0;
        }
        assertThat(steady)
            .as("windows below %d bytes a token with %d rows; least %.0f", MOST_BYTES, rows, least)
            .isEqualTo(STEADY);
      }
    }
  }

  /** Steps of the last rows of a sequence, again and again. */
  private static final class Steps {
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    private final KernelRunner runner;
    private final int adapter;
    private final Question question;
    private final List<Head> heads;
    private final ForwardBatch block = new ForwardBatch();
    private final int[] pages = IntStream.range(0, 8).toArray();
    private final int[] slots;
    private final int[] ids = new int[CONTEXT];
    private final int[] asked = IntStream.range(0, CONTEXT).toArray();
    private final long[] team; // ids of its threads

    Steps(KernelRunner runner, int adapter, Question question) {
      this.adapter = adapter;
      this.question = question;
      heads = runner.model().allHeads();
      this.runner = runner;
      slots = IntStream.range(0, CONTEXT).map(i -> runner.allocateSlot()).toArray();
      team =
          Thread.getAllStackTraces().keySet().stream()
              .filter(
                  thread ->
                      thread == Thread.currentThread()
                          || thread.getName().startsWith("eellm-kernel"))
              .mapToLong(Thread::threadId)
              .toArray();
    }

    void fill() {
      load(CONTEXT);
      step(CONTEXT);
    }

    double bytesPerToken(int rows) {
      load(rows);
      int steps = TOKENS / rows;
      long start = allocated();
      for (int i = 0; i < steps; i++) {
        step(rows);
      }
      return (double) (allocated() - start) / (steps * rows);
    }

    private void load(int rows) {
      block.clear();
      block.begin(pages, adapter);
      for (int row = 0; row < rows; row++) {
        block.add(slots[row], CONTEXT - rows + row);
      }
    }

    private void step(int rows) {
      runner.embed(block, ids);
      int below = 0;
      for (Head head : heads) {
        runner.run(below, head.tap(), block);
        below = head.tap();
        question.put(runner, head, block, asked, rows);
      }
    }

    private long allocated() {
      long sum = 0;
      for (long id : team) {
        sum += Math.max(0, THREADS.getThreadAllocatedBytes(id)); // -1 of one that has ended
      }
      return sum;
    }
  }
}
