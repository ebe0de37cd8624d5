package org.eellm.decode.strategy;

import java.util.ArrayList;
import java.util.BitSet;
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
  /** Most tokens of a draft that a grammar forces: as many as a planner's others. */
  private static final int MOST_FORCED = 12;

  private final DraftPlan plan;
  private final int filter;
  private final int resume;
  private final List<Integer> drafts = new ArrayList<>();
  private final BitSet forced = new BitSet(); // those that a grammar leaves no choice for
  private @Nullable Head drafter; // none where the text drafts itself
  private boolean expectsToken;
  private boolean drafted; // in this step
  private int passed; // drafts that the filter would choose, too
  private @Nullable Head skipping; // the exit behind which layers are left out, while that drafts

  /**
   * @param filter layer of an exit that drafts pass before the full model; 0 for none
   * @param resume layer from which drafts go on behind the exit's; 0 for none
   */
  SpeculativeStrategy(DraftPlan plan, int filter, int resume) {
    this.plan = plan;
    this.filter = filter;
    this.resume = resume;
  }

  @Override
  public void addDrafts(Sequence sequence) {
    if (drafts.isEmpty() && !sequence.inPrompt()) {
      drafter = null;
      addForced(sequence);
      // A draft head knows no state behind tokens that have yet to go in.
      int unseen = drafts.isEmpty() ? sequence.unseenByDraftHead() : DraftPlan.NO_HEAD;
      int count = plan.begin(sequence.tokens(), room(sequence), unseen);
      for (int i = 0; i < count; i++) {
        draft(sequence, plan.lookUp(i));
      }
    }
  }

  /** Tokens that come whatever the model says: drafts that hold where those before do. */
  private void addForced(Sequence sequence) {
    Sampler sampler = sequence.request().sampler();
    OptionalInt next = sampler.forced(sequence.tokens());
    while (next.isPresent() && forced.cardinality() < MOST_FORCED && room(sequence) > 0) {
      forced.set(drafts.size());
      draft(sequence, next.getAsInt());
      next = sampler.forced(sequence.tokens());
    }
  }

  @Override
  public boolean asksDraftHead(Sequence sequence, Head head) {
    return forced.isEmpty() && !sequence.inPrompt() && asks(sequence, head);
  }

  private boolean asks(Sequence sequence, Head drafter) {
    return sequence.output().count() > 0
        && room(sequence) > 0
        && plan.asks(drafter.index(), guesses(drafts.size()));
  }

  /** How many of the first drafts are guesses. */
  private int guesses(int count) {
    int guesses = 0;
    for (int i = 0; i < count; i++) {
      guesses += forced.get(i) ? 0 : 1;
    }
    return guesses;
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
    if (head.layer() == filter) {
      return passed == drafts.size() ? 0 : drafts.size() - passed + 1;
    }
    if (!asks(sequence, head)) {
      return 0;
    }
    skipping = resume > 0 ? head : null;
    return 1;
  }

  @Override
  public int resumesAt(Head head) {
    return resume > 0 && head.isExit() ? 2 * (resume - 1) : 0; // a layer has two branches
  }

  @Override
  public boolean draftsAt(Sequence sequence, Head head) {
    return !sequence.isLast(head);
  }

  @Override
  public int[] favored(Sequence sequence, int position) {
    Sampler sampler = sequence.request().sampler();
    return sampler.favored(position, sequence.job().vocabSize());
  }

  /**
   * Drafts that may follow: the full model adds a token of its own to those it confirms, and all
   * have to be asked for.
   */
  private int room(Sequence sequence) {
    return sequence.request().maxTokens() - sequence.output().count() - 1 - drafts.size();
  }

  @Override
  public void onPredictions(Sequence sequence, List<Prediction> predictions) {
    Prediction first = predictions.getFirst();
    Head skipped = skipping;
    skipping = null;
    if (skipped != null) {
      draft(sequence, skipped, sequence.request().sampler().choose(first));
    } else if (sequence.isLast(first.head())) {
      verify(sequence, predictions);
    } else if (first.head().layer() == filter) {
      filter(sequence, predictions);
    } else {
      draft(sequence, first.head(), sequence.request().sampler().choose(first));
    }
  }

  private void draft(Sequence sequence, Head head, Sampler.Choice choice) {
    if (plan.keepsDrafting(choice.margin())) {
      drafter = head;
      draft(sequence, choice.id());
      drafted = true;
      if (head.isExit()) { // a draft head would have to see them one by one
        addForced(sequence);
      }
    }
  }

  /**
   * Takes back the drafts from the first one on that the filter would not choose. Its own choice
   * there is a draft, if it is sure, and the rows wait for more.
   */
  private void filter(Sequence sequence, List<Prediction> predictions) {
    Sampler sampler = sequence.request().sampler();
    int before = passed;
    Sampler.Choice choice = sampler.choose(predictions.getFirst());
    while (passed < drafts.size() && choice.id() == drafts.get(passed)) {
      passed++;
      choice = sampler.choose(predictions.get(passed - before));
    }
    sequence.takeBack(drafts.size() - passed);
    drafts.subList(passed, drafts.size()).clear();
    forced.clear(passed, Math.max(passed, forced.length()));
    Head head = predictions.getFirst().head();
    if (asks(sequence, head)) {
      draft(sequence, head, choice);
      passed = drafts.size();
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
    plan.onVerified(guesses(drafts.size()), guesses(accepted));
    if (!drafts.isEmpty()) {
      Optional<HeadId> exit = Optional.ofNullable(drafter).map(Head::id);
      sequence.output().add(new Draft(step, exit, drafts, accepted));
    }
    drafts.clear();
    forced.clear();
    passed = 0;
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
