package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.eellm.config.ConfigException;
import org.eellm.config.ExitLayout;
import org.eellm.config.HeadId;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.TokenListener;
import org.eellm.model.Decoder;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(OneThread.class)
final class ScorerTest {
  private static Decoder model;

  @BeforeAll
  static void makeModel() {
    model = SmallModel.withContext(new ExitLayout(List.of(1, 2, 4), true, true, true, false), 400);
  }

  @AfterAll
  static void closeModel() {
    model.close();
  }

  @Test
  void score_ofGeneratedTexts_isWhatTheHeadSaidThen() {
    for (ExitPolicy policy : List.of(ExitPolicies.full(), ExitPolicies.fixed(2))) {
      List<Integer> prompt = new Random(1).ints(270, 0, SmallModel.VOCABULARY).boxed().toList();
      Result result =
          Generator.generate(
                  model,
                  Limits.of(model),
                  List.of(
                      new Request(prompt, 60, Set.of(), policy, new RandomSampler(1, 0, 1, 1, 3))),
                  TokenListener.none())
              .getFirst();
      List<Integer> text = new ArrayList<>(prompt);
      text.addAll(result.ids());
      HeadId head = result.tokens().getFirst().head();

      List<GeneratedToken> scores =
          Scorer.score(model, Limits.of(model), List.of(text), head, 2).getFirst();

      assertThat(scores).hasSize(text.size() - 1);
      for (int i = 0; i < scores.size(); i++) {
        assertThat(scores.get(i).id()).isEqualTo(text.get(i + 1));
        assertThat(scores.get(i).alternatives()).hasSize(2);
        assertThat(scores.get(i).head()).isEqualTo(head);
      }
      for (int i = 0; i < result.tokens().size(); i++) {
        GeneratedToken score = scores.get(prompt.size() - 1 + i);
        GeneratedToken token = result.tokens().get(i);
        assertThat(score.logProbability()).isCloseTo(token.logProbability(), within(1e-4));
        assertThat(score.confidence()).isCloseTo(token.confidence(), within(1e-4));
      }
    }
  }

  @Test
  void score_manyTexts_isThatOfEachAlone() {
    Random random = new Random(3);
    List<List<Integer>> texts = new ArrayList<>();
    for (int length : new int[] {40, 1, 7, 300, 2, 33, 1, 40, 18, 5, 90}) {
      texts.add(random.ints(length, 0, SmallModel.VOCABULARY).boxed().toList());
    }
    texts.add(texts.getFirst());

    List<List<GeneratedToken>> scores =
        Scorer.score(model, Limits.of(model).withBatchSize(4), texts, HeadId.exit(2), 1);

    assertThat(scores).hasSameSizeAs(texts);
    for (int i = 0; i < texts.size(); i++) {
      List<GeneratedToken> alone =
          Scorer.score(model, Limits.of(model), List.of(texts.get(i)), HeadId.exit(2), 1)
              .getFirst();
      assertThat(scores.get(i)).hasSize(texts.get(i).size() - 1).hasSameSizeAs(alone);
      for (int j = 0; j < alone.size(); j++) {
        assertThat(scores.get(i).get(j).id()).isEqualTo(texts.get(i).get(j + 1));
        assertThat(scores.get(i).get(j).logProbability())
            .isCloseTo(alone.get(j).logProbability(), within(1e-4));
      }
    }
  }

  @Test
  void score_byAllHeads_tellsEachWhatShallowerOnesSaidOfTheSameToken() {
    List<Integer> text = new Random(4).ints(300, 0, SmallModel.VOCABULARY).boxed().toList();
    List<HeadId> heads = HeadId.all(List.of(1, 2, 4));
    Map<Integer, List<Integer>> best = new HashMap<>(); // by position
    Request request =
        Request.score(
            text,
            5,
            heads,
            (prediction, _) -> {
              List<Integer> before =
                  best.computeIfAbsent(prediction.position(), _ -> new ArrayList<>());
              assertThat(prediction.earlier().stream().map(Prediction::best).toList())
                  .isEqualTo(before);
              before.add(prediction.best());
            });

    Generator.generate(model, Limits.of(model), List.of(request), TokenListener.none());

    assertThat(best).hasSize(295);
    assertThat(best.values()).allSatisfy(ids -> assertThat(ids).hasSameSizeAs(heads));
  }

  @Test
  void score_oneToken_isEmptyAndNoneIsRefused() {
    Limits limits = Limits.of(model);

    assertThat(Scorer.score(model, limits, List.of(List.of(3)), HeadId.FINAL, 0))
        .containsExactly(List.of());
    assertThatThrownBy(() -> Scorer.score(model, limits, List.of(List.of()), HeadId.FINAL, 0))
        .isInstanceOf(GenerateException.class)
        .hasMessage("a text of 0 tokens has none with others before it; give at least two");
    assertThatThrownBy(() -> Scorer.score(model, limits, List.of(List.of(1, 2)), HeadId.exit(3), 0))
        .isInstanceOf(ConfigException.class)
        .hasMessage(
            "head: 'exit_3' is none of the model's; use one of [exit_1, exit_2, exit_4, final]");
  }
}
