package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.config.ExitLayout;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.Decoder;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** What a token costs on the Java heap beside the model's own passes. */
final class StepAllocationTest {
  private static final int CONTEXT = 12_000;
  private static final int PROMPT = 20;
  private static final int TEXTS = 3;
  private static final Vocabulary LISTED = new Vocabulary(SmallModel.VOCABULARY, List.of(1, 2));

  static Stream<Arguments> decodings() {
    ExitPolicy policy = ExitPolicies.maxProbability(Threshold.of(0.75));
    return Stream.of(
        arguments(DecodingMethod.full(), 150),
        arguments(new DecodingMethod.EarlyExit(ExitPolicies.among(List.of(2), policy)), 150),
        arguments(new DecodingMethod.EarlyExit(ExitPolicies.fixed(1)), 150),
        arguments(new DecodingMethod.EarlyExit(gated()), 150),
        arguments(new DecodingMethod.Recompute(ExitPolicies.among(List.of(2), policy)), 150),
        // Two heads predict each token, and one more for every draft that does not hold; and drafts
        // are choices with a margin.
        arguments(new DecodingMethod.Speculative(2, new DraftLength.Fixed(4)), 280),
        arguments(new DecodingMethod.AdaptiveDrafts(DraftSource.TEXT), 250));
  }

  private static ExitPolicy gated() {
    return ExitPolicies.gated(Map.of(2, new Gate(-0.5, 1, 0, new float[32])), Threshold.of(0.75));
  }

  @ParameterizedTest
  @MethodSource("decodings")
  void step_steadyState_allocatesLittleAndKeepsNoSlots(DecodingMethod decoding, int mostBytes) {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, true, true, false);
    try (Decoder model = SmallModel.withContext(exits, CONTEXT)) {
      ScriptedRunner runner = new ScriptedRunner(model, TEXTS * CONTEXT / ModelRunner.PAGE + TEXTS);
      List<Integer> prompt = IntStream.range(0, PROMPT).boxed().toList();
      Request request =
          new Request(prompt, CONTEXT - PROMPT, Set.of(1, 2), decoding, Sampler.greedy());
      int[] tokens = {0};
      try (Batch batch =
          new Batch(
              runner, Limits.of(model).withVocabulary(LISTED).withCacheTokens(TEXTS * CONTEXT))) {
        for (int i = 0; i < TEXTS; i++) {
          batch.add(
              batch.job(
                  request,
                  "the prompt",
                  token -> {
                    tokens[0]++;
                    return Reaction.CONTINUE;
                  }));
        }
        List<Double> perToken = new ArrayList<>();
        while (tokens[0] < TEXTS * (CONTEXT - PROMPT) - 1000) {
          perToken.add(bytesPerToken(batch, tokens));
        }
        assertThat(batch.running()).isEqualTo(TEXTS);
        perToken.sort(Double::compare);
        assertThat(perToken.get(perToken.size() / 2)).isLessThan(mostBytes);

        batch.cancelAll();
        assertThat(batch.usedPages()).isZero();
      }
      assertThat(runner.takenCount()).isZero();
    }
  }

  private static double bytesPerToken(Batch batch, int[] tokens) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    int first = tokens[0];
    long start = threads.getCurrentThreadAllocatedBytes();
    while (tokens[0] < first + 900) {
      batch.step();
    }
    return (double) (threads.getCurrentThreadAllocatedBytes() - start) / (tokens[0] - first);
  }
}
