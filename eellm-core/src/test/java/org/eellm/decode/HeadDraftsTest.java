package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.MatrixQuantization;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.StoredDecoder;
import org.junit.jupiter.api.Test;

/** Drafts of a draft head whose weights are random. */
final class HeadDraftsTest {
  private static List<Result> texts(StoredDecoder model, int batch, DecodingMethod decoding) {
    List<Integer> shared = new Random(9).ints(35, 0, SmallModel.VOCABULARY).boxed().toList();
    List<Request> requests = new ArrayList<>();
    for (int i = 0; i < 6; i++) { // later ones go on with pages of earlier ones' prompts
      List<Integer> prompt = new ArrayList<>(shared);
      prompt.addAll(new Random(i / 2).ints(i % 4, 0, SmallModel.VOCABULARY).boxed().toList());
      Sampler sampler = i % 2 == 0 ? Sampler.greedy() : new RandomSampler(0.8, 0, 1, 1, i);
      requests.add(new Request(prompt, 25, Set.of(), decoding, sampler));
    }
    Limits limits = Limits.of(model).withVocabSize(8).withBatchSize(batch);
    return Generator.generate(model, limits, requests, TokenListener.none());
  }

  @Test
  void generate_promptsThatSharePages_areTheFullModelsTexts() {
    try (StoredDecoder model =
        StoredDecoder.of(SmallModel.withDraftHead(DataType.FLOAT32), MatrixQuantization.NONE)) {
      List<List<Integer>> full =
          texts(model, 2, DecodingMethod.full()).stream().map(Result::ids).toList();
      for (int batch : new int[] {1, 2, 4}) {
        List<Result> drafted =
            texts(model, batch, new DecodingMethod.AdaptiveDrafts(DraftSource.HEAD));

        assertThat(drafted).extracting(Result::ids).isEqualTo(full);
        assertThat(drafted).anyMatch(text -> text.usage().draftedTokens() > 0);
        assertThat(drafted.getLast().usage().reusedTokens()).isPositive();
      }
    }
  }

  @Test
  void generate_modelWithoutADraftHead_isRefusedByName() {
    try (StoredDecoder model = StoredDecoder.of(SmallModel.plain(), MatrixQuantization.NONE)) {
      assertThatThrownBy(() -> texts(model, 1, new DecodingMethod.AdaptiveDrafts(DraftSource.HEAD)))
          .isInstanceOf(ConfigException.class)
          .hasMessageContaining(
              "head needs a draft head beside a model that one rank has on its CPU")
          .hasMessageContaining("eellm add-draft-head");
    }
  }

  @Test
  void step_closedBatch_isRefused() {
    try (StoredDecoder model =
        StoredDecoder.of(SmallModel.withDraftHead(DataType.FLOAT32), MatrixQuantization.NONE)) {
      Batch batch = new Batch(model, Limits.of(model));
      batch.close();
      DecodingMethod decoding = new DecodingMethod.AdaptiveDrafts(DraftSource.BOTH);
      Request request = new Request(List.of(1, 2), 9, Set.of(), decoding, Sampler.greedy());
      batch.add(batch.job(request, "the prompt", _ -> Reaction.CONTINUE));

      assertThatThrownBy(batch::step)
          .isInstanceOf(IllegalStateException.class)
          .hasMessage("the runner is closed");
    }
  }
}
