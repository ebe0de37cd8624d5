package org.eellm.decode.strategy;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.eellm.decode.cache.Frontier;
import org.eellm.decode.cache.PageTable;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Request;
import org.eellm.decode.speculate.DraftPlan;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Head;
import org.jspecify.annotations.Nullable;

/**
 * A text being generated: its tokens, its keys and values, its hidden states and what has been
 * handed out. How its tokens come about is its {@link DecodingStrategy}'s to say.
 *
 * <p>While it waits for what a head on another rank says of its next token, another sequence may go
 * on behind a guess at that token, and one behind that ({@link #goOn}). They hold back what they
 * generate. If the guess was right, the one behind it is the text from then on; else it is dropped,
 * and the text goes on here. So guesses change speed, never the text.
 */
public final class Sequence implements AutoCloseable {
  private final Job job;
  private final PageTable pageTable;
  private final DecodingStrategy strategy;
  private final Tokens tokens;
  private final Frontier frontier;
  private final RequestOutput output;
  private final int lastHead;
  private final boolean[] uses; // by index of the head
  private final Guesses guesses; // of this text
  private final boolean feedsDraftHead;
  private final List<GeneratedToken> held = new ArrayList<>(); // behind a guess
  private @Nullable Sequence guessed; // waits for the token that this goes on behind
  private @Nullable Sequence before; // whose rows this one's follow
  private @Nullable Sequence ahead; // goes on behind a guess at this one's next token
  private boolean dropped; // that guess was wrong
  private boolean replaced; // by the one ahead
  private boolean moves; // in a step that is under way
  private int tap; // where that step waits for a head

  /**
   * @param pageTable with room for all positions; closed with this
   * @param reused positions whose keys and values are there already: fewer than the prompt has
   */
  public Sequence(
      Job job, ModelRunner runner, PageTable pageTable, int reused, DecodingStrategy strategy) {
    this.job = job;
    this.pageTable = pageTable;
    this.strategy = strategy;
    Request request = job.request();
    tokens = new Tokens(request.prompt(), request.prompt().size() + request.maxTokens());
    frontier = new Frontier(runner, job.heads(), reused);
    output = new RequestOutput(job, reused);
    lastHead = job.heads().getLast().index();
    uses = new boolean[lastHead + 1];
    job.heads().forEach(head -> uses[head.index()] = true);
    guesses = new Guesses();
    feedsDraftHead = request.decoding().usesDraftHead() && runner.draftLayer().isPresent();
    if (feedsDraftHead) {
      frontier.beginFinals();
    }
  }

  /** One that goes on behind a guess. */
  private Sequence(Sequence guessed, int guess) {
    job = guessed.job;
    pageTable = guessed.pageTable;
    strategy = guessed.strategy.another();
    tokens = guessed.tokens.and(guess);
    frontier = guessed.frontier.ahead();
    output = guessed.output;
    lastHead = guessed.lastHead;
    uses = guessed.uses;
    guesses = guessed.guesses;
    feedsDraftHead = false;
    this.guessed = guessed;
    before = guessed;
  }

  /**
   * Goes on behind a guess at the token that this sequence waits for, if there is one that is worth
   * it.
   */
  public Optional<Sequence> goOn() {
    if (!guesses.pay() || isOver()) {
      return Optional.empty();
    }
    OptionalInt guess = strategy.guess(this);
    if (guess.isPresent()) {
      ahead = new Sequence(this, guess.getAsInt());
    }
    return Optional.ofNullable(ahead);
  }

  /** The last of those that go on behind guesses at each other's tokens, of which this is one. */
  public Sequence newest() {
    Sequence newest = this;
    while (newest.ahead != null) {
      newest = newest.ahead;
    }
    return newest;
  }

  /** Whether guesses at this text's tokens are worth it. */
  public Guesses guesses() {
    return guesses;
  }

  /** Whether no token of this is wanted: the text has ended, or it went on behind a wrong guess. */
  public boolean isOver() {
    return dropped || output.finished();
  }

  public boolean isDropped() {
    return dropped;
  }

  /** Whether it is in a step that is under way. */
  public boolean moves() {
    return moves;
  }

  /** Ends the step that it is in. */
  public void endStep() {
    moves = false;
  }

  public void waitAt(int tap) {
    this.tap = tap;
  }

  /** Whether its rows have to wait for some that precede them, and are not above a tap. */
  public boolean isHeldUp(int tap) {
    while (before != null && before.frontier.inFlight().count() == 0) {
      before = before.before;
    }
    return before != null && before.tap <= tap;
  }

  public Job job() {
    return job;
  }

  Request request() {
    return job.request();
  }

  public PageTable pageTable() {
    return pageTable;
  }

  public DecodingStrategy strategy() {
    return strategy;
  }

