package org.eellm.decode;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.eellm.decode.cache.Frontier;
import org.eellm.decode.cache.HiddenStateSlots;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.speculate.OnlineCostModel;
import org.eellm.decode.strategy.DecodingStrategy;
import org.eellm.decode.strategy.Sequence;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Head;
import org.jspecify.annotations.Nullable;

/**
 * Takes the next rows of many sequences through the model, all in one block: early exits with exact
 * keys and values.
 *
 * <p>The taps of the heads in use cut the trunk into segments. A block of rows goes through a
 * segment and meets the heads that tap the stream there. A sequence whose token leaves at one of
 * them drops out of the block, and its rows wait at that tap. A sequence that goes on takes along
 * what waits there, in front of its rows. So a position passes every segment once, with all before
 * it, and a token that needs the upper layers finds their keys and values complete.
 *
 * <p>What a token is does not depend on what waits where: neither on the bound on waiting rows nor
 * on the other sequences of the batch. What a sequence's policy, sampler or listener throws is that
 * sequence's failure.
 *
 * <p>Its lists and blocks are made once and filled anew, for a step is short.
 */
public final class DecodeStep {
  private final ModelRunner runner;
  private final int top; // branches of the trunk
  private final Head[] heads; // in order of depth
  private final int maxPending;
  private final ForwardBatch block = new ForwardBatch();
  private final List<Sequence> inFlight = new ArrayList<>();
  private final List<Sequence> evaluated = new ArrayList<>(); // by that head
  private final List<Sequence> propagating = new ArrayList<>();
  private final List<Prediction> predictions = new ArrayList<>();
  private int[] ids = new int[64];
  private int[] rowsToPredict = new int[64]; // of the block, by the head being evaluated
  private int rowsToPredictCount;
  private final DecodeTally tally;
  private final OnlineCostModel costs;
  private long begun; // when the step began
  private int below; // branches that those in flight have passed
  private int tap; // where the heads are being asked
  private int questions; // that have been put there: by head, for drafts and for tokens
  private long asked; // when the last one was put
  private boolean askedForDrafts; // by the last one
  private @Nullable HeadOutput answer; // of a head that is to be waited for

  /**
   * @param maxPending a sequence with as many rows waiting at a tap goes on, though its token has
   *     left
   */
  public DecodeStep(ModelRunner runner, int maxPending) {
    this(
        runner,
        maxPending,
        new DecodeTally(),
        // Clocks tell of other steps, too, where several are under way.
        new OnlineCostModel(runner.model(), runner.stages() == 1));
  }

  private DecodeStep(ModelRunner runner, int maxPending, DecodeTally tally, OnlineCostModel costs) {
    this.runner = runner;
    this.maxPending = maxPending;
    this.tally = tally;
    this.costs = costs;
    top = runner.model().allHeads().getLast().tap();
    heads = runner.heads().toArray(Head[]::new);
  }

  /** Another one, for a step that is under way at the same time. */
  DecodeStep another() {
    return new DecodeStep(runner, maxPending, tally, costs);
  }

  /** Tokens and times counted so far. */
  DecodeTally tally() {
    return tally;
  }

  OnlineCostModel costs() {
    return costs;
  }

  /**
   * Embeds the in-flight rows of sequences and takes them as far up as their sequences need.
   *
   * @param sequences at least one
   */
  public void run(List<Sequence> sequences) {
    begin(sequences);
    while (!advance()) {}
  }

  /**
   * Embeds the in-flight rows of sequences, to {@link #advance} with them.
   *
   * @param sequences at least one
   */
  void begin(List<Sequence> sequences) {
    begun = System.nanoTime();
    fill(sequences);
    if (ids.length < block.rows()) {
      ids = new int[2 * block.rows()];
    }
    int row = 0;
    for (int i = 0; i < sequences.size(); i++) {
      Sequence sequence = sequences.get(i);
      HiddenStateSlots rows = sequence.frontier().inFlight();
      for (int position = rows.first(); position < rows.end(); position++) {
        ids[row++] = sequence.tokens().get(position);
      }
    }
    runner.embed(block, ids);
    inFlight.clear();
    inFlight.addAll(sequences);
    below = 0;
    tap = 0;
    answer = null;
  }

