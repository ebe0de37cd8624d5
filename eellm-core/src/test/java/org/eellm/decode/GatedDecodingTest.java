package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.config.ConfigException;
import org.eellm.decode.backend.Backends;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.sample.SamplingParams;
import org.eellm.decode.sample.SamplingSetting;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Tokens that leave where a gate over a short list says, beside gates in float64 by hand. */
final class GatedDecodingTest {
  private static final int MAX_TOKENS = 30;
  private static final double THRESHOLD = 0.6;
  private static final int HIDDEN = 32;
  private static final List<Integer> LIST =
      IntStream.range(0, SmallModel.VOCABULARY).filter(id -> id % 3 != 1).boxed().toList();
  private static final Vocabulary LISTED = new Vocabulary(SmallModel.VOCABULARY, LIST);
  private static final Map<Integer, Gate> GATES = new TreeMap<>(Map.of(1, gate(1), 4, gate(4)));

  private static Gate gate(int layer) {
    Random random = new Random(layer);
    float[] weights = new float[HIDDEN];
    for (int i = 0; i < HIDDEN; i++) {
      weights[i] = (float) (0.3 * random.nextGaussian());
    }
    return new Gate(0.4, 0.3, 0.1, weights);
  }

  private static ExitPolicy policy() {
    return ExitPolicies.gated(GATES, Threshold.of(THRESHOLD));
  }

  /** Who takes tokens from what heads predict. */
  private enum Taking {
    GREEDY(Sampler.greedy()),
    SAMPLED(new RandomSampler(1, 0, 1, 1, 5)),
    PENALISED(
        new RandomSampler(
            SamplingParams.AS_PREDICTED
                .with(SamplingSetting.TEMPERATURE, 0)
                .with(SamplingSetting.REPETITION_PENALTY, 1.5),
            0));

    private final Sampler sampler;

    Taking(Sampler sampler) {
      this.sampler = sampler;
    }
  }

  private static List<Integer> prompt(int seed) {
    return new Random(seed).ints(12, 0, SmallModel.VOCABULARY).boxed().toList();
  }

  private static Request request(int seed, DecodingMethod decoding, Sampler sampler) {
    return new Request(prompt(seed), MAX_TOKENS, Set.of(), decoding, sampler);
  }

  private static List<Result> generate(Decoder model, List<Request> requests) {
    Limits limits = Limits.of(model).withVocabulary(LISTED);
    return Generator.generate(model, limits, requests, TokenListener.none());
  }

  private static Result generate(Decoder model, Request request) {
    return generate(model, List.of(request)).getFirst();
  }

  @ParameterizedTest
  @EnumSource
  void generate_byGates_isWhatGatesByHandGive(Taking taking) {
    try (Decoder model = SmallModel.plain()) {
      DecodingMethod exit = new DecodingMethod.EarlyExit(policy());
      Result result = generate(model, request(1, exit, taking.sampler));

      assertThat(result.ids()).isEqualTo(byHand(model, 1, taking, false));
      assertThat(result.tokens()).extracting(GeneratedToken::layer).contains(1, 4, 5);
      Result anew =
          generate(model, request(1, new DecodingMethod.Recompute(policy()), taking.sampler));
      assertThat(anew.ids()).isEqualTo(result.ids());
    }
  }

  @ParameterizedTest
  @EnumSource
  void generate_propagating_isWhatGatesByHandGive(Taking taking) {
    try (Decoder model = SmallModel.plain()) {
      DecodingMethod on = new DecodingMethod.Propagate(policy());
      Result result = generate(model, request(2, on, taking.sampler));

      assertThat(result.ids()).isEqualTo(byHand(model, 2, taking, true));
    }
  }

