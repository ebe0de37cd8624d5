package org.eellm.decode.strategy;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.eellm.config.HeadId;
import org.eellm.decode.request.Draft;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftPlan;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Head;
import org.jspecify.annotations.Nullable;

/**
 * An exit drafts tokens, or a draft head, or the text itself where it has been at its last tokens
 * before, and the full model verifies them. Drafts are tokens of the sequence until then; what the
 * full model takes back has never been emitted, and its keys and values are overwritten by what
 * comes in its place.
 *
 * <p>The prompt passes all layers, and the first token is the full model's.
 */
final class SpeculativeStrategy implements DecodingStrategy {
  /** Tokens that go in at once: as many as drafts. */
  private static final int MOST_FORCED = 12;

  private final DraftPlan plan;
  private final List<Integer> drafts = new ArrayList<>();
  private @Nullable Head drafter; // none where the text drafts itself
  private boolean expectsToken;
  private boolean drafted; // in this step
  private boolean forced; // the drafts are

  SpeculativeStrategy(DraftPlan plan) {
    this.plan = plan;
  }

  @Override
  public void addDrafts(Sequence sequence) {
    if (drafts.isEmpty() && !sequence.inPrompt()) {
      drafter = null;
      addForced(sequence);
      forced = !drafts.isEmpty();
      int count = forced ? 0 : begin(sequence);
      for (int i = 0; i < count; i++) {
        draft(sequence, plan.lookUp(i));
      }
    }
  }

  private int begin(Sequence sequence) {
    return plan.begin(sequence.tokens(), room(sequence), sequence.unseenByDraftHead());
  }

  /** Tokens that come whatever the model says: a draft that always holds. */
  private void addForced(Sequence sequence) {
    Sampler sampler = sequence.request().sampler();
    OptionalInt next = sampler.forced(sequence.tokens());
    while (next.isPresent() && drafts.size() < Math.min(MOST_FORCED, room(sequence))) {
      draft(sequence, next.getAsInt());
      next = sampler.forced(sequence.tokens());
    }
  }

  @Override
  public boolean asksDraftHead(Sequence sequence, Head head) {
    return !forced
        && !sequence.inPrompt()
        && mayDraft(sequence)
        && plan.asks(head.index(), drafts.size());
  }

  private void draft(Sequence sequence, int id) {
    drafts.add(id);
    sequence.tokens().append(id);
  }

  @Override
  public void beginStep(Sequence sequence) {
    expectsToken = sequence.includesNewest();
    drafted = false;
  }

  @Override
  public int rowsToPredict(Sequence sequence, Head head) {
    if (!expectsToken) {
      return 0;
    }
    if (sequence.isLast(head)) {
      return drafts.size() + 1;
    }
    return !forced && mayDraft(sequence) && plan.asks(head.index(), drafts.size()) ? 1 : 0;
  }

  @Override
  public boolean draftsAt(Sequence sequence, Head head) {
    return !sequence.isLast(head);
  }

  @Override
  public int[] favored(Sequence sequence) {
    Sampler sampler = sequence.request().sampler();
    return sampler.favored(sequence.tokens().size(), sequence.job().vocabSize());
  }

  private boolean mayDraft(Sequence sequence) {
    return sequence.output().count() > 0 && drafts.size() < room(sequence);
  }

  /** The full model adds a token of its own to those it confirms; all have to be asked for. */
  private static int room(Sequence sequence) {
    return sequence.request().maxTokens() - sequence.output().count() - 1;
  }

  @Override
  public void onPredictions(Sequence sequence, List<Prediction> predictions) {
    Prediction first = predictions.getFirst();
    if (sequence.isLast(first.head())) {
      verify(sequence, predictions);
      return;
    }
    Sampler.Choice choice = sequence.request().sampler().choose(first);
    if (plan.keepsDrafting(choice.margin())) {
      drafter = first.head();
      draft(sequence, choice.id());
      drafted = true;
    }
  }

  /** Emits the drafts that the full model accepts, and the full model's token behind. */
  private void verify(Sequence sequence, List<Prediction> predictions) {
    for (int i = 0; i < predictions.size(); i++) {
      plan.onPredicted(predictions.get(i).tokens(), predictions.get(i).best());
    }
    int step = sequence.output().count();
    sequence.tokens().truncate(sequence.tokens().size() - drafts.size());
    int accepted = 0;
    boolean holds = true;
    for (int i = 0; i < predictions.size() && holds && !sequence.output().finished(); i++) {
      Prediction prediction = predictions.get(i);
      int id = sequence.request().sampler().next(prediction);
      holds = i < drafts.size() && id == drafts.get(i);
      accepted += holds ? 1 : 0;
      sequence.emit(prediction, id, holds);
    }
    if (!forced) {
      plan.onVerified(drafts.size(), accepted);
    }
    if (!drafts.isEmpty()) {
      Optional<HeadId> exit = Optional.ofNullable(drafter).map(Head::id);
      sequence.output().add(new Draft(step, exit, drafts, accepted));
    }
    drafts.clear();
    sequence.rollBack();
  }

  @Override
  public void onEnd(Sequence sequence) {
    Tokens tokens = sequence.tokens();
    if (sequence.output().count() > 0) {
      plan.onEnd(tokens, tokens.promptSize() + sequence.output().count());
    }
  }

  @Override
  public TapAction atTap(Sequence sequence, int rows, int maxPending) {
    return drafted || !expectsToken && rows < maxPending ? TapAction.PEND : TapAction.CONTINUE;
  }
}
