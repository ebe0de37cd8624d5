package org.eellm.generate;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import org.eellm.generate.Block.Part;
import org.eellm.generate.Result.FinishReason;
import org.eellm.generate.Result.Usage;
import org.eellm.generate.TokenListener.Reaction;
import org.eellm.model.Head;

/**
 * A text in the making: its tokens, its keys and values, and its hidden states that wait. How it
 * decides where tokens leave is the subclasses'.
 *
 * <p>Positions complete the model from below. At each tap the positions that reached it are a
 * prefix of those that reached the one below; between the two lie the rows that are pending there.
 */
abstract sealed class Sequence implements AutoCloseable
    permits BeamSequence, ExitingSequence, ScoringSequence, SpeculativeSequence {
  private final Job job;
  private final Tokens tokens;
  private final SequenceCache cache;
  private final int reused;
  private final Map<Integer, PendingRows> pending = new HashMap<>(); // by tap
  private final Map<String, PendingRows> unseen = new HashMap<>(); // by name of the head
  private final Map<String, Integer> seen = new HashMap<>(); // by name of the head
  private final SortedSet<Integer> taps = new TreeSet<>();
  private final List<GeneratedToken> generated = new ArrayList<>();
  private final long start = System.nanoTime();
  private long firstToken = start;
  private long lastToken = start;
  private int embedded;
  private int complete;
  private int knownPages;
  private int drafted;
  private int confirmed;
  private Optional<FinishReason> finish = Optional.empty();
  private Optional<RuntimeException> failure = Optional.empty();

  /**
   * @param cache with room for all positions; closed with this
   * @param reused positions whose keys and values are there already: fewer than the prompt has
   */
  Sequence(Job job, SequenceCache cache, int reused) {
    this.job = job;
    this.cache = cache;
    this.reused = reused;
    embedded = reused;
    complete = reused;
    knownPages = reused / PagePool.PAGE;
    Request request = job.request();
    tokens = new Tokens(request.prompt(), request.prompt().size() + request.maxTokens());
    for (Head head : job.heads()) {
      taps.add(head.tap());
      if (head.hasAttention()) {
        seen.put(head.name(), reused);
      }
    }
  }

  /** A sequence that decodes as its request says. */
  static Sequence of(Job job, SequenceCache cache, int reused) {
    return switch (job.request().decoding()) {
      case Decoding.EarlyExit exiting -> new ExitingSequence(job, cache, reused, exiting.policy());
      case Decoding.Recompute anew -> new RecomputingSequence(job, cache, reused, anew.policy());
      case Decoding.Speculative draft ->
          new SpeculativeSequence(job, cache, reused, draft.length());
      case Decoding.Score score -> new ScoringSequence(job, cache, reused, score);
    };
  }

  Job job() {
    return job;
  }

  Request request() {
    return job.request();
  }

  Tokens tokens() {
    return tokens;
  }

  SequenceCache cache() {
    return cache;
  }

  /** Number of trunk branches below each of its heads, ascending. */
  SortedSet<Integer> taps() {
    return taps;
  }

  /** The rows that wait at a tap of its own. */
  PendingRows pending(int tap) {
    return pending.computeIfAbsent(tap, absent -> new PendingRows());
  }

  /** The rows at the tap of a head with attention that this head has not seen. */
  PendingRows unseen(Head head) {
    return unseen.computeIfAbsent(head.name(), absent -> new PendingRows());
  }

  boolean uses(Head head) {
    return job.heads().contains(head);
  }

  /** Whether no further head is to be asked for this head's token. */
  boolean isLast(Head head) {
    return head.equals(job.heads().getLast());
  }

  /** How many of its positions are next to go in. */
  int waiting() {
    return tokens.size() - embedded;
  }

  /** Whether prompt is left to go in beside the last token, which a step may do in parts. */
  boolean inPrompt() {
    return embedded < request().prompt().size();
  }

  /**
   * Starts a step: the next rows to be embedded.
   *
   * @param count at most {@link #waiting}
   */
  Span next(int count) {
    Span span = new Span(this, embedded, count);
    embedded += count;
    begin(span);
    return span;
  }

  /** Starts a step, in which these rows go in. */
  abstract void begin(Span rows);

  /** Whether the newest token is among the rows that go in, so that a next one may come out. */
  boolean hasNewest(Span rows) {
    return rows.end() == tokens.size();
  }

  /** Of how many of the last rows this head is to speak: none, where it is not asked. */
  abstract int rowsFor(Head head);

  /** What was said of the token in the making so far, shallowest head first. */
  List<Prediction> said() {
    return List.of();
  }

  /**
   * Hears a head.
   *
   * @param said of as many of the last rows as were asked for, in order of positions
   */
  abstract void hear(List<Prediction> said);

  /**
   * Whether rows stop at a tap, with nobody to ask for what is above.
   *
   * @param rows how many would wait there then
   */
  abstract boolean stop(int rows, int maxPending);

  /**
   * Takes its rows at a tap of its own that is not the last: what goes on from there, which is they
   * behind all that waits, or nothing.
   */
  Optional<Part> goOn(int tap, Part part, int maxPending) {
    PendingRows waiting = pending(tap);
    if (stop(waiting.count() + part.span().count(), maxPending)) {
      waiting.add(part);
      return Optional.empty();
    }
    return Optional.of(part.behind(waiting));
  }

  /** Positions that have been embedded and do not wait below {@code tap}: what has reached it. */
  int reached(int tap) {
    return embedded - taps.headSet(tap).stream().mapToInt(below -> pending(below).count()).sum();
  }

  /** Lets what has not passed all layers go in again from layer 1. */
  void startAnew() {
    embedded = complete;
  }

  /** Forgets hidden states, keys and values of positions whose tokens have been taken back. */
  void rollBack() {
    rollBack(tokens.size() - 1); // the newest token has yet to go in
  }

  /** Forgets hidden states, keys and values of position {@code end} and beyond. */
  void rollBack(int end) {
    embedded = Math.min(embedded, end);
    complete = Math.min(complete, end);
    pending.values().forEach(rows -> rows.cut(end));
    seen.replaceAll((head, count) -> Math.min(count, end));
    unseen.values().forEach(rows -> rows.cut(end));
  }

  /** Tells that positions below {@code end} have keys and values at all layers of the trunk. */
  void completed(int end) {
    complete = Math.min(end, tokens.size() - 1);
  }

  /** Tells that a head with attention has seen the positions below {@code end}. */
  void seen(Head head, int end) {
    seen.put(head.name(), end);
  }

  /** Positions with keys and values at all layers, and at all heads with attention in use. */
  int complete() {
    return seen.values().stream().reduce(complete, Math::min);
  }

  /** Whether further whole pages have become complete since it was asked last. */
  boolean hasNewPages() {
    int pages = complete() / PagePool.PAGE;
    boolean more = pages > knownPages;
    knownPages = pages;
    return more;
  }

  /** Names of the heads with attention in use. */
  Set<String> headsWithAttention() {
    return Set.copyOf(seen.keySet());
  }

  /** Tokens handed out. */
  int generated() {
    return generated.size();
  }

  /** Counts tokens that an exit has drafted. */
  void countDrafted(int count) {
    drafted += count;
  }

  /**
   * Hands a token out, and adds it.
   *
   * @param isDraft whether an exit drafted it
   */
  void emit(Prediction said, int id, boolean isDraft) {
    emit(token(said, id, isDraft));
  }

  /** Hands a token out, and adds it. */
  void emit(GeneratedToken token) {
    tokens.append(token.id());
    deliver(token);
  }

  /** Hands a token out that has been added before. */
  void deliver(GeneratedToken token) {
    confirmed += token.drafted() ? 1 : 0;
    Reaction reaction = handOut(token);
    if (request().endTokens().contains(token.id())) {
      finish(FinishReason.END_TOKEN);
    } else if (reaction == Reaction.STOP) {
      finish(FinishReason.STOPPED);
    } else if (generated.size() == request().maxTokens()) {
      finish(FinishReason.LENGTH);
    }
  }

  /** Hands out a token, which is among the text's; whether the text is to go on. */
  Reaction handOut(GeneratedToken token) {
    lastToken = System.nanoTime();
    if (generated.isEmpty()) {
      firstToken = lastToken;
    }
    generated.add(token);
    return job.listener().onToken(token);
  }

  /** An id, and what a head says of it. */
  GeneratedToken token(Prediction said, int id, boolean isDraft) {
    return new GeneratedToken(
        id,
        said.head().name(),
        said.head().layer(),
        said.maxProbability(),
        said.logProbability(id),
        isDraft,
        said.top(request().alternatives()));
  }

  void finish(FinishReason reason) {
    finish = Optional.of(reason);
  }

  void fail(RuntimeException cause) {
    failure = Optional.of(cause);
  }

  /** What it failed by. */
  Optional<RuntimeException> failure() {
    return failure;
  }

  /** Whether no further token comes. */
  boolean finished() {
    return finish.isPresent() || failure.isPresent();
  }

  /** Tells its listener how it ended. */
  void report() {
    failure.ifPresentOrElse(job.listener()::onFailure, () -> job.listener().onEnd(result()));
  }

  private Result result() {
    return new Result(
        generated,
        finish.orElseThrow(),
        new Usage(request().prompt().size(), reused, drafted, confirmed),
        (start - job.submitted()) / 1e9,
        (firstToken - start) / 1e9,
        (lastToken - start) / 1e9);
  }

  @Override
  public void close() {
    cache.close();
    pending.values().forEach(PendingRows::close);
    unseen.values().forEach(PendingRows::close);
  }
}
