package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import org.eellm.config.HeadId;
import org.eellm.config.MatrixQuantization;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Draft;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestListener;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.StoredDecoder;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Drafts whose tokens are each of the first exit that is sure, beside what exits say alone. */
final class DraftsOfSeveralExitsTest {
  private static final int MOST = 4;
  private static final double MARGIN = 0.15;
  private static final List<Integer> EXITS = List.of(1, 4);

  private static StoredDecoder model;
  private static Limits limits;

  @BeforeAll
  static void makeModel() {
    model = StoredDecoder.of(SmallModel.plain(), MatrixQuantization.NONE);
    KernelRunner.pack(model); // once, for thousands of texts
    limits = Limits.of(model).withVocabulary(Vocabulary.of(6)).withBatchSize(1);
  }

  @AfterAll
  static void closeModel() {
    model.close();
  }

  private static Request request(List<Integer> prompt, DecodingMethod decoding) {
    return new Request(prompt, 40, Set.of(), decoding, Sampler.greedy());
  }

  /** A text's drafts, and what came of it. */
  private static final class Drafts implements RequestListener {
    private final List<Draft> all = new ArrayList<>();
    private final List<Integer> ids = new ArrayList<>();
    private final CompletableFuture<Result> end = new CompletableFuture<>();

    @Override
    public void onEnd(Result result) {
      end.complete(result);
    }

    @Override
    public void onFailure(RuntimeException cause) {
      end.completeExceptionally(cause);
    }

    @Override
    public Reaction onToken(GeneratedToken token) {
      ids.add(token.id());
      return Reaction.CONTINUE;
    }

    @Override
    public void onDraft(Draft draft) {
      all.add(draft);
    }
  }

  @Test
  void generate_draftsOfSeveralExits_areOfTheFirstThatIsSure() {
    DecodingMethod method =
        new DecodingMethod.Speculative(EXITS, new DraftLength.Adaptive(MOST, MARGIN));
    List<Optional<Integer>> drafters = new ArrayList<>();
    for (int seed = 0; seed < 20; seed++) {
      List<Integer> prompt = new Random(seed).ints(5, 0, 6).boxed().toList();
      Drafts drafts = new Drafts();
      try (Engine engine = Engine.start(model, limits)) {
        assertThat(engine.submit(request(prompt, method), drafts)).isPresent();
        drafts.end.join();
      }
      List<Integer> full =
          Generator.generate(
                  model,
                  limits,
                  List.of(request(prompt, DecodingMethod.full())),
                  TokenListener.none())
              .getFirst()
              .ids();
      assertThat(drafts.ids).isEqualTo(full);
      for (Draft draft : drafts.all) {
        List<Integer> text = new ArrayList<>(prompt);
        text.addAll(full.subList(0, draft.step()));
        for (int id : draft.ids()) {
          Optional<Choice> first = firstSure(text);
          assertThat(first.map(Choice::id)).contains(id);
          drafters.add(first.map(Choice::layer));
          text.add(id);
        }
        int room = 40 - draft.step() - 1;
        if (draft.ids().size() < Math.min(MOST, room)) {
          assertThat(firstSure(text)).as("why the draft ended").isEmpty();
        }
      }
    }
    assertThat(drafters).contains(Optional.of(1), Optional.of(4));
  }

  private record Choice(int layer, int id) {}

  /** The first exit whose best token is enough ahead of the next, by the definition. */
  private static Optional<Choice> firstSure(List<Integer> text) {
    List<Integer> more = new ArrayList<>(text);
    more.add(0);
    List<Choice> sure = new ArrayList<>();
    List<HeadId> heads = EXITS.stream().<HeadId>map(HeadId::exit).toList();
    Request score =
        Request.score(
            more,
            text.size(),
            heads,
            (prediction, _) -> {
              double[] best = new double[2];
              prediction
                  .top(2)
                  .forEach(each -> best[best[0] == 0 ? 0 : 1] = Math.exp(each.logProbability()));
              if (1 - best[1] / best[0] >= MARGIN) {
                sure.add(new Choice(prediction.head().layer(), prediction.best()));
              }
            });
    List<Result> ignored = Generator.generate(model, limits, List.of(score), TokenListener.none());
    assertThat(ignored).hasSize(1);
    return sure.stream().findFirst();
  }
}
