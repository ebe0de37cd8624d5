package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import org.eellm.generate.Sampler.Draft;
import org.eellm.model.Head;

/**
 * A sequence whose tokens an exit drafts and the full model judges. Drafts are tokens of the
 * sequence until then; what the full model takes back has never been handed out, and its keys and
 * values are overwritten by what comes in its place.
 *
 * <p>The prompt passes all layers, and the first token is the full model's.
 */
final class SpeculativeSequence extends Sequence {
  private final DraftLength length;
  private final List<Draft> drafts = new ArrayList<>();
  private boolean asking;
  private boolean drafted; // in this step

  SpeculativeSequence(Job job, SequenceCache cache, int reused, DraftLength length) {
    super(job, cache, reused);
    this.length = length;
  }

  @Override
  void begin(Span rows) {
    asking = hasNewest(rows);
    drafted = false;
  }

  @Override
  int rowsFor(Head head) {
    if (!asking) {
      return 0;
    }
    return isLast(head) ? drafts.size() + 1 : mayDraft() ? 1 : 0;
  }

  /** The full model adds a token of its own to those it confirms; all have to be asked for. */
  private boolean mayDraft() {
    int room = request().maxTokens() - generated() - 1;
    return generated() > 0 && drafts.size() < Math.min(length.most(), room);
  }

  @Override
  void hear(List<Prediction> said) {
    if (isLast(said.getFirst().head())) {
      judge(said);
    } else if (length.goesOn(said.getFirst())) {
      Draft draft = request().sampler().draft(said.getFirst());
      drafts.add(draft);
      tokens().append(draft.id());
      drafted = true;
    }
  }

  /** Hands out what holds of the drafts, and the full model's token behind. */
  private void judge(List<Prediction> said) {
    countDrafted(drafts.size());
    tokens().truncate(tokens().size() - drafts.size());
    boolean holds = true;
    for (int i = 0; i < said.size() && holds && !finished(); i++) {
      if (i < drafts.size()) {
        Draft draft = drafts.get(i);
        int id = draft.verdict().next(said.get(i));
        holds = id == draft.id();
        emit(said.get(i), id, holds);
      } else {
        emit(said.get(i), request().sampler().next(said.get(i)), false);
      }
    }
    drafts.clear();
    rollBack();
  }

  @Override
  boolean stop(int rows, int maxPending) {
    return drafted || !asking && rows < maxPending;
  }
}
