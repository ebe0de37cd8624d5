package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;

/**
 * A sequence as the first stage of a pipeline has it, which hands its tokens out.
 *
 * <p>While later stages are at a token, the first one has nothing to do for this sequence but to
 * guess: it goes on with what its own last exit would have said. If the guess holds, the next token
 * is well on its way. If not, what followed is taken back; none of it has been handed out. So the
 * guesses change speed, never the text.
 */
final class LeadingSequence extends PipelineSequence {
  /** A wrong guess delays the right token by half a step on average, a right one saves one. */
  private static final double WORTH_GUESSING = 1.0 / 3;

  /** What one guess counts for in the share of those that hold. */
  private static final double WEIGHT = 0.1;

  private final List<Coming> coming = new ArrayList<>(); // from position certain on
  private final int most; // tokens that later stages may be asked for at once
  private int certain; // tokens that will not be taken back
  private double held = 1; // share of guesses that held

  /** A token that has not been handed out. */
  private sealed interface Coming {

    /**
     * Later stages are asked for it.
     *
     * @param attempt in which they were
     * @param guess negative where there is none
     */
    record Asked(int attempt, int guess) implements Coming {}

    /** It has left; but one before it is still to come. */
    record Left(GeneratedToken token) implements Coming {}
  }

  /**
   * @param number of the request
   * @param stages of the pipeline
   */
  LeadingSequence(int number, Job job, SequenceCache cache, ExitPolicy policy, int stages) {
    super(number, job, cache, policy);
    most = stages;
    certain = tokens().size();
  }

  /** Whether nothing of it can be taken back. */
  boolean isCertain() {
    return coming.isEmpty();
  }

  @Override
  void leave(Prediction answer) {
    if (isCertain()) {
      super.leave(answer);
      certain++;
    } else {
      GeneratedToken token = token(answer, request().sampler().next(answer), false);
      tokens().append(token.id());
      coming.add(new Coming.Left(token));
    }
  }

  /** Tells that the token of this step is asked of later stages. */
  void ask() {
    int guess = said().isEmpty() ? -1 : request().sampler().next(said().getLast());
    coming.add(new Coming.Asked(attempt(), guess));
  }

  /** Goes on with a guess, if that is worth it; {@link #waiting} tells. */
  void guess() {
    if (!coming.isEmpty()
        && coming.getLast() instanceof Coming.Asked(int _, int guess)
        && tokens().size() < certain + coming.size()
        && guess >= 0
        && held > WORTH_GUESSING
        && coming.stream().filter(Coming.Asked.class::isInstance).count() < most) {
      tokens().append(guess);
    }
  }

  /** How many rows can go in: none behind the last token that the text may have. */
  int ready() {
    int newest = tokens().size() - 1;
    boolean ends =
        newest >= request().prompt().size()
            && (request().endTokens().contains(tokens().get(newest))
                || tokens().size() == request().prompt().size() + request().maxTokens());
    return ends ? 0 : waiting();
  }

  /** Hears a later stage. */
  void hear(AnswerMessage answer) {
    int index = answer.position() - certain;
    if (index < 0
        || index >= coming.size()
        || !(coming.get(index) instanceof Coming.Asked(int asked, int guess))
        || asked != answer.attempt()) {
      return; // of a beginning that has been taken back
    }
    int id = answer.token().id();
    if (guess >= 0) {
      held += WEIGHT * ((guess == id ? 1 : 0) - held);
    }
    coming.set(index, new Coming.Left(answer.token()));
    boolean wentOn = tokens().size() > answer.position();
    if (!wentOn) {
      tokens().append(id);
    } else if (guess != id) {
      tokens().truncate(answer.position());
      tokens().append(id);
      coming.subList(index + 1, coming.size()).clear();
      startAttempt(attempt() + 1);
      rollBack();
    }
    while (!finished()
        && !coming.isEmpty()
        && coming.getFirst() instanceof Coming.Left(GeneratedToken token)) {
      coming.removeFirst();
      certain++;
      deliver(token);
    }
  }
}
