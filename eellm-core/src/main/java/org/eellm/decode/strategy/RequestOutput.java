package org.eellm.decode.strategy;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.decode.request.Draft;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.request.Result.Usage;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener.Reaction;

/** The tokens that a request has got so far, and how it ended. */
public final class RequestOutput {
  private final Job job;
  private final int reused;
  private final List<GeneratedToken> tokens = new ArrayList<>();
  private final long start = System.nanoTime();
  private long firstToken = start;
  private long lastToken = start;
  private long listenerNanos;
  private int drafted;
  private int accepted;
  private Optional<FinishReason> finish = Optional.empty();
  private Optional<RuntimeException> failure = Optional.empty();

  /**
   * @param reused positions of the prompt whose keys and values were there already
   */
  RequestOutput(Job job, int reused) {
    this.job = job;
    this.reused = reused;
  }

  public int count() {
    return tokens.size();
  }

  /** Counts tokens that were drafted, and tells the listener. */
  void add(Draft draft) {
    drafted += draft.ids().size();
    job.listener().onDraft(draft);
  }

  /** Emits a generated token; it may end the text. */
  void add(GeneratedToken token) {
    accepted += token.drafted() ? 1 : 0;
    Reaction reaction = emit(token);
    if (job.ends(token.id())) {
      finish(FinishReason.END_TOKEN);
    } else if (reaction == Reaction.STOP) {
      finish(FinishReason.STOPPED);
    } else if (tokens.size() == job.request().maxTokens()) {
      finish(FinishReason.LENGTH);
    }
  }

  /** Emits a token; whether the text is to go on. */
  Reaction emit(GeneratedToken token) {
    lastToken = System.nanoTime();
    if (tokens.isEmpty()) {
      firstToken = lastToken;
    }
    tokens.add(token);
    Reaction reaction = job.listener().onToken(token);
    listenerNanos += System.nanoTime() - lastToken;
    return reaction;
  }

  public long listenerNanos() {
    return listenerNanos;
  }

  public void finish(FinishReason reason) {
    finish = Optional.of(reason);
  }

  public void fail(RuntimeException cause) {
    failure = Optional.of(cause);
  }

  public Optional<RuntimeException> failure() {
    return failure;
  }

  /** Whether no further token comes. */
  public boolean finished() {
    return finish.isPresent() || failure.isPresent();
  }

  public void report() {
    failure.ifPresentOrElse(job.listener()::onFailure, () -> job.listener().onEnd(result()));
  }

  private Result result() {
    return new Result(
        tokens,
        finish.orElseThrow(),
        new Usage(job.request().prompt().size(), reused, drafted, accepted),
        (start - job.submitted()) / 1e9,
        (firstToken - start) / 1e9,
        (lastToken - start) / 1e9);
  }
}
