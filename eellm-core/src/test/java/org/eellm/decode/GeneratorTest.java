package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.Pointer;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.HeadId;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Test;

final class GeneratorTest extends WithSmallModel {
  private static List<Integer> prompt(int length, int seed) {
    return new Random(seed).ints(length, 0, SmallModel.VOCABULARY).boxed().toList();
  }

  private static Request request(List<Integer> prompt, ExitPolicy policy, Sampler sampler) {
    return new Request(prompt, 20, Set.of(), policy, sampler);
  }

  private static Request request(List<Integer> prompt, DecodingMethod decoding, Sampler sampler) {
    return new Request(prompt, 20, Set.of(), decoding, sampler);
  }

  private static ExitPolicy sometimes() {
    return ExitPolicies.maxProbability(Threshold.of(0.15));
  }

  private static List<Result> generate(Decoder decoder, List<Request> requests) {
    return Generator.generate(decoder, Limits.of(decoder), requests, TokenListener.none());
  }

  private static List<Result> generate(Request... requests) {
    return generate(model, List.of(requests));
  }

  @Test
  void generate_aBatchOfOwnPoliciesAndSeeds_isWhatEachGivesAlone() {
    List<Request> requests =
        List.of(
            request(prompt(3, 1), sometimes(), Sampler.greedy()),
            request(prompt(9, 2), sometimes(), new RandomSampler(1, 20, 0.9, 1.2, 5)),
            request(prompt(1, 3), ExitPolicies.fixed(2), Sampler.greedy()),
            request(prompt(5, 4), ExitPolicies.full(), new RandomSampler(0.7, 0, 1, 1, 6)),
            request(
                prompt(7, 5),
                ExitPolicies.among(List.of(2), ExitPolicies.entropy(Threshold.of(1))),
                Sampler.greedy()),
            request(prompt(6, 6), new DecodingMethod.Recompute(sometimes()), Sampler.greedy()),
            request(
                prompt(4, 7),
                new DecodingMethod.Speculative(2, new DraftLength.Adaptive(5, 0.1)),
                new RandomSampler(0.8, 0, 1, 1, 9)),
            request(
                prompt(2, 8),
                new DecodingMethod.Speculative(4, new DraftLength.Fixed(3)),
                Sampler.greedy()));

    List<Result> together = generate(model, requests);
    List<Result> fewAtATime =
        Generator.generate(
            model, Limits.of(model).withBatchSize(2), requests, TokenListener.none());

    for (int i = 0; i < requests.size(); i++) {
      Result alone = generate(requests.get(i)).getFirst();
      assertSame(together.get(i), alone);
      assertSame(fewAtATime.get(i), alone);
    }
    assertThat(together.stream().flatMap(result -> result.tokens().stream()))
        .extracting(GeneratedToken::head)
        .contains(HeadId.exit(1), HeadId.exit(2), HeadId.exit(4), HeadId.FINAL);
  }

  private static void assertSame(Result ours, Result expected) {
    assertThat(ours.ids()).isEqualTo(expected.ids());
    assertThat(ours.reason()).isEqualTo(expected.reason());
    for (int i = 0; i < ours.tokens().size(); i++) {
      GeneratedToken token = ours.tokens().get(i);
      GeneratedToken other = expected.tokens().get(i);
      assertThat(token.head()).isEqualTo(other.head());
      assertThat(token.confidence()).isCloseTo(other.confidence(), within(1e-4));
    }
  }