  /**
   * Goes on with the step: to its end, or until a head on another rank has been asked. What it says
   * is waited for when this is called again.
   *
   * @return whether the step is done
   */
  boolean advance() {
    boolean done = goOn();
    if (done) {
      costs.addStep(seconds(begun));
    }
    return done;
  }

  /** Whether {@link #advance} would go on at once. */
  boolean isAnswered() {
    return answer == null || answer.isThere();
  }

  void abandon() {
    for (int i = 0; i < inFlight.size(); i++) {
      inFlight.get(i).frontier().leave();
    }
    inFlight.clear();
    answer = null;
  }

  private boolean goOn() {
    if (answer == null) {
      leaveDropped();
    } else {
      take(answer);
      answer = null;
    }
    while (!inFlight.isEmpty() && below < top) {
      if (tap == below && !passNextBranches()) {
        return false;
      }
      while (questions < 2 * heads.length) {
        Head head = heads[questions / 2];
        boolean drafts = questions % 2 == 0; // a gate may then ask for a token of all ids
        questions++;
        if (head.tap() == tap && drafts) {
          draftByUpperLayers(head);
        }
        if (head.tap() == tap && prepare(head, drafts)) {
          HeadOutput output = ask(head, drafts);
          if (runner.isRemote(head)) {
            answer = output;
            waitAt(tap);
            return false;
          }
          take(output);
        }
      }
      if (isHeldUp(tap)) {
        waitAt(tap);
        return false;
      }
      applyTapActions(tap);
      below = tap;
    }
    return true;
  }

  /** Lets rows go of which nothing is wanted any more, since the step began to wait for others. */
  private void leaveDropped() {
    int kept = 0;
    for (int i = 0; i < inFlight.size(); i++) {
      if (inFlight.get(i).isDropped()) {
        inFlight.get(i).frontier().leave();
      } else {
        inFlight.set(kept++, inFlight.get(i));
      }
    }
    while (inFlight.size() > kept) { // a list of the rest would be garbage in every step
      inFlight.removeLast();
    }
  }

  /** Whether a sequence in flight has to wait for rows that precede its own, up to a tap. */
  private boolean isHeldUp(int where) {
    boolean heldUp = false;
    for (int i = 0; i < inFlight.size() && !heldUp; i++) {
      heldUp = inFlight.get(i).isHeldUp(where);
    }
    return heldUp;
  }

  /** Tells the sequences in flight that they wait. */
  private void waitAt(int where) {
    for (int i = 0; i < inFlight.size(); i++) {
      inFlight.get(i).waitAt(where);
    }
  }

  /**
   * Takes the rows in flight to the next tap of one of their sequences.
   *
   * @return false if rows that precede them have to be there first
   */
  private boolean passNextBranches() {
    int next = nextTap(below);
    if (isHeldUp(next - 1)) {
      waitAt(below);
      return false;
    }
    tap = next;
    questions = 0;
    fill(inFlight);
    long start = System.nanoTime();
    runner.run(below, tap, block);
    costs.addBranches(below, tap, block.rows(), seconds(start));
    return true;
  }

  private void fill(List<Sequence> sequences) {
    block.clear();
    for (int i = 0; i < sequences.size(); i++) {
      Sequence sequence = sequences.get(i);
      begin(sequence);
      sequence.frontier().addTo(block, sequence.frontier().inFlight().count());
    }
  }

  /** Begins a sequence's rows in the block. */
  private void begin(Sequence sequence) {
    block.begin(sequence.pageTable().pages(), sequence.job().request().adapter());
  }

  /** Where the sequences in flight next meet a head. */
  private int nextTap(int above) {
    int next = top;
    for (int i = 0; i < inFlight.size(); i++) {
      next = Math.min(next, inFlight.get(i).frontier().nextTap(above));
    }
    return next;
  }

