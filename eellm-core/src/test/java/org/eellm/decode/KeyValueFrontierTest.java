package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.eellm.decode.backend.Backends;
import org.eellm.decode.cache.Frontier;
import org.eellm.decode.cache.PagePool;
import org.eellm.decode.cache.PageTable;
import org.eellm.decode.engine.KeysAndValues;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.strategy.Sequence;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Whatever left where, whatever was filled when, whoever joined, left or was cancelled, and whose
 * pages were used again: the keys and values that are there are those of a fresh pass of all tokens
 * through the whole model.
 */
@ExtendWith(OneThread.class)
final class KeyValueFrontierTest {

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
  void step_afterRandomExitsJoinsAndLeaves_keepsExactKeysAndValues(int seed) {
    Random random = new Random(seed);
    try (Decoder model = seed % 2 == 0 ? SmallModel.plain() : SmallModel.withBlocks()) {
      Limits limits =
          Limits.of(model)
              .withBatchSize(1 + random.nextInt(5))
              .withMaxPending(1 + random.nextInt(12))
              .withCacheTokens(160 + random.nextInt(200)); // some wait, and old pages go
      ModelRunner runner = runner(model, limits);
      try (Batch batch = new Batch(runner, limits)) {
        List<List<Integer>> beginnings =
            IntStream.range(0, 3).mapToObj(i -> ids(random, 16 + random.nextInt(30))).toList();
        List<Job> jobs = new ArrayList<>();
        int exact = 0;
        for (int step = 0; step < 120; step++) {
          if (batch.isIdle() || random.nextInt(5) == 0) {
            Job job = job(batch, beginnings, random);
            jobs.add(job);
            batch.add(job);
          }
          if (random.nextInt(25) == 0) {
            jobs.get(random.nextInt(jobs.size())).cancel();
          }
          batch.step();
          if (step % 20 == 19) {
            for (Sequence sequence : batch.active()) {
              assertExact(runner, sequence);
              exact++;
            }
          }
        }
        assertThat(exact).isPositive();
        batch.cancelAll();
        assertThat(batch.usedPages()).isZero();
      }
    }
  }

  private static List<Integer> ids(Random random, int count) {
    return random.ints(count, 0, SmallModel.VOCABULARY).boxed().toList();
  }

  private static Job job(Batch batch, List<List<Integer>> beginnings, Random random) {
    List<Integer> prompt = new ArrayList<>();
    if (random.nextBoolean()) {
      List<Integer> beginning = beginnings.get(random.nextInt(beginnings.size()));
      prompt.addAll(beginning.subList(0, random.nextInt(beginning.size())));
    }
    prompt.addAll(ids(random, 1 + random.nextInt(9)));
    int maxTokens = 5 + random.nextInt(36);
    return batch.job(
        new Request(prompt, maxTokens, Set.of(), decoding(random), sampler(random)),
        "the prompt",
        token -> Reaction.CONTINUE);
  }

  private static DecodingMethod decoding(Random random) {
    Random exits = new Random(random.nextLong());
    double share = exits.nextDouble();
    ExitPolicy policy = prediction -> exits.nextDouble() < share;
    if (random.nextBoolean()) {
      policy = ExitPolicies.among(List.of(1, 4), policy);
    }
    return switch (random.nextInt(4)) {
      case 0 -> new DecodingMethod.Recompute(policy);
      case 1 ->
          new DecodingMethod.Speculative(
              List.of(1, 2, 4).get(random.nextInt(3)),
              random.nextBoolean()
                  ? new DraftLength.Fixed(1 + random.nextInt(6))
                  : new DraftLength.Adaptive(8, 0.05 + 0.1 * random.nextDouble()));
      default -> new DecodingMethod.EarlyExit(policy);
    };
  }

  /** One of three ids, so that drafts hold every third time. */
  private static Sampler sampler(Random random) {
    Random ids = new Random(random.nextLong());
    return prediction -> 7 + ids.nextInt(3);
  }

  /** Compares what a sequence says is there with a fresh pass. */
  private static void assertExact(ModelRunner runner, Sequence sequence) {
    DecodingModel model = runner.model();
    int length = sequence.tokens().size() - 1; // the newest token has yet to go in
    List<Integer> ids = IntStream.range(0, length).map(sequence.tokens()::get).boxed().toList();
    ModelRunner freshRunner = runner(model, Limits.of(model));
    try (Batch fresh = new Batch(freshRunner, Limits.of(model))) {
      Request whole = new Request(ids, 2, Set.of(), prediction -> false, Sampler.greedy());
      fresh.add(fresh.job(whole, "the whole", token -> Reaction.CONTINUE));
      fresh.step();
      PageTable expected = fresh.active().getFirst().pageTable();
      Frontier frontier = sequence.frontier();
      int layers = model.architecture().model().numLayers();
      Comparison same = new Comparison(runner, sequence.pageTable(), freshRunner, expected);
      for (int layer = 0; layer < layers; layer++) {
        same.check(layer, reached(frontier, model, 2 * layer + 1));
      }
      for (int exit = 0; exit < model.allHeads().size() - 1; exit++) {
        Head head = model.allHeads().get(exit);
        if (head.hasAttention() && sequence.uses(head)) {
          same.check(layers + exit, reached(frontier, model, head.tap()) - frontier.unseen(head));
        }
      }
      assertThat(frontier.complete()).isLessThanOrEqualTo(reached(frontier, model, 2 * layers));
    }
  }

  private static ModelRunner runner(DecodingModel model, Limits limits) {
    return Backends.runner(model, limits.vocabulary(), PagePool.pages(limits.cacheTokens()));
  }

  /** Positions that have gone in and do not wait below {@code tap}: what has reached it. */
  private static int reached(Frontier frontier, DecodingModel model, int tap) {
    return frontier.entered()
        - model.allHeads().stream()
            .mapToInt(Head::tap)
            .distinct()
            .filter(below -> below < tap && frontier.hasTap(below))
            .map(frontier::pending)
            .sum();
  }

  /** Of the keys and values of a sequence, with those of a fresh pass. */
  private record Comparison(
      ModelRunner runner, PageTable pageTable, ModelRunner fresh, PageTable expected) {

    /** Checks the first positions of an attention. */
    void check(int attention, int length) {
      float[] largest = new float[2]; // of keys, and of values
      float[] worst = new float[2];
      for (int position = 0; position < length; position++) {
        float[] ours = at(runner, pageTable, attention, position);
        float[] exact = at(fresh, expected, attention, position);
        assertThat(ours).hasSameSizeAs(exact);
        for (int i = 0; i < exact.length; i++) {
          int half = 2 * i / exact.length;
          largest[half] = Math.max(largest[half], Math.abs(exact[i]));
          worst[half] = Math.max(worst[half], Math.abs(ours[i] - exact[i]));
        }
      }
      for (int half = 0; half < 2 && length > 0; half++) {
        assertThat(worst[half])
            .as(
                "%s of attention %d, which go up to %f",
                half == 0 ? "keys" : "values", attention, largest[half])
            .isLessThan(1e-5f * largest[half]);
      }
    }

    private static float[] at(
        ModelRunner runner, PageTable pageTable, int attention, int position) {
      int page = pageTable.pages()[position / ModelRunner.PAGE];
      return KeysAndValues.read(runner, attention, page, position % ModelRunner.PAGE);
    }
  }
}
