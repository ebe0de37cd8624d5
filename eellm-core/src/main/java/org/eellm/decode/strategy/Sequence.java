package org.eellm.decode.strategy;

import org.eellm.decode.cache.Frontier;
import org.eellm.decode.cache.PageTable;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Request;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Head;

/**
 * A text being generated: its tokens, its keys and values, its hidden states and what has been
 * handed out. How its tokens come about is its {@link DecodingStrategy}'s to say.
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
          case DecodingMethod.EarlyExit _, DecodingMethod.Recompute _, DecodingMethod.Propagate _ ->
              isLast(head);
          case DecodingMethod.Speculative _, DecodingMethod.AdaptiveDrafts _ -> true;
          case DecodingMethod.Score _ -> false;
        };
  }

  /** How many of its positions are next to go in. */
  public int uncomputed() {
    return tokens.size() - frontier.entered();
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
    strategy.beginStep(this);
  }

  /** Whether the newest token is among the rows that move, so that a next one may come out. */
  boolean includesNewest() {
    return frontier.inFlight().end() == tokens.size();
  }

  /** Tells that the in-flight rows have passed all layers. */
  public void passedAllLayers() {
    // The newest token may have come since; and rows may have been rolled back.
    frontier.setComplete(Math.min(frontier.inFlight().end(), tokens.size() - 1));
  }

  /** Forgets hidden states, keys and values of positions whose tokens have been rolled back. */
  void rollBack() {
    frontier.rollBack(tokens.size() - 1); // the newest token has yet to go in
  }

  /**
   * Emits a token, and adds it.
   *
   * @param isDraft whether it was a draft
   */
  void emit(Prediction prediction, int id, boolean isDraft) {
    GeneratedToken token = token(prediction, id, isDraft);
    tokens.append(id);
    output.add(token);
  }

  /** An id, and what a head predicts of it. */
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
