package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.eellm.config.MatrixQuantization;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.ResultFuture;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.Adapter;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.RandomAdapter;
import org.eellm.model.StoredDecoder;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Texts of several adapters in one batch. */
@ExtendWith(OneThread.class)
final class AdapterBatchTest {
  private static final List<Integer> PROMPT =
      new Random(1).ints(40, 0, SmallModel.VOCABULARY).boxed().toList();
  private static final List<DecodingMethod> METHODS =
      List.of(
          DecodingMethod.full(),
          DecodingMethod.lossless(),
          new DecodingMethod.EarlyExit(ExitPolicies.maxProbability(Threshold.of(0.15))));

  private static Request request(DecodingMethod method, int adapter) {
    return new Request(PROMPT, 24, Set.of(), method, Sampler.greedy()).withAdapter(adapter);
  }

  private static List<Adapter> adapters(Decoder model) {
    return List.of(
        RandomAdapter.of(model, "one", 1, _ -> true),
        RandomAdapter.of(model, "other", 2, name -> name.contains("self_attn")));
  }

  private static List<Integer> alone(DecodingModel model, Request request) {
    return Generator.generate(model, Limits.of(model), List.of(request), TokenListener.none())
        .getFirst()
        .ids();
  }

  /** The ids of requests that are in work at once, then again, when all prompts are known. */
  private static List<List<Integer>> together(Batch batch, List<Request> requests) {
    List<List<Integer>> ids = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      for (Request request : requests) {
        List<Integer> own = new ArrayList<>();
        ids.add(own);
        batch.add(
            batch.job(
                request,
                "the prompt",
                token -> {
                  own.add(token.id());
                  return Reaction.CONTINUE;
                }));
      }
      while (!batch.isIdle()) {
        batch.step();
      }
    }
    return ids;
  }

  @Test
  void step_onePromptForSeveralAdapters_writesWhatEachMergedModelDoes() {
    Decoder own = SmallModel.withBlocks();
    List<Adapter> adapters = adapters(own);
    try (StoredDecoder beside = StoredDecoder.of(own, MatrixQuantization.NONE, adapters)) {
      for (DecodingMethod method : METHODS) {
        List<List<Integer>> expected = new ArrayList<>();
        for (int number = 0; number <= 2; number++) {
          try (Decoder merged = SmallModel.withBlocks()) {
            if (number > 0) {
              RandomAdapter.merge(merged, adapters.get(number - 1));
            }
            expected.add(alone(merged, request(method, 0)));
          }
        }
        assertThat(expected).doesNotHaveDuplicates();
        try (Batch batch = new Batch(beside, Limits.of(beside))) {
          List<List<Integer>> ids =
              together(batch, List.of(request(method, 0), request(method, 1), request(method, 2)));

          assertThat(ids.subList(0, 3)).isEqualTo(expected);
          assertThat(ids.subList(3, 6)).isEqualTo(expected);
        }
      }
    }
  }

  @Test
  void step_promptOfAnotherAdapter_isNotReused() {
    Decoder own = SmallModel.plain();
    try (StoredDecoder beside = StoredDecoder.of(own, MatrixQuantization.NONE, adapters(own));
        Batch batch = new Batch(beside, Limits.of(beside))) {
      List<Result> results = new ArrayList<>();
      for (int number : new int[] {1, 0, 2, 1}) {
        ResultFuture result = new ResultFuture(_ -> Reaction.CONTINUE);
        batch.add(batch.job(request(DecodingMethod.full(), number), "the prompt", result));
        while (!batch.isIdle()) {
          batch.step();
        }
        results.add(result.await());
      }

      assertThat(results)
          .extracting(result -> result.usage().reusedTokens())
          .containsExactly(0, 0, 0, 32);
      assertThat(results.getLast().ids()).isEqualTo(results.getFirst().ids());
    }
  }

  @Test
  void job_adapterThatIsNotThere_isRefused() {
    Decoder own = SmallModel.plain();
    try (StoredDecoder beside = StoredDecoder.of(own, MatrixQuantization.NONE, adapters(own));
        Batch batch = new Batch(beside, Limits.of(beside))) {
      Request third = request(DecodingMethod.full(), 3);
      assertThatThrownBy(() -> batch.job(third, "the prompt", _ -> Reaction.CONTINUE))
          .isInstanceOf(GenerateException.class)
          .hasMessage("adapter: 3 is none of the model's 2; use 0 for the model as it is");
    }
  }
}
