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
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftMemory;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.StoredDecoder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Drafts of a draft head whose weights are random. */
final class HeadDraftsTest {
  private static final DecodingMethod FIXED =
      new DecodingMethod.FixedDrafts(DraftSource.HEAD, DraftMemory.OWN, new DraftLength.Fixed(3));

  private static List<Result> texts(
      StoredDecoder model, int batch, int prompts, DecodingMethod decoding) {
    List<Integer> shared = new Random(9).ints(prompts, 0, SmallModel.VOCABULARY).boxed().toList();
    List<Request> requests = new ArrayList<>();
    for (int i = 0; i < 6; i++) { // later ones go on with pages of earlier ones' prompts
      List<Integer> prompt = new ArrayList<>(shared);
      prompt.addAll(new Random(i / 2).ints(i % 4, 0, SmallModel.VOCABULARY).boxed().toList());
      Sampler sampler = i % 2 == 0 ? Sampler.greedy() : new RandomSampler(0.8, 0, 1, 1, i);
      requests.add(new Request(prompt, 25, Set.of(), decoding, sampler));
    }
    Limits limits = Limits.of(model).withVocabulary(Vocabulary.of(8)).withBatchSize(batch);
    return Generator.generate(model, limits, requests, TokenListener.none());
  }

  /** In the longer prompts the draft head begins behind the first page. */
  @ParameterizedTest
  @ValueSource(ints = {35, 68})
  void generate_promptsThatSharePages_areTheFullModelsTexts(int prompts) {
    try (StoredDecoder model =
        StoredDecoder.of(SmallModel.withDraftHead(DataType.FLOAT32), MatrixQuantization.NONE)) {
      List<List<Integer>> full =
          texts(model, 2, prompts, DecodingMethod.full()).stream().map(Result::ids).toList();
      for (int batch : new int[] {1, 2, 4}) {
        List<Result> drafted = texts(model, batch, prompts, FIXED);
        List<Result> priced =
            texts(model, batch, prompts, new DecodingMethod.AdaptiveDrafts(DraftSource.HEAD));

        assertThat(drafted).extracting(Result::ids).isEqualTo(full);
        assertThat(drafted).allMatch(text -> text.usage().draftedTokens() > 0);
        assertThat(drafted.getLast().usage().reusedTokens()).isPositive();
        assertThat(priced).extracting(Result::ids).isEqualTo(full);
        assertThat(priced).anyMatch(text -> text.usage().draftedTokens() > 0);
      }
    }
  }

  @Test
  void generate_pagesOfEarlierTexts_draftsAsInUnusedOnes() {
    try (StoredDecoder model =
        StoredDecoder.of(SmallModel.withDraftHead(DataType.FLOAT32), MatrixQuantization.NONE)) {
      Limits limits =
          Limits.of(model).withVocabulary(Vocabulary.of(8)).withBatchSize(1).withCacheTokens(96);
      List<Request> requests = new ArrayList<>();
      for (int i = 0; i < 6; i++) {
        List<Integer> prompt = new Random(i).ints(70, 0, SmallModel.VOCABULARY).boxed().toList();
        requests.add(new Request(prompt, 25, Set.of(), FIXED, Sampler.greedy()));
      }
      List<Result> inTurn = Generator.generate(model, limits, requests, TokenListener.none());
      for (int i = 0; i < requests.size(); i++) {
        List<Result> alone =
            Generator.generate(model, limits, List.of(requests.get(i)), TokenListener.none());

        assertThat(inTurn.get(i).usage()).isEqualTo(alone.getFirst().usage());
      }
      assertThat(inTurn).anyMatch(text -> text.usage().acceptedTokens() > 0);
    }
  }

  @Test
  void generate_modelWithoutADraftHead_isRefusedByName() {
    try (StoredDecoder model = StoredDecoder.of(SmallModel.plain(), MatrixQuantization.NONE)) {
      assertThatThrownBy(() -> texts(model, 1, 35, FIXED))
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