  public Tokens tokens() {
    return tokens;
  }

  public Frontier frontier() {
    return frontier;
  }

  /** Positions that the draft head has yet to see before it drafts; {@link DraftPlan#NO_HEAD}. */
  int unseenByDraftHead() {
    return feedsDraftHead ? frontier.finals().count() : DraftPlan.NO_HEAD;
  }

  /** Whether the draft head is to draft one more token before its next step. */
  public boolean asks(Head draftHead) {
    return feedsDraftHead && !isOver() && strategy.asksDraftHead(this, draftHead);
  }

  public RequestOutput output() {
    return output;
  }

  public boolean uses(Head head) {
    return head.index() < uses.length && uses[head.index()];
  }

  /** Whether no further head is to be asked for this head's token. */
  boolean isLast(Head head) {
    return head.index() == lastHead;
  }

  /**
   * Whether nothing of a head's prediction is looked at but the most probable id, its probability
   * and how far the next one is behind: tokens are the best ones, and no policy is asked.
   */
  public boolean takesBestOnly(Head head) {
    return request().sampler().takesBest()
        && request().alternatives() == 0
        && switch (request().decoding()) {
          case DecodingMethod.ByPolicy _ -> isLast(head);
          case DecodingMethod.Speculative _, DecodingMethod.OfSource _ -> true;
          case DecodingMethod.Score _ -> false;
        };
  }

  /** How many of its positions are next to go in: none behind a token that may be the last. */
  public int uncomputed() {
    return guessed != null && mayHaveEnded() ? 0 : tokens.size() - frontier.entered();
  }

  private boolean mayHaveEnded() {
    return job.ends(tokens.get(tokens.size() - 1)) || tokens.size() == tokens.capacity();
  }

  /** Whether prompt is left to go in beside the last token, which a step may do in parts. */
  public boolean inPrompt() {
    return frontier.entered() < tokens.promptSize();
  }

  /**
   * Starts a step: the next rows move.
   *
   * @param count at most {@link #uncomputed}
   */
  public void next(int count) {
    frontier.allocateNext(count);
    moves = true;
    strategy.beginStep(this);
  }

  /** Whether the newest token is among the rows that move, so that a next one may come out. */
  boolean includesNewest() {
    return frontier.inFlight().end() == tokens.size();
  }

  public void passedAllLayers() {
    // The newest token may have come since; and rows may have been rolled back.
    frontier.setComplete(Math.min(frontier.inFlight().end(), tokens.size() - 1));
    if (feedsDraftHead) {
      frontier.leaveToDraftHead();
    }
  }

  /** Takes back the last tokens, whose rows are in flight. */
  void takeBack(int count) {
    tokens.truncate(tokens.size() - count);
    frontier.cut(tokens.size());
  }

  /** Forgets hidden states, keys and values of positions whose tokens have been rolled back. */
  void rollBack() {
    frontier.rollBack(tokens.size() - 1); // the newest token has yet to go in
  }

  /** Emits a token, and adds it. */
  void emit(Prediction prediction, int id, boolean isDraft) {
    GeneratedToken token = token(prediction, id, isDraft);
    boolean guessHolds = ahead != null && ahead.tokens.get(tokens.size()) == id;
    if (ahead != null) {
      guesses.add(guessHolds);
      if (!guessHolds) {
        dropAhead();
      }
    }
    tokens.append(id);
    held.add(token);
    if (ahead != null) {
      heir(ahead).replaceGuessed(this);
    } else if (guessed == null) {
      release();
    }
  }

  private static Sequence heir(Sequence ahead) {
    Sequence heir = ahead;
    while (heir.replaced && heir.ahead != null) {
      heir = heir.ahead;
    }
    return heir;
  }

  private void dropAhead() {
    for (Sequence each = ahead; each != null; each = each.ahead) {
      each.dropped = true;
    }
    ahead = null;
    frontier.rollBack(tokens.size());
  }

  /** Takes the place of the one before, whose token is the one that this goes on behind. */
  private void replaceGuessed(Sequence right) {
    held.addAll(0, right.held);
    right.held.clear();
    right.replaced = true;
    guessed = right.guessed;
    if (guessed == null) {
      release();
    }
  }

  /** Hands out what has been held back. */
  private void release() {
    for (int i = 0; i < held.size() && !output.finished(); i++) {
      output.add(held.get(i));
    }
    held.clear();
  }

  GeneratedToken token(Prediction prediction, int id, boolean isDraft) {
    return new GeneratedToken(
        id,
        prediction.head().id(),
        prediction.head().layer(),
        prediction.maxProbability(),
        prediction.logProbability(id),
        isDraft,
        prediction.top(request().alternatives()));
  }

  @Override
  public void close() {
    pageTable.close();
    frontier.close();
  }
}
