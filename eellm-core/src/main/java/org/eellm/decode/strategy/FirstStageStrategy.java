package org.eellm.decode.strategy;

import java.util.ArrayList;
import java.util.List;
import org.eellm.decode.exit.ExitDecision;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Head;

/**
 * Tokens leave where a policy says, on the first stage of a pipeline or on later ones; all are
 * emitted here.
 *
 * <p>While later stages are at a token, the first one has nothing to do for this sequence but to
 * guess: it goes on with what its own last exit would have said. If the guess holds, the next token
 * is well on its way. If not, what followed is rolled back, and another attempt begins; none of it
 * has been emitted. So the guesses change speed, never the text.
 */
public final class FirstStageStrategy implements DecodingStrategy {
  /** A wrong guess delays the right token by half a step on average, a right one saves one. */
  private static final double MIN_GUESS_HIT_RATE = 1.0 / 3;

  /** What one guess counts for in the share of those that hold. */
  private static final double WEIGHT = 0.1;

  private final ExitDecision exitDecision;
  private final boolean guessesOnly; // exits are asked for nothing else
  private final List<UncommittedToken> uncommitted =
      new ArrayList<>(); // from position committed on
  private final int most; // tokens that later stages may be asked for at once
  private int attempt;
  private int committed; // tokens that will not be rolled back
  private double guessHitRate = 1; // share of guesses that were right

  /** A token that has not been emitted. */
  private sealed interface UncommittedToken {

    /**
     * Later stages are asked for it.
     *
     * @param attempt in which they were
     * @param guess negative where there is none
     */
    record Requested(int attempt, int guess) implements UncommittedToken {}

    /** It has left; but one before it is still to come. */
    record Exited(GeneratedToken token) implements UncommittedToken {}
  }

  /**
   * @param promptSize tokens of the prompt
   * @param stages of the pipeline
   */
  public FirstStageStrategy(ExitPolicy policy, int promptSize, int stages) {
    exitDecision = new ExitDecision(policy);
    guessesOnly = policy instanceof GuessPolicy;
    committed = promptSize;
    most = stages + 1; // one at each, and one that waits for whichever is done first
  }

  /** Where the token being generated leaves. */
  public ExitDecision exitDecision() {
    return exitDecision;
  }

  /** How often tokens have been rolled back so far. */
  public int attempt() {
    return attempt;
  }

  /** Whether nothing of the text can be rolled back. */
  public boolean isCommitted() {
    return uncommitted.isEmpty();
  }

  @Override
  public void beginStep(Sequence sequence) {
    exitDecision.begin(sequence.includesNewest());
  }

  @Override
  public int rowsToPredict(Sequence sequence, Head head) {
    return exitDecision.isOpen() && (!guessesOnly || isGuessing()) ? 1 : 0;
  }

  @Override
  public List<Prediction> earlier() {
    return exitDecision.earlier();
  }

  @Override
  public void onPredictions(Sequence sequence, List<Prediction> predictions) {
    Prediction prediction = predictions.getLast();
    if (!exitDecision.decide(prediction, sequence.isLast(prediction.head()))) {
      return;
    }
    int id = sequence.request().sampler().next(prediction);
    if (isCommitted()) {
      sequence.emit(prediction, id, false);
      committed++;
    } else {
      uncommitted.add(new UncommittedToken.Exited(sequence.token(prediction, id, false)));
      sequence.tokens().append(id);
    }
  }

  @Override
  public TapAction atTap(Sequence sequence, int rows, int maxPending) {
    return !exitDecision.isOpen() && rows < maxPending ? TapAction.PEND : TapAction.CONTINUE;
  }

  /** Tells that the token of this step is asked of later stages. */
  public void ask(Sequence sequence) {
    List<Prediction> earlier = exitDecision.earlier();
    int guess = earlier.isEmpty() ? -1 : sequence.request().sampler().next(earlier.getLast());
    uncommitted.add(new UncommittedToken.Requested(attempt, guess));
  }

  private boolean isGuessing() {
    return guessHitRate > MIN_GUESS_HIT_RATE;
  }

  /** Goes on with a guess, if that is worth it; {@link Sequence#uncomputed} tells. */
  public void guess(Sequence sequence) {
    if (!uncommitted.isEmpty()
        && uncommitted.getLast() instanceof UncommittedToken.Requested(int _, int guess)
        && sequence.tokens().size() < committed + uncommitted.size()
        && guess >= 0
        && isGuessing()
        && uncommitted.stream().filter(UncommittedToken.Requested.class::isInstance).count()
            < most) {
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
    return ends ? 0 : sequence.uncomputed();
  }

  /** Takes the answer of a later stage. */
  public void onRemoteToken(Sequence sequence, TokenMessage answer) {
    int index = answer.position() - committed;
    if (index < 0
        || index >= uncommitted.size()
        || !(uncommitted.get(index) instanceof UncommittedToken.Requested(int asked, int guess))
        || asked != answer.attempt()) {
      return; // of a beginning that has been rolled back
    }
    Tokens tokens = sequence.tokens();
    int id = answer.token().id();
    if (guess >= 0) {
      guessHitRate += WEIGHT * ((guess == id ? 1 : 0) - guessHitRate);
    }
    uncommitted.set(index, new UncommittedToken.Exited(answer.token()));
    boolean wentOn = tokens.size() > answer.position();
    if (!wentOn) {
      tokens.append(id);
    } else if (guess != id) {
      tokens.truncate(answer.position());
      tokens.append(id);
      uncommitted.subList(index + 1, uncommitted.size()).clear();
      attempt++;
      sequence.rollBack();
    }
    while (!sequence.output().finished()
        && !uncommitted.isEmpty()
        && uncommitted.getFirst() instanceof UncommittedToken.Exited(GeneratedToken token)) {
      uncommitted.removeFirst();
      committed++;
      sequence.output().add(token);
    }
  }
}
