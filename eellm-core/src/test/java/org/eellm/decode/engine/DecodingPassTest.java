package org.eellm.decode.engine;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.HeadId;
import org.eellm.decode.BeamSearch;
import org.eellm.decode.Engine;
import org.eellm.decode.Generator;
import org.eellm.decode.Scorer;
import org.eellm.decode.SmallModel;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.ResultFuture;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.Decoder;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/** What decoding on a CPU does without: libtorch's operators, and more memory. */
final class DecodingPassTest {
  private static final ExitLayout EXITS =
      new ExitLayout(List.of(1, 2, 4), true, false, false, false);

  private static Request request(int seed, int maxTokens, DecodingMethod decoding) {
    List<Integer> prompt = new Random(seed).ints(8, 0, SmallModel.VOCABULARY).boxed().toList();
    return new Request(prompt, maxTokens, Set.of(), decoding, Sampler.greedy());
  }

  private static DecodingMethod sometimes() {
    return new DecodingMethod.EarlyExit(ExitPolicies.maxProbability(Threshold.of(0.1)));
  }

  @Test
  @EnabledIfSystemProperty(named = "os.arch", matches = "amd64")
  void generate_onCpu_callsNoOperatorOfLibtorch() {
    ExitLayout everything = new ExitLayout(List.of(1, 2, 4), true, true, true, false);
    for (DataType type : DataType.values()) {
      try (Decoder model = SmallModel.of(everything, type);
          OperatorCounter operators = new OperatorCounter()) {
        try (Scope _ = Scope.open()) {
          var _ = torch.zeros(2, 2);
        }
        assertThat(operators.count()).isPositive();
        long before = operators.count();
        Limits limits = Limits.of(model);
        List<Request> requests = new ArrayList<>();
        requests.add(request(1, 30, sometimes()));
        requests.add(request(2, 30, new DecodingMethod.Recompute(ExitPolicies.fixed(2))));
        requests.add(request(3, 30, new DecodingMethod.Speculative(2, new DraftLength.Fixed(3))));
        requests.add(request(4, 30, DecodingMethod.full()));

        Generator.generate(model, limits, requests, TokenListener.none());
        Scorer.score(model, limits, List.of(List.of(1, 2, 3, 4)), HeadId.exit(2), 3);
        new BeamSearch(3, 1).search(model, limits, List.of(5, 6), 8, Set.of());

        assertThat(operators.count()).isEqualTo(before);
      }
    }
  }

  /** As many tokens as the system property {@code eellm.tokens} says, such as a million. */
  @Test
  void engine_afterManyTokens_takesNoMoreMemoryAndSaysTheSame() {
    int texts = Integer.getInteger("eellm.tokens", 40_000) / 80;
    try (Decoder model = SmallModel.of(EXITS, DataType.BFLOAT16)) {
      long early = 0;
      List<Integer> last = List.of();
      try (Engine engine = Engine.start(model, Limits.of(model).withBatchSize(4))) {
        for (int i = 0; i < texts; i += 4) {
          if (i >= texts / 4 && early == 0) {
            early = Torch.residentBytes();
          }
          List<ResultFuture> futures = new ArrayList<>();
          for (int j = 0; j < 4; j++) {
            ResultFuture future = new ResultFuture(token -> Reaction.CONTINUE);
            assertThat(engine.submit(request(j, 80, sometimes()), future)).isPresent();
            futures.add(future);
          }
          last = futures.stream().map(ResultFuture::await).toList().getLast().ids();
        }
      }
      assertThat(Torch.residentBytes() - early).isLessThan(128L << 20); // of Java's heap

      assertThat(last)
          .isEqualTo(
              Generator.generate(
                      model,
                      Limits.of(model),
                      List.of(request(3, 80, sometimes())),
                      TokenListener.none())
                  .getFirst()
                  .ids());
    }
  }
}