  @Test
  void generate_promptLongerThanABlock_isWhatItGivesInSmallBlocks() {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, true, true, false);
    try (Decoder longModel = SmallModel.withContext(exits, 700)) {
      Request whole = request(prompt(600, 8), sometimes(), Sampler.greedy());
      // The same text, token by token: what comes is forced to be the prompt.
      List<Integer> prompt = whole.prompt();
      Sampler reading =
          prediction ->
              prediction.position() < prompt.size()
                  ? prompt.get(prediction.position())
                  : prediction.best();
      ExitPolicy policy =
          prediction -> prediction.position() >= prompt.size() && sometimes().leaves(prediction);
      Request piecewise =
          new Request(prompt.subList(0, 560), prompt.size() - 560 + 20, Set.of(), policy, reading);

      Result expected = generate(longModel, List.of(piecewise)).getFirst();
      Result ours = generate(longModel, List.of(whole)).getFirst();

      assertThat(ours.ids()).isEqualTo(expected.ids().subList(40, 60));
    }
  }

  @Test
  void generate_fixedExit_leavesThereAlways() {
    Result result =
        generate(request(prompt(4, 1), ExitPolicies.fixed(2), Sampler.greedy())).getFirst();

    assertThat(result.tokens()).hasSize(20).allMatch(token -> token.head().equals(HeadId.exit(2)));
  }

  @Test
  void generate_headsThatAreNotAsked_areNotComputed() {
    List<HeadId> asked = Collections.synchronizedList(new ArrayList<>());
    ExitPolicy hearing =
        prediction -> {
          asked.add(prediction.head().id());
          return prediction.head().layer() == 2;
        };

    generate(request(prompt(4, 1), hearing, Sampler.greedy()));

    assertThat(asked).containsOnly(HeadId.exit(1), HeadId.exit(2)).hasSize(40);
  }

  @Test
  void generate_bfloat16_agreesWithFloat32OnTheFirstTokens() {
    ExitLayout exits = model.architecture().exits();
    try (Decoder half = SmallModel.of(exits, DataType.BFLOAT16)) {
      Request request = request(prompt(40, 3), ExitPolicies.full(), Sampler.greedy());

      GeneratedToken ours = generate(half, List.of(request)).getFirst().tokens().getFirst();
      GeneratedToken exact = generate(request).getFirst().tokens().getFirst();

      assertThat(ours.confidence()).isCloseTo(exact.confidence(), within(0.1));
    }
  }

  /** Such heads are decoded by kernels of our own. */
  @Test
  void generate_bfloat16WithWideHeads_saysOfGivenTextsWhatFloat32Says() {
    ExitPolicy threeOfFour =
        prediction -> prediction.head().layer() == 2 && prediction.step() % 4 > 0;
    List<Request> requests = new ArrayList<>();
    for (int i = 0; i < 7; i++) {
      List<Integer> text = prompt(80, 10 + i);
      List<Integer> prompt = text.subList(0, 3 + 5 * i % 17);
      requests.add(
          new Request(
              prompt,
              20 + 13 * i % 40,
              Set.of(),
              i == 6 ? ExitPolicies.full() : threeOfFour,
              prediction -> text.get(prediction.position())));
    }
    try (Decoder half = SmallModel.withWideHeads(DataType.BFLOAT16);
        Decoder exact = SmallModel.withWideHeads(DataType.FLOAT32)) {
      Limits three = Limits.of(half).withBatchSize(3);
      List<Result> ours = Generator.generate(half, three, requests, TokenListener.none());
      List<Result> expected = generate(exact, requests);
      double worst = 0;
      for (int i = 0; i < requests.size(); i++) {
        assertThat(ours.get(i).ids()).isEqualTo(expected.get(i).ids());
        for (int j = 0; j < ours.get(i).tokens().size(); j++) {
          GeneratedToken token = ours.get(i).tokens().get(j);
          GeneratedToken other = expected.get(i).tokens().get(j);
          assertThat(token.head()).isEqualTo(other.head());
          worst = Math.max(worst, Math.abs(token.logProbability() - other.logProbability()));
        }
      }
      assertThat(worst).isLessThan(0.1);
    }
  }

  @Test
  void generate_endToken_endsTheTextAndIsItsLast() {
    List<Integer> text =
        generate(request(prompt(4, 1), sometimes(), Sampler.greedy())).getFirst().ids();
    int end = text.get(7);
    Result result =
        generate(new Request(prompt(4, 1), 20, Set.of(end), sometimes(), Sampler.greedy()))
            .getFirst();

    assertThat(result.reason()).isEqualTo(FinishReason.END_TOKEN);
    assertThat(result.ids()).isEqualTo(text.subList(0, text.indexOf(end) + 1));
  }

  @Test
  void generate_listenerThatStops_endsItsSequenceOnly() {
    List<GeneratedToken> heard = new ArrayList<>();
    List<Result> results =
        Generator.generate(
            model,
            Limits.of(model),
            List.of(
                request(prompt(4, 1), sometimes(), Sampler.greedy()),
                request(prompt(4, 2), sometimes(), Sampler.greedy())),
            (request, token) -> {
              if (request == 0) {
                heard.add(token);
              }
              return heard.size() == 5 && request == 0 ? Reaction.STOP : Reaction.CONTINUE;
            });

    assertThat(results.get(0).tokens()).isEqualTo(heard).hasSize(5);
    assertThat(results.get(0).reason()).isEqualTo(FinishReason.STOPPED);
    assertThat(results.get(1).tokens()).hasSize(20);
    assertThat(results.get(1).reason()).isEqualTo(FinishReason.LENGTH);
  }

  @Test
  void generate_vocabularySmallerThanTheModels_givesOnlyItsIds() {
    List<Result> results =
        Generator.generate(
            model,
            Limits.of(model).withVocabulary(Vocabulary.of(10)),
            List.of(request(prompt(4, 1), ExitPolicies.full(), new RandomSampler(9, 0, 1, 1, 1))),
            TokenListener.none());

    assertThat(results.getFirst().ids()).allMatch(id -> id < 10);
  }

  @Test
  void generate_requestThatDoesNotFit_isRefusedWithARemedy() {
    int context = SmallModel.CONTEXT;
    assertThatThrownBy(
            () -> generate(request(prompt(context + 1, 1), sometimes(), Sampler.greedy())))
        .isInstanceOf(GenerateException.class)
        .hasMessage(
            "prompt 1 has 97 tokens, but the model's context is 96; shorten it to 96 or less");
    assertThatThrownBy(() -> generate(request(prompt(90, 1), sometimes(), Sampler.greedy())))
        .isInstanceOf(GenerateException.class)
        .hasMessage(
            "prompt 1 has 90 tokens and up to 20 are to follow, but the model's context is 96; let"
                + " 6 or fewer follow, or shorten the prompt");
    assertThatThrownBy(() -> generate(request(List.of(3, 264), sometimes(), Sampler.greedy())))
        .isInstanceOf(GenerateException.class)
        .hasMessage(
            "prompt 1 has the token 264, but the model's vocabulary ends at 263; use the model's"
                + " own tokenizer");
    assertThatThrownBy(() -> request(List.of(), sometimes(), Sampler.greedy()))
        .isInstanceOf(GenerateException.class)
        .hasMessageContaining("the prompt is empty");
    assertThatThrownBy(
            () -> generate(request(prompt(3, 1), ExitPolicies.fixed(3), Sampler.greedy())))
        .isInstanceOf(ConfigException.class)
        .hasMessage("exits: no exit after layer 3; this model has exits after [1, 2, 4]");
  }

  @Test
  void generate_damagedModel_saysSo() {
    try (Decoder damaged = SmallModel.plain()) {
      damaged
          .parameters()
          .get("model.layers.0.mlp.down_proj.weight")
          .value()
          .fill_(org.eellm.tensor.Tensors.scalar(Double.NaN));

      assertThatThrownBy(
              () ->
                  generate(damaged, List.of(request(prompt(3, 1), sometimes(), Sampler.greedy()))))
          .isInstanceOf(GenerateException.class)
          .hasMessageStartingWith("exit_1: logits at position 3 are not numbers");
    }
  }

  @Test
  void generate_thousandsOfTokens_leavesNoNativeObjectBehind() {
    List<DecodingMethod> decodings =
        List.of(
            new DecodingMethod.EarlyExit(sometimes()),
            new DecodingMethod.Recompute(sometimes()),
            new DecodingMethod.Speculative(2, new DraftLength.Fixed(3)));
    List<Request> requests =
        IntStream.range(0, 6)
            .mapToObj(
                i ->
                    new Request(
                        prompt(1 + i, i),
                        80,
                        Set.of(),
                        decodings.get(i % 3),
                        new RandomSampler(1, 0, 0.9, 1.1, i)))
            .toList();
    try (Decoder decoder = SmallModel.withBlocks()) {
      generate(decoder, requests);
      long objects = Pointer.totalCount();
      for (int round = 0; round < 5; round++) {
        generate(decoder, requests);
      }

      // What other tests left to the garbage collector may have gone meanwhile.
      assertThat(Pointer.totalCount()).isLessThanOrEqualTo(objects);
    }
  }
}
