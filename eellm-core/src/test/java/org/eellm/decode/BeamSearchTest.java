package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.eellm.config.ConfigException;
import org.eellm.decode.BeamSearch.Hypothesis;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.junit.jupiter.api.Test;

final class BeamSearchTest extends WithSmallModel {
  private static final int IDS = 4;
  private static final int END = 2;
  private static final int MAX_TOKENS = 4;
  private static final List<Integer> PROMPT =
      new Random(3).ints(21, 0, SmallModel.VOCABULARY).boxed().toList();

  private static Limits fewIds() {
    return Limits.of(model).withVocabulary(Vocabulary.of(IDS));
  }

  private record Text(List<Integer> ids, double logProbability) {
    double score(double lengthPenalty) {
      return logProbability / Math.pow(ids.size(), lengthPenalty);
    }
  }

  /** All texts there are, each with its probability by the full model. */
  private static List<Text> allTexts() {
    List<Text> done = new ArrayList<>();
    List<Text> going = List.of(new Text(List.of(), 0));
    while (!going.isEmpty()) {
      List<Text> next = new ArrayList<>();
      for (Text text : going) {
        double[] logProbabilities = logProbabilities(text.ids());
        for (int id = 0; id < IDS; id++) {
          List<Integer> ids = new ArrayList<>(text.ids());
          ids.add(id);
          Text longer = new Text(ids, text.logProbability() + logProbabilities[id]);
          (id == END || ids.size() == MAX_TOKENS ? done : next).add(longer);
        }
      }
      going = next;
    }
    return done;
  }

  private static double[] logProbabilities(List<Integer> text) {
    List<Integer> prefix = new ArrayList<>(PROMPT);
    prefix.addAll(text);
    double[] found = new double[IDS];
    Sampler asking =
        prediction -> {
          for (int id = 0; id < IDS; id++) {
            found[id] = prediction.logProbability(id);
          }
          return 0;
        };
    Generator.generate(
        model,
        fewIds(),
        List.of(new Request(prefix, 1, Set.of(), DecodingMethod.full(), asking)),
        TokenListener.none());
    return found;
  }

  @Test
  void search_withBeamsForAllTexts_findsTheBestOfThem() {
    List<Text> all = allTexts();
    for (double lengthPenalty : new double[] {0, 1, 2}) {
      List<Text> best =
          all.stream()
              .sorted(Comparator.comparingDouble(text -> -text.score(lengthPenalty)))
              .toList();

      List<Hypothesis> found =
          new BeamSearch(64, lengthPenalty)
              .search(model, fewIds(), PROMPT, MAX_TOKENS, Set.of(END));

      for (int i = 0; i < 5; i++) {
        assertThat(found.get(i).ids()).as("%s, %d", lengthPenalty, i).isEqualTo(best.get(i).ids());
        assertThat(found.get(i).score()).isCloseTo(best.get(i).score(lengthPenalty), within(1e-4));
        assertThat(found.get(i).reason())
            .isEqualTo(
                best.get(i).ids().getLast() == END ? FinishReason.END_TOKEN : FinishReason.LENGTH);
      }
    }
  }

  @Test
  void search_oneBeam_isGreedy() {
    List<Integer> prompt = new Random(4).ints(300, 0, 264).boxed().toList().subList(0, 40);
    List<Integer> greedy =
        Generator.generate(
                model,
                Limits.of(model),
                List.of(new Request(prompt, 30, Set.of(), DecodingMethod.full(), Sampler.greedy())),
                TokenListener.none())
            .getFirst()
            .ids();

    assertThat(
            new BeamSearch(1, 1)
                .search(model, Limits.of(model), prompt, 30, Set.of())
                .getFirst()
                .ids())
        .isEqualTo(greedy);
  }

  @Test
  void search_moreBeams_findsNoWorseText() {
    double one = best(1);
    double four = best(4);
    double sixteen = best(16);

    assertThat(four).isGreaterThanOrEqualTo(one - 1e-6);
    assertThat(sixteen).isGreaterThan(one);
  }

  /** The best score of texts over several pages of the cache. */
  private static double best(int beams) {
    return new BeamSearch(beams, 1)
        .search(model, Limits.of(model), PROMPT, 40, Set.of())
        .getFirst()
        .score();
  }

  @Test
  void constructor_impossibleSettings_areRefusedByName() {
    assertThatThrownBy(() -> new BeamSearch(0, 1))
        .isInstanceOf(ConfigException.class)
        .hasMessage("beams: 0 is below 1; use 1 or more");
    assertThatThrownBy(() -> new BeamSearch(2, Double.NaN))
        .isInstanceOf(ConfigException.class)
        .hasMessage("length-penalty: NaN is no finite number; use 1");
  }
}