  /**
   * Finds the sequences that need a head.
   *
   * @param drafts those that need drafts of it, or the others
   * @return whether there are any
   */
  private boolean prepare(Head head, boolean drafts) {
    block.clear();
    evaluated.clear();
    rowsToPredictCount = 0;
    for (int i = 0; i < inFlight.size(); i++) {
      Sequence sequence = inFlight.get(i);
      if (sequence.uses(head)
          && !sequence.isOver()
          && sequence.strategy().resumesAt(head) == 0
          && sequence.strategy().draftsAt(sequence, head) == drafts) {
        int count = sequence.strategy().rowsToPredict(sequence, head);
        if (count > 0) {
          addInput(sequence, head, count);
        } else if (head.hasAttention()) {
          sequence.frontier().keepFor(head);
        }
      }
    }
    return !evaluated.isEmpty();
  }

  /**
   * Lets copies of rows that are at a head's tap go on from a higher branch to the last head, for
   * those that draft so. The keys and values that they leave there are written anew when the rows
   * themselves come by.
   */
  private void draftByUpperLayers(Head head) {
    for (int from = nextResumption(head, 0); from > 0; from = nextResumption(head, from)) {
      block.clear();
      evaluated.clear();
      rowsToPredictCount = 0;
      for (int i = 0; i < inFlight.size(); i++) {
        Sequence sequence = inFlight.get(i);
        if (resumption(sequence, head) == from
            && sequence.strategy().rowsToPredict(sequence, head) > 0) {
          evaluated.add(sequence);
          begin(sequence);
          sequence.frontier().addCopiesTo(block);
          addRowToPredict(block.rows() - 1);
        }
      }
      if (!evaluated.isEmpty()) {
        runner.run(from, top, block);
        HeadOutput output =
            runner.draft(heads[heads.length - 1], block, rowsToPredict, rowsToPredictCount);
        for (int i = 0; i < evaluated.size(); i++) {
          deliver(evaluated.get(i), output, i, 1);
        }
        for (int row = 0; row < block.rows(); row++) {
          runner.release(block.slot(row));
        }
      }
    }
  }

  private static int resumption(Sequence sequence, Head head) {
    return sequence.uses(head) && !sequence.isOver() ? sequence.strategy().resumesAt(head) : 0;
  }

  /** The lowest branch above another one from which some sequence drafts; 0 if there is none. */
  private int nextResumption(Head head, int above) {
    int next = 0;
    for (int i = 0; i < inFlight.size(); i++) {
      int from = resumption(inFlight.get(i), head);
      next = from > above && (next == 0 || from < next) ? from : next;
    }
    return next;
  }

  private HeadOutput ask(Head head, boolean drafts) {
    asked = System.nanoTime();
    askedForDrafts = drafts;
    ModelRunner.HeadQuery question =
        ModelRunner.HeadQuery.of(drafts, runner.isRemote(head) && takesBestOnly(head));
    HeadOutput output = runner.ask(head, question, block, rowsToPredict, rowsToPredictCount);
    for (int i = 0; i < evaluated.size() && head.hasAttention(); i++) {
      evaluated.get(i).frontier().seenBy(head);
    }
    return output;
  }

  private boolean takesBestOnly(Head head) {
    for (int i = 0; i < evaluated.size(); i++) {
      if (!evaluated.get(i).takesBestOnly(head)) {
        return false;
      }
    }
    return true;
  }

  /** Delivers what the head predicts that was asked last. */
  private void take(HeadOutput output) {
    output.await();
    int row = 0;
    for (int i = 0; i < evaluated.size(); i++) {
      int count = rowsToPredict(i, row);
      deliver(evaluated.get(i), output, row, count);
      row += count;
    }
    // The time of samplers and policies counts as the head's: each of its drafts takes it again.
    costs.addHead(output.head().index(), askedForDrafts, rowsToPredictCount, seconds(asked));
  }

  private static double seconds(long start) {
    return (System.nanoTime() - start) / 1e9;
  }

