package org.eellm.decode.strategy;

import java.util.List;
import java.util.OptionalInt;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftMemory;
import org.eellm.decode.speculate.DraftPlan;
import org.eellm.decode.speculate.DraftPlanner;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.decode.strategy.ExitStrategy.AfterExit;
import org.eellm.decode.token.Prediction;
import org.eellm.model.Head;

/**
 * How the tokens of one sequence come about: which heads are asked, what becomes of what they
 * predict, and whether rows stop at a tap. Knows of the token being generated; what the text is so
 * far, the {@link Sequence} knows.
 */
public sealed interface DecodingStrategy
    permits BeamStrategy, ExitStrategy, ScoreStrategy, SpeculativeStrategy {

  enum TapAction {
    /** They go on, behind all that waits there. */
    CONTINUE,
    /** They wait. */
    PEND,
    /** They leave, to go in again from layer 1. */
    RECOMPUTE,
    /** They leave their keys and values at all layers above, as if these changed nothing. */
    PROPAGATE
  }

  /**
   * The strategy of a request.
   *
   * @param planner of drafts, where these are not fixed
   */
  static DecodingStrategy of(DecodingMethod decoding, DraftPlanner planner) {
    return switch (decoding) {
      case DecodingMethod.EarlyExit exit -> new ExitStrategy(exit.policy(), AfterExit.PEND);
      case DecodingMethod.Recompute anew -> new ExitStrategy(anew.policy(), AfterExit.RECOMPUTE);
      case DecodingMethod.Propagate on -> new ExitStrategy(on.policy(), AfterExit.PROPAGATE);
      case DecodingMethod.Speculative draft ->
          new SpeculativeStrategy(
              new DraftPlan.Fixed(draft.length()), draft.filter(), draft.resume());
      case DecodingMethod.AdaptiveDrafts(DraftSource source, DraftMemory memory) ->
          new SpeculativeStrategy(planner.plan(source, memory), 0, 0);
      case DecodingMethod.FixedDrafts(DraftSource source, DraftMemory memory, DraftLength length) ->
          new SpeculativeStrategy(planner.plan(source, memory, length), 0, 0);
      case DecodingMethod.Score score -> new ScoreStrategy(score);
    };
  }

  /** Adds to the tokens of a sequence, before a step, what is to go in with the newest. */
  default void addDrafts(Sequence sequence) {}

  /** Whether the draft head is to draft one more token before the step. */
  default boolean asksDraftHead(Sequence sequence, Head head) {
    return false;
  }

  /** Takes leave of a sequence that has ended, however that came. */
  default void onEnd(Sequence sequence) {}

  /** Starts a step, in which the sequence's in-flight rows go in. */
  void beginStep(Sequence sequence);

  /** Of how many of the last in-flight rows a head is to predict: none, where it is not asked. */
  int rowsToPredict(Sequence sequence, Head head);

  /**
   * Ids that an exit is to look at beside a short list and those of the text's last tokens.
   *
   * @param position of the predicted token
   */
  default int[] favored(Sequence sequence, int position) {
    return Sampler.NO_IDS;
  }

  /**
   * Whether a head is asked for the short list of ids alone, as for a draft or by a gate. A head is
   * asked for the short list first: what it says there may lead to the other question.
   */
  default boolean draftsAt(Sequence sequence, Head head) {
    return false;
  }

  /**
   * The trunk branch from which a copy of the newest row goes on to the last head, in place of the
   * head that taps the stream here; 0 for none.
   */
  default int resumesAt(Head head) {
    return 0;
  }

  /** A guess at the token that is being waited for; none where no other is likelier than any. */
  default OptionalInt guess(Sequence sequence) {
    return OptionalInt.empty();
  }

  /** Another one, for the tokens behind a guess. */
  default DecodingStrategy another() {
    throw new IllegalStateException("this strategy makes no guesses");
  }

  /**
   * Predictions of a token so far, shallowest head first; the list changes.
   *
   * @param row of those that heads are asked for, from 0
   */
  default List<Prediction> earlier(int row) {
    return List.of();
  }

  /**
   * Takes what a head predicts.
   *
   * @param predictions of as many of the last in-flight rows as were asked for, in order of
   *     positions; valid during the call
   */
  void onPredictions(Sequence sequence, List<Prediction> predictions);

  /**
   * The action on the in-flight rows at a tap of a head in use that is not the last.
   *
   * @param rows how many would wait there then
   */
  TapAction atTap(Sequence sequence, int rows, int maxPending);
}
