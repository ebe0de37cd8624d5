package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import org.eellm.model.Head;

/**
 * An exit drafts tokens, and the full model judges them. Drafts are tokens of the sequence until
 * then; what the full model takes back has never been handed out, and its keys and values are
 * overwritten by what comes in its place.
 *
 * <p>The prompt passes all layers, and the first token is the full model's.
 */
final class SpeculativeStrategy implements Strategy {
  private final DraftLength length;
  private final List<Integer> drafts = new ArrayList<>();
  private boolean asking;
  private boolean drafted; // in this step

  SpeculativeStrategy(DraftLength length) {
    this.length = length;
  }

  @Override
  public void begin(Sequence sequence) {
    asking = sequence.movesNewest();
    drafted = false;
  }

  @Override
  public int asked(Sequence sequence, Head head) {
    if (!asking) {
      return 0;
    }
    return sequence.isLast(head) ? drafts.size() + 1 : mayDraft(sequence) ? 1 : 0;
  }

  /** The full model adds a token of its own to those it confirms; all have to be asked for. */
  private boolean mayDraft(Sequence sequence) {
    int generated = sequence.delivery().count();
    int room = sequence.request().maxTokens() - generated - 1;
    return generated > 0 && drafts.size() < Math.min(length.most(), room);
  }

  @Override
  public void onPredictions(Sequence sequence, List<Prediction> predictions) {
    Prediction first = predictions.getFirst();
    if (sequence.isLast(first.head())) {
      judge(sequence, predictions);
    } else if (length.goesOn(first)) {
      int draft = sequence.request().sampler().next(first);
      drafts.add(draft);
      sequence.tokens().append(draft);
      drafted = true;
    }
  }

  /** Hands out what holds of the drafts, and the full model's token behind. */
  private void judge(Sequence sequence, List<Prediction> predictions) {
    sequence.delivery().countDrafted(drafts.size());
    sequence.tokens().truncate(sequence.tokens().size() - drafts.size());
    boolean holds = true;
    for (int i = 0; i < predictions.size() && holds && !sequence.delivery().finished(); i++) {
      Prediction prediction = predictions.get(i);
      int id = sequence.request().sampler().next(prediction);
      holds = i < drafts.size() && id == drafts.get(i);
      sequence.emit(prediction, id, holds);
    }
    drafts.clear();
    sequence.rollBack();
  }

  @Override
  public Course atTap(Sequence sequence, int rows, int maxPending) {
    return drafted || !asking && rows < maxPending ? Course.WAIT : Course.GO_ON;
  }
}
