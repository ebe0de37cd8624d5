package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
import org.eellm.config.ExitLayout;
import org.eellm.decode.engine.LoopModel;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.engine.torch.TorchRunner;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Test;

final class BatchTest extends WithSmallModel {
  private static Request request(int seed, int promptLength, int maxTokens) {
    List<Integer> prompt =
        new Random(seed).ints(promptLength, 0, SmallModel.VOCABULARY).boxed().toList();
    ExitPolicy policy = ExitPolicies.maxProbability(Threshold.of(0.15));
    return new Request(prompt, maxTokens, Set.of(), policy, Sampler.greedy());
  }

  private static Job add(Batch batch, Request request, List<Integer> ids) {
    Job job =
        batch.job(
            request,
            "the prompt",
            token -> {
              ids.add(token.id());
              return Reaction.CONTINUE;
            });
    batch.add(job);
    return job;
  }

  private static List<Integer> alone(Decoder decoder, Request request) {
    return Generator.generate(decoder, Limits.of(decoder), List.of(request), TokenListener.none())
        .getFirst()
        .ids();
  }

  @Test
  void step_sequenceOverGapsInMemory_isTheSame() {
    try (Batch batch = new Batch(model, Limits.of(model).withCacheTokens(6 * ModelRunner.PAGE))) {
      Job first = add(batch, request(1, 10, 20), new ArrayList<>());
      add(batch, request(2, 10, 20), new ArrayList<>());
      Job third = add(batch, request(3, 10, 20), new ArrayList<>());
      batch.step();
      first.cancel();
      third.cancel();
      List<Integer> ids = new ArrayList<>();
      Request request = request(4, 30, 30);
      add(batch, request, ids);
      batch.step();

      assertThat(batch.running()).isEqualTo(2);
      int[] pages = batch.active().getLast().pageTable().pages();
      assertThat(pages[pages.length - 1] - pages[0]).isGreaterThan(pages.length - 1);
      while (!batch.isIdle()) {
        batch.step();
      }
      assertThat(ids).isEqualTo(alone(model, request));
    }
  }

  @Test
  void step_noMemoryForANextRequest_letsItWait() {
    try (Batch batch = new Batch(model, Limits.of(model).withCacheTokens(3 * ModelRunner.PAGE))) {
      List<Integer> first = new ArrayList<>();
      List<Integer> second = new ArrayList<>();
      add(batch, request(1, 10, 20), first);
      add(batch, request(2, 10, 20), second);
      batch.step();
      assertThat(batch.running()).isEqualTo(1);
      assertThat(batch.queued()).isEqualTo(1);
      assertThat(batch.usedPages()).isEqualTo(2);

      while (!batch.isIdle()) {
        batch.step();
      }
      assertThat(first).isEqualTo(alone(model, request(1, 10, 20)));
      assertThat(second).isEqualTo(alone(model, request(2, 10, 20)));
      assertThat(batch.usedPages()).isZero();
    }
  }