  /** Adds to the block what a head is to see of a sequence that needs it. */
  private void addInput(Sequence sequence, Head head, int count) {
    evaluated.add(sequence);
    begin(sequence);
    if (head.hasAttention()) {
      sequence.frontier().addUnseenTo(block, head);
      sequence.frontier().addTo(block, sequence.frontier().inFlight().count());
    } else {
      sequence.frontier().addTo(block, count);
    }
    for (int row = block.rows() - count; row < block.rows(); row++) {
      addRowToPredict(row);
    }
  }

  private void addRowToPredict(int row) {
    if (rowsToPredict.length == rowsToPredictCount) {
      rowsToPredict = Arrays.copyOf(rowsToPredict, 2 * rowsToPredictCount);
    }
    rowsToPredict[rowsToPredictCount++] = row;
  }

  /**
   * How many of the rows to predict are of a range of the block; its first is number {@code from}.
   */
  private int rowsToPredict(int range, int from) {
    int to = from;
    while (to < rowsToPredictCount && rowsToPredict[to] < block.end(range)) {
      to++;
    }
    return to - from;
  }

  /**
   * Delivers to a sequence what a head predicts for its last rows.
   *
   * @param row the first of them in the output
   */
  private void deliver(Sequence sequence, HeadOutput output, int row, int count) {
    if (sequence.isOver()) {
      return;
    }
    tally.begin(sequence.output());
    try {
      predictions.clear();
      DecodingStrategy strategy = sequence.strategy();
      int from = sequence.frontier().inFlight().end() - count + 1;
      for (int i = 0; i < count; i++) {
        Tokens before = sequence.tokens().first(from + i);
        Prediction prediction = new Prediction(output, row + i, before, strategy.earlier(i));
        requireNumbers(prediction);
        predictions.add(
            prediction.isOfShortList()
                ? prediction.withRecentIds(strategy.favored(sequence, from + i))
                : prediction);
      }
      strategy.onPredictions(sequence, predictions);
    } catch (RuntimeException e) {
      sequence.output().fail(e);
    }
    tally.end(sequence.output());
  }

  private static void requireNumbers(Prediction prediction) {
    if (Double.isNaN(prediction.maxProbability())) {
      throw new GenerateException(
          "%s: logits at position %d are not numbers; the model is damaged or its training diverged"
              .formatted(prediction.head().id(), prediction.position()));
    }
  }

  /** Lets each sequence in flight wait at a tap, join what waits there, or drop out. */
  private void applyTapActions(int tap) {
    int kept = 0;
    for (int i = 0; i < inFlight.size(); i++) {
      Sequence sequence = inFlight.get(i);
      if (applyTapAction(sequence, tap)) {
        inFlight.set(kept++, sequence);
      }
    }
    while (inFlight.size() > kept) {
      inFlight.removeLast();
    }
    if (!propagating.isEmpty()) {
      propagate(tap);
    }
  }

  private void propagate(int tap) {
    fill(propagating);
    runner.propagate(tap, top, block);
    for (int i = 0; i < propagating.size(); i++) {
      Sequence sequence = propagating.get(i);
      sequence.frontier().dropPropagated(tap, sequence.job().heads());
    }
    propagating.clear();
  }

  /**
   * Does with a sequence's rows at a tap what its strategy says.
   *
   * @return whether they go on from there; if not, they are no longer in flight
   */
  private boolean applyTapAction(Sequence sequence, int tap) {
    Frontier frontier = sequence.frontier();
    if (tap == top && !sequence.isDropped()) {
      sequence.passedAllLayers();
    }
    if (tap == top || sequence.isOver() || tap == frontier.lastTap()) {
      frontier.leave();
      return false;
    }
    if (!frontier.hasTap(tap)) {
      return true;
    }
    int rows = frontier.pending(tap) + frontier.inFlight().count();
    return switch (sequence.strategy().atTap(sequence, rows, maxPending)) {
      case CONTINUE -> {
        frontier.joinAt(tap);
        yield true;
      }
      case PEND -> {
        frontier.pendAt(tap);
        yield false;
      }
      case RECOMPUTE -> {
        frontier.restart();
        yield false;
      }
      case PROPAGATE -> {
        propagating.add(sequence);
        yield false;
      }
    };
  }
}