  /**
   * A token after the other: up to the exit whose gate lets it go, and then the layers above, or
   * keys and values for them.
   */
  private static List<Integer> byHand(Decoder model, int seed, Taking taking, boolean propagates) {
    int top = model.endBranch();
    Tokens tokens = new Tokens(prompt(seed), 12 + MAX_TOKENS);
    try (ModelRunner runner = Backends.runner(model, LISTED, 8)) {
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
          boolean gated = GATES.containsKey(head.layer());
          if (!head.isExit()
              || gated && leaves(runner, head, output, rows.slot(count - 1), seen(tokens))) {
            Prediction all = new Prediction(output, 0, tokens, List.of());
            tokens.append(
                taking == Taking.GREEDY && head.isExit()
                    ? best(seen(tokens), output.logits(0))
                    : taking.sampler.next(all));
            break;
          }
        }
        if (propagates && i > 0) {
          runner.propagate(below, top, rows);
        } else {
          runner.run(below, top, rows);
        }
        for (int row = 0; row < count; row++) {
          runner.release(rows.slot(row));
        }
        done += count;
      }
    }
    return tokens.range(12, tokens.size());
  }

  /** The list and the text's own ids. */
  private static List<Integer> seen(Tokens tokens) {
    return Stream.concat(LIST.stream(), tokens.range(0, tokens.size()).stream())
        .distinct()
        .sorted()
        .toList();
  }

  private static int best(List<Integer> ids, float[] logits) {
    return ids.stream().reduce((a, b) -> logits[b] > logits[a] ? b : a).orElseThrow();
  }

  /** The gate in float64, from all logits and the stream, whose norm has weights of 1. */
  private static boolean leaves(
      ModelRunner runner, Head head, HeadOutput output, int slot, List<Integer> ids) {
    Gate gate = Objects.requireNonNull(GATES.get(head.layer()));
    float[] logits = output.logits(0);
    double[] best = ids.stream().mapToDouble(id -> -logits[id]).sorted().limit(2).toArray();
    double sum = ids.stream().mapToDouble(id -> Math.exp(logits[id])).sum();
    double p = Math.exp(-best[0]) / sum;
    byte[] bytes = new byte[runner.hiddenBytes()];
    runner.read(slot, bytes, 0);
    FloatBuffer x = ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder()).asFloatBuffer();
    double squares = 0;
    double product = 0;
    for (int i = 0; i < HIDDEN; i++) {
      squares += (double) x.get(i) * x.get(i) / HIDDEN;
      product += (double) x.get(i) * gate.hidden()[i];
    }
    double z = gate.bias() + gate.logOdds() * Math.log(p / (1 - p));
    z += gate.gap() * (best[1] - best[0]);
    z += product / Math.sqrt(squares + runner.model().architecture().model().normEpsilon());
    return 1 / (1 + Math.exp(-z)) >= THRESHOLD;
  }

  @Test
  void generate_inBatchesWithOthers_isWhatEachTextIsAlone() {
    try (Decoder model = SmallModel.withBlocks()) {
      List<DecodingMethod> decodings =
          List.of(
              new DecodingMethod.EarlyExit(policy()),
              new DecodingMethod.Recompute(policy()),
              new DecodingMethod.Propagate(policy()),
              new DecodingMethod.Speculative(2, new DraftLength.Fixed(3)),
              new DecodingMethod.EarlyExit(ExitPolicies.maxProbability(Threshold.of(0.3))),
              DecodingMethod.full());
      List<Request> requests = new ArrayList<>();
      for (Taking taking : Taking.values()) {
        for (DecodingMethod decoding : decodings) {
          requests.add(request(requests.size(), decoding, taking.sampler));
        }
      }
      List<Result> together = generate(model, requests);

      for (int i = 0; i < requests.size(); i++) {
        Result alone = generate(model, requests.get(i));
        assertThat(together.get(i).tokens()).as("text %d", i).isEqualTo(alone.tokens());
      }
    }
  }

  /** Whatever leaves where, what leaves at the end is the full model's. */
  @Test
  void generate_neverLeaving_isTheFullModelsText() {
    try (Decoder model = SmallModel.withBlocks()) {
      ExitPolicy hardly = ExitPolicies.gated(GATES, Threshold.of(0.999999));
      Result gated =
          generate(model, request(3, new DecodingMethod.EarlyExit(hardly), Sampler.greedy()));

      Result full = generate(model, request(3, DecodingMethod.full(), Sampler.greedy()));
      assertThat(gated.ids()).isEqualTo(full.ids());
    }
  }

  @Test
  void generate_withAlternatives_tellsThemOfAllIds() {
    try (Decoder model = SmallModel.plain()) {
      DecodingMethod exit = new DecodingMethod.EarlyExit(policy());
      Request greedy = request(1, exit, Sampler.greedy());
      List<GeneratedToken> tokens =
          generate(model, greedy.withAlternatives(SmallModel.VOCABULARY)).tokens();
      List<GeneratedToken> whole =
          generate(model, request(1, exit, Sampler.ofAllIds(Sampler.greedy()))).tokens();

      assertThat(tokens).extracting(GeneratedToken::layer).contains(1, 4);
      for (int i = 0; i < tokens.size(); i++) {
        GeneratedToken token = tokens.get(i);
        assertThat(token.alternatives()).hasSize(SmallModel.VOCABULARY);
        assertThat(token.alternatives().getFirst().id()).isEqualTo(token.id());
        assertThat(token.logProbability()).isEqualTo(whole.get(i).logProbability());
      }
    }
  }

  @Test
  void generate_withoutWhatGatesNeed_isRefusedWithARemedy() {
    try (Decoder model = SmallModel.plain()) {
      Request greedy = request(1, new DecodingMethod.EarlyExit(policy()), Sampler.greedy());
      assertThatThrownBy(
              () ->
                  Generator.generate(
                      model, Limits.of(model), List.of(greedy), TokenListener.none()))
          .isInstanceOf(ConfigException.class)
          .hasMessageStartingWith("calibration: its gates read a short list of tokens");

      Gate narrow = new Gate(0, 1, 0, new float[5]);
      ExitPolicy other = ExitPolicies.gated(Map.of(2, narrow), Threshold.of(0.5));
      assertThatThrownBy(
              () ->
                  generate(
                      model, request(1, new DecodingMethod.EarlyExit(other), Sampler.greedy())))
          .isInstanceOf(ConfigException.class)
          .hasMessage(
              "calibration: the gate of exit 2 has 5 weights of the hidden state, and this model's"
                  + " has 32 numbers; calibrate this model");

      ExitPolicy absent =
          ExitPolicies.gated(Map.of(3, new Gate(0, 1, 0, new float[HIDDEN])), Threshold.of(0.5));
      assertThatThrownBy(
              () ->
                  generate(
                      model, request(1, new DecodingMethod.EarlyExit(absent), Sampler.greedy())))
          .isInstanceOf(ConfigException.class)
          .hasMessageContaining("no exit after layer 3");
    }
  }
}