  @Test
  void step_longPromptAmongOthers_letsThemGoOn() {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, true, false);
    try (Decoder longModel = SmallModel.withContext(exits, 1000);
        Batch batch = new Batch(longModel, Limits.of(longModel))) {
      List<Integer> small = new ArrayList<>();
      List<Integer> large = new ArrayList<>();
      add(batch, request(1, 10, 20), small);
      batch.step();
      Request request = request(2, 900, 5);
      add(batch, request, large);
      for (int step = 0; step < 3; step++) {
        batch.step();
      }
      assertThat(small).hasSize(4);
      assertThat(large).isEmpty();

      batch.step();
      assertThat(large).hasSize(1);
      while (!batch.isIdle()) {
        batch.step();
      }
      assertThat(small).isEqualTo(alone(longModel, request(1, 10, 20)));
      assertThat(large).isEqualTo(alone(longModel, request));
    }
  }

  private static List<Integer> enteredRows(Batch batch) {
    return batch.active().stream().map(sequence -> sequence.frontier().entered()).toList();
  }

  @Test
  void step_shortPromptAfterLongOnes_isFirst() {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, true, false);
    try (Decoder longModel = SmallModel.withContext(exits, 1000);
        Batch batch = new Batch(longModel, Limits.of(longModel))) {
      List<Request> requests =
          List.of(request(1, 900, 5), request(2, 700, 5), request(3, 900, 5), request(4, 20, 5));
      List<List<Integer>> texts = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        texts.add(new ArrayList<>());
        add(batch, requests.get(i), texts.get(i));
      }
      batch.step();
      assertThat(enteredRows(batch)).containsExactly(64, 192, 0);

      texts.add(new ArrayList<>());
      add(batch, requests.get(3), texts.get(3));
      batch.step();
      assertThat(enteredRows(batch)).containsExactly(128, 364, 0, 20);
      assertThat(texts.get(3)).hasSize(1);

      batch.step();
      assertThat(enteredRows(batch)).containsExactly(192, 556, 0, 21);
      while (!batch.isIdle()) {
        batch.step();
      }
      for (int i = 0; i < texts.size(); i++) {
        assertThat(texts.get(i)).isEqualTo(alone(longModel, requests.get(i)));
      }
    }
  }

  @Test
  void step_shortPromptsWithoutEnd_leaveTheLongOneAQuarter() {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, true, false);
    try (Decoder longModel = SmallModel.withContext(exits, 1000);
        Batch batch = new Batch(longModel, Limits.of(longModel))) {
      List<Integer> text = new ArrayList<>();
      add(batch, request(1, 300, 5), text);
      int steps = 0;
      for (; text.isEmpty(); steps++) {
        for (int i = 0; i < 3; i++) {
          add(batch, request(2 + 3 * steps + i, 100, 1), new ArrayList<>());
        }
        batch.step();
      }
      assertThat(steps).isEqualTo(Math.ceilDiv(300, Batch.PROMPT_ROWS / 4));
    }
  }

  @Test
  void step_knownBeginnings_areForgottenWhenTheirMemoryIsWanted() {
    try (Batch batch = new Batch(model, Limits.of(model).withCacheTokens(6 * ModelRunner.PAGE))) {
      for (int seed = 0; seed < 12; seed++) {
        Request request = request(seed % 4, 40, 30);
        List<Integer> ids = new ArrayList<>();
        add(batch, request, ids);
        while (!batch.isIdle()) {
          batch.step();
        }
        assertThat(ids).isEqualTo(alone(model, request));
      }
    }
  }

  @Test
  void step_textLongerThanMemoryInModelOfWindows_isThatOfLoopsInFloat64() {
    int pages = 50;
    List<Integer> prompt = request(1, 500, 1).prompt();
    Request request = new Request(prompt, 400, Set.of(), DecodingMethod.full(), Sampler.greedy());
    try (Decoder sliding = SmallModel.sliding(100, 1200)) {
      Limits limits = Limits.of(sliding).withCacheTokens(pages * ModelRunner.PAGE);
      try (Batch ours = new Batch(sliding, limits);
          Batch libtorchs =
              new Batch(new TorchRunner(sliding, limits.vocabulary(), pages), limits)) {
        for (Batch batch : List.of(ours, libtorchs)) {
          List<Integer> ids = new ArrayList<>();
          add(batch, request, ids);
          while (!batch.isIdle()) {
            batch.step();
          }
          assertThat(ids).hasSize(400);
          assertThat(batch.usedPages()).isZero();
          assertGreedy(sliding, prompt, ids);
        }
      }
    }
  }

  private static void assertGreedy(Decoder decoder, List<Integer> prompt, List<Integer> ids) {
    int[] text = Stream.concat(prompt.stream(), ids.stream()).mapToInt(id -> id).toArray();
    double[][][] logits = new LoopModel(decoder).logits(decoder, text);
    for (int i = 0; i < ids.size(); i++) {
      double[] row = logits[logits.length - 1][prompt.size() + i - 1];
      double best = Arrays.stream(row).max().orElseThrow();
      assertThat(row[ids.get(i)]).as("token %d", i).isCloseTo(best, within(1e-4));
    }
  }

  @Test
  void step_modelOfWindowsWithLittleMemory_givesTheTextsOfMuch() {
    try (Decoder sliding = SmallModel.sliding(100, 1200)) {
      Limits much = Limits.of(sliding);
      Limits little = much.withCacheTokens(50 * ModelRunner.PAGE);
      List<List<Integer>> texts = new ArrayList<>();
      try (Batch batch = new Batch(sliding, little)) {
        for (int seed = 0; seed < 4; seed++) {
          texts.add(new ArrayList<>());
          add(batch, request(seed % 2, 400, 500), texts.getLast());
        }
        while (!batch.isIdle()) {
          batch.step();
        }
      }
      for (int seed = 0; seed < 4; seed++) {
        assertThat(texts.get(seed))
            .hasSize(500)
            .isEqualTo(alone(sliding, request(seed % 2, 400, 500)));
      }
    }
  }

  @Test
  void step_longKnownBeginningInModelOfWindows_leavesRoomForTheRest() {
    try (Decoder sliding = SmallModel.sliding(100, 1200);
        Batch batch =
            new Batch(sliding, Limits.of(sliding).withCacheTokens(50 * ModelRunner.PAGE))) {
      for (int maxTokens : new int[] {20, 500}) { // the second has more pages than the pool
        Request request = request(1, 600, maxTokens);
        List<Integer> ids = new ArrayList<>();
        add(batch, request, ids);
        for (int steps = 0; !batch.isIdle() && steps < 2000; steps++) {
          batch.step();
        }
        assertThat(ids).hasSize(maxTokens).isEqualTo(alone(sliding, request));
      }
    }
  }

  @Test
  void job_textLongerThanMemoryInModelThatSeesAll_isRefused() {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, false, false);
    try (Decoder longModel = SmallModel.withContext(exits, 1200);
        Batch batch =
            new Batch(longModel, Limits.of(longModel).withCacheTokens(50 * ModelRunner.PAGE))) {
      assertThatThrownBy(() -> add(batch, request(1, 300, 800), new ArrayList<>()))
          .isInstanceOf(GenerateException.class)
          .hasMessageStartingWith("the prompt has 300 tokens and up to 800 are to follow");
    }
  }
}
