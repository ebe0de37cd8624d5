package org.eellm.decode;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.eellm.decode.cache.Frontier;
import org.eellm.decode.cache.HiddenStateSlots;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.engine.ModelRunner.DraftLayer;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.speculate.OnlineCostModel;
import org.eellm.decode.strategy.Sequence;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Head;

/**
 * Lets a draft head draft for the sequences of a batch, before the step that judges its drafts. Of
 * each it first sees, in one block, the tokens that came since its last draft, each with the final
 * hidden state before it; then its own drafts, one by one, with its own states.
 *
 * <p>It sees a text when it is to draft for it, not before: where others draft, its time is spared.
 * Of a long text it sees the end alone ({@link Frontier#draftStart}), from which its positions
 * count, and of a prompt that has been taken from other requests what is behind that.
 */
final class HeadDrafts {
  private final ModelRunner runner;
  private final DraftLayer layer;
  private final Head head;
  private final OnlineCostModel costs;
  private final List<Sequence> drafting = new ArrayList<>(); // in the step to come
  private final ForwardBatch rows = new ForwardBatch();
  private int[] ids = new int[64];
  private int[] last = new int[8]; // rows of sequences
  private int toSee; // rows of those that draft in the step to come

  HeadDrafts(ModelRunner runner, DraftLayer layer, OnlineCostModel costs) {
    this.runner = runner;
    this.layer = layer;
    this.costs = costs;
    head = runner.model().draftHead().orElseThrow();
  }

  Head head() {
    return head;
  }

  /** Begins anew, for another step. */
  void clear() {
    drafting.clear();
    toSee = 0;
  }

  /**
   * Drafts for a sequence the next time, if it asks, and the head has not too much to see for
   * others already: all wait for it.
   */
  void add(Sequence sequence) {
    int unseen = sequence.frontier().finals().count();
    if ((drafting.isEmpty() || toSee + unseen <= Batch.PROMPT_ROWS) && sequence.asks(head)) {
      drafting.add(sequence);
      toSee += unseen;
    }
  }

  /**
   * Drafts for the sequences that have been added.
   *
   * @return whether there are any
   */
  boolean draft() {
    if (drafting.isEmpty()) {
      return false;
    }
    List<Sequence> left = new ArrayList<>(drafting);
    for (boolean first = true; !left.isEmpty(); first = false) {
      long start = System.nanoTime();
      fill(left, first);
      layer.run(rows, ids);
      HeadOutput output = runner.draft(head, rows, last, left.size());
      List<Sequence> more = new ArrayList<>();
      for (int i = 0; i < left.size(); i++) {
        if (deliver(left.get(i), output, i)) {
          more.add(left.get(i));
        }
      }
      costs.addDraftHead(rows.rows(), (System.nanoTime() - start) / 1e9);
      left = more;
    }
    drafting.forEach(sequence -> sequence.frontier().dropFinals());
    return true;
  }

  /**
   * Fills the block.
   *
   * @param first with all that the head has not seen, else with the newest tokens
   */
  private void fill(List<Sequence> sequences, boolean first) {
    rows.clear();
    if (last.length < sequences.size()) {
      last = new int[2 * sequences.size()];
    }
    for (int i = 0; i < sequences.size(); i++) {
      Sequence sequence = sequences.get(i);
      HiddenStateSlots states = sequence.frontier().finals();
      Tokens tokens = sequence.tokens();
      int start = sequence.frontier().draftStart();
      int[] pages = sequence.pageTable().pages();
      rows.begin(
          Arrays.copyOfRange(pages, start / ModelRunner.PAGE, pages.length),
          sequence.job().request().adapter());
      for (int row = first ? 0 : states.count() - 1; row < states.count(); row++) {
        int position = first ? states.first() + row + 1 : tokens.size() - 1;
        add(states.slot(row), position - start, tokens.get(position));
      }
      last[i] = rows.rows() - 1;
    }
  }

  private void add(int slot, int position, int id) {
    if (ids.length == rows.rows()) {
      ids = Arrays.copyOf(ids, 2 * ids.length);
    }
    ids[rows.rows()] = id;
    rows.add(slot, position);
  }

  /** Tells a sequence what the head predicts; whether it asks for more. */
  private boolean deliver(Sequence sequence, HeadOutput output, int row) {
    int before = sequence.tokens().size();
    try {
      Prediction prediction =
          new Prediction(output, row, sequence.tokens().first(before), List.of());
      sequence
          .strategy()
          .onPredictions(
              sequence,
              List.of(
                  prediction.isOfShortList()
                      ? prediction.withRecentIds(sequence.strategy().favored(sequence, before))
                      : prediction));
    } catch (RuntimeException e) {
      sequence.output().fail(e);
    }
    return sequence.tokens().size() > before && sequence.asks(head);
  }
}
