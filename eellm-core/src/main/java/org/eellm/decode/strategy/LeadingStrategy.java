package org.eellm.decode.strategy;

import java.util.ArrayList;
import java.util.List;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Head;

/**
 * Tokens leave where a policy says, on the first stage of a pipeline or on later ones; all are
 * handed out here.
 *
 * <p>While later stages are at a token, the first one has nothing to do for this sequence but to
 * guess: it goes on with what its own last exit would have said. If the guess holds, the next token
 * is well on its way. If not, what followed is taken back, and another attempt begins; none of it
 * has been handed out. So the guesses change speed, never the text.
 */
public final class LeadingStrategy implements Strategy {
  /** A wrong guess delays the right token by half a step on average, a right one saves one. */
  private static final double WORTH_GUESSING = 1.0 / 3;

  /** What one guess counts for in the share of those that hold. */
  private static final double WEIGHT = 0.1;

  private final ExitQuestion question;
  private final List<Coming> coming = new ArrayList<>(); // from position certain on
  private final int most; // tokens that later stages may be asked for at once
  private int attempt;
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
   * @param promptSize tokens of the prompt
   * @param stages of the pipeline
   */
  public LeadingStrategy(ExitPolicy policy, int promptSize, int stages) {
    question = new ExitQuestion(policy);
    certain = promptSize;
    most = stages;
  }

  /** Where the token in the making leaves. */
  public ExitQuestion question() {
    return question;
  }

  /** How often tokens have been taken back so far. */
  public int attempt() {
    return attempt;
  }

  /** Whether nothing of the text can be taken back. */
  public boolean isCertain() {
    return coming.isEmpty();
  }

  @Override
  public void begin(Sequence sequence) {
    question.begin(sequence.movesNewest());
  }

  @Override
  public int asked(Sequence sequence, Head head) {
    return question.isOpen() ? 1 : 0;
  }

  @Override
  public List<Prediction> earlier() {
    return question.earlier();
  }

  @Override
  public void onPredictions(Sequence sequence, List<Prediction> predictions) {
    Prediction prediction = predictions.getLast();
    if (!question.leaves(sequence, prediction)) {
      return;
    }
    int id = sequence.request().sampler().next(prediction);
    if (isCertain()) {
      sequence.emit(prediction, id, false);
      certain++;
    } else {
      coming.add(new Coming.Left(sequence.token(prediction, id, false)));
      sequence.tokens().append(id);
    }
  }

  @Override
  public Course atTap(Sequence sequence, int rows, int maxPending) {
    return !question.isOpen() && rows < maxPending ? Course.WAIT : Course.GO_ON;
  }

  /** Tells that the token of this step is asked of later stages. */
  public void ask(Sequence sequence) {
    List<Prediction> earlier = question.earlier();
    int guess = earlier.isEmpty() ? -1 : sequence.request().sampler().next(earlier.getLast());
    coming.add(new Coming.Asked(attempt, guess));
  }

  /** Goes on with a guess, if that is worth it; {@link Sequence#waiting} tells. */
  public void guess(Sequence sequence) {
    if (!coming.isEmpty()
        && coming.getLast() instanceof Coming.Asked(int _, int guess)
        && sequence.tokens().size() < certain + coming.size()
        && guess >= 0
        && held > WORTH_GUESSING
        && coming.stream().filter(Coming.Asked.class::isInstance).count() < most) {
      sequence.tokens().append(guess);
    }
  }

  /** How many rows can go in: none behind the last token that the text may have. */
  public int ready(Sequence sequence) {
    Tokens tokens = sequence.tokens();
    int newest = tokens.size() - 1;
    boolean ends =
        newest >= tokens.promptSize()
            && (sequence.job().ends(tokens.get(newest))
                || tokens.size() == tokens.promptSize() + sequence.request().maxTokens());
    return ends ? 0 : sequence.waiting();
  }

  /** Takes the answer of a later stage. */
  public void onAnswer(Sequence sequence, AnswerMessage answer) {
    int index = answer.position() - certain;
    if (index < 0
        || index >= coming.size()
        || !(coming.get(index) instanceof Coming.Asked(int asked, int guess))
        || asked != answer.attempt()) {
      return; // of a beginning that has been taken back
    }
    Tokens tokens = sequence.tokens();
    int id = answer.token().id();
    if (guess >= 0) {
      held += WEIGHT * ((guess == id ? 1 : 0) - held);
    }
    coming.set(index, new Coming.Left(answer.token()));
    boolean wentOn = tokens.size() > answer.position();
    if (!wentOn) {
      tokens.append(id);
    } else if (guess != id) {
      tokens.truncate(answer.position());
      tokens.append(id);
      coming.subList(index + 1, coming.size()).clear();
      attempt++;
      sequence.rollBack();
    }
    while (!sequence.delivery().finished()
        && !coming.isEmpty()
        && coming.getFirst() instanceof Coming.Left(GeneratedToken token)) {
      coming.removeFirst();
      certain++;
      sequence.delivery().add(token);
    }
  }
}
