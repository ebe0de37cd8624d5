package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.eellm.decode.backend.Backends;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.ResultFuture;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.junit.jupiter.api.Test;

/** Tokens whose keys and values above their exit follow from the exit's own hidden state. */
final class PropagationTest {
  private static final double THRESHOLD = 0.3;
  private static final int MAX_TOKENS = 30;

  private static List<Integer> prompt(int seed) {
    return new Random(seed).ints(12, 0, SmallModel.VOCABULARY).boxed().toList();
  }

  private static Request request(int seed, DecodingMethod decoding) {
    return new Request(prompt(seed), MAX_TOKENS, Set.of(), decoding, Sampler.greedy());
  }

  private static DecodingMethod sometimes() {
    return new DecodingMethod.Propagate(ExitPolicies.maxProbability(Threshold.of(THRESHOLD)));
  }

  @Test
  void generate_leavingSometimes_isWhatStepsByHandGive() {
    try (Decoder model = SmallModel.plain()) {
      Result result =
          Generator.generate(
                  model, Limits.of(model), List.of(request(1, sometimes())), TokenListener.none())
              .getFirst();

      assertThat(result.ids()).isEqualTo(byHand(model, prompt(1)));
      assertThat(result.tokens()).extracting(GeneratedToken::layer).contains(1, 5);
    }
  }

  /** A token after the other: up to the exit that is sure, and keys and values above it. */
  private static List<Integer> byHand(Decoder model, List<Integer> prompt) {
    Vocabulary vocabulary = Vocabulary.of(SmallModel.VOCABULARY);
    int top = model.endBranch();
    List<Integer> tokens = new ArrayList<>(prompt);
    try (ModelRunner runner = Backends.runner(model, vocabulary, 8)) {
      int[] pages = IntStream.range(0, 8).toArray();
      int done = 0;
      for (int i = 0; i < MAX_TOKENS; i++) {
        ForwardBatch rows = new ForwardBatch();
        rows.begin(pages);
        int first = done;
        int count = tokens.size() - first;
        for (int row = 0; row < count; row++) {
          rows.add(runner.allocateSlot(), first + row);
        }
        runner.embed(rows, IntStream.range(0, count).map(r -> tokens.get(first + r)).toArray());
        int below = 0;
        for (Head head : model.allHeads()) {
          runner.run(below, head.tap(), rows);
          below = head.tap();
          HeadOutput output = runner.predict(head, rows, new int[] {count - 1}, 1);
          if (!head.isExit() || output.maxProbability(0) >= THRESHOLD) {
            tokens.add(output.best(0));
            break;
          }
        }
        if (i == 0) {
          runner.run(below, top, rows); // the prompt passes all layers
        } else {
          runner.propagate(below, top, rows);
        }
        for (int row = 0; row < count; row++) {
          runner.release(rows.slot(row));
        }
        done += count;
      }
    }
    return tokens.subList(prompt.size(), tokens.size());
  }

  @Test
  void generate_neverLeaving_isTheFullModelsText() {
    try (Decoder model = SmallModel.withBlocks()) {
      DecodingMethod never =
          new DecodingMethod.Propagate(ExitPolicies.maxProbability(Threshold.of(1)));
      List<Result> results =
          Generator.generate(
              model,
              Limits.of(model),
              List.of(request(2, never), request(2, DecodingMethod.full())),
              TokenListener.none());

      assertThat(results.getFirst().ids()).isEqualTo(results.getLast().ids());
    }
  }

  @Test
  void generate_inBatches_isWhatEachTextIsAlone() {
    try (Decoder model = SmallModel.withBlocks()) {
      List<Request> requests =
          IntStream.range(0, 5)
              .mapToObj(seed -> request(seed, seed % 2 == 0 ? sometimes() : DecodingMethod.full()))
              .toList();
      List<Result> together =
          Generator.generate(model, Limits.of(model), requests, TokenListener.none());

      for (int i = 0; i < requests.size(); i++) {
        List<Result> alone =
            Generator.generate(
                model, Limits.of(model), List.of(requests.get(i)), TokenListener.none());
        assertThat(together.get(i).ids()).isEqualTo(alone.getFirst().ids());
      }
    }
  }

  @Test
  void engine_afterPropagation_reusesNothingInexactOfItsText() {
    List<Integer> prompt = new Random(3).ints(40, 0, SmallModel.VOCABULARY).boxed().toList();
    try (Decoder model = SmallModel.plain();
        Engine engine = Engine.start(model, Limits.of(model))) {
      Result written =
          result(engine, new Request(prompt, MAX_TOKENS, Set.of(), sometimes(), Sampler.greedy()));
      int early = 1; // the first token whose row does not pass all layers
      while (written.tokens().get(early).layer() == 5) {
        early++;
      }
      List<Integer> all = new ArrayList<>(prompt);
      all.addAll(written.ids());
      Request further = new Request(all, 10, Set.of(), DecodingMethod.full(), Sampler.greedy());

      Result reusing = result(engine, further);

      assertThat(reusing.usage().reusedTokens())
          .isBetween(32, prompt.size() + early - 1)
          .isLessThan(all.size() - 16);
      assertThat(reusing.ids())
          .isEqualTo(
              Generator.generate(model, Limits.of(model), List.of(further), TokenListener.none())
                  .getFirst()
                  .ids());
    }
  }

  private static Result result(Engine engine, Request request) {
    ResultFuture future = new ResultFuture(token -> TokenListener.Reaction.CONTINUE);
    engine.submit(request, future);
    return future.await();
  }
}
