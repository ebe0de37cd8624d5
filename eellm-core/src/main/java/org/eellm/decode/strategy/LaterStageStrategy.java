package org.eellm.decode.strategy;

import java.util.List;
import java.util.function.Consumer;
import org.eellm.decode.exit.ExitDecision;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.strategy.HiddenStatesMessage.SequenceHiddenStates;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Head;

/**
 * Tokens leave where a policy says, on a later stage of a pipeline: they come with their rows, and
 * what leaves here is told to the first stage. Rows of a new attempt replace what was there from
 * the first of them on.
 */
public final class LaterStageStrategy implements DecodingStrategy {
  private final int requestId;
  private final ExitDecision exitDecision;
  private final Consumer<TokenMessage> onExit;
  private int attempt;
  private int received; // rows that have come
  private int answered; // position of the last token that left here
  private int answeredId;

  /**
   * @param requestId index of the request, the same on all ranks
   * @param onExit tells the first stage of a token
   */
  public LaterStageStrategy(int requestId, ExitPolicy policy, Consumer<TokenMessage> onExit) {
    this.requestId = requestId;
    exitDecision = new ExitDecision(policy);
    this.onExit = onExit;
  }

  /** Where the token being generated leaves. */
  public ExitDecision exitDecision() {
    return exitDecision;
  }

  /** How often tokens have been rolled back so far. */
  public int attempt() {
    return attempt;
  }

  /**
   * Starts a step with rows that come from the stage below.
   *
   * @param earlier what exits of stages below predict of the next token
   * @return whether they take part: rows that follow a guess that is known to be wrong do not
   */
  public boolean arrive(Sequence sequence, SequenceHiddenStates part, List<Prediction> earlier) {
    if (part.attempt() > attempt) {
      attempt = part.attempt();
      rollBack(sequence, part.first());
    }
    if (part.first() != received || contradicts(part)) {
      return false;
    }
    int count = part.ids().size();
    received += count;
    for (int i = sequence.tokens().size() - part.first(); i < count; i++) {
      sequence.tokens().append(part.ids().get(i));
    }
    sequence.frontier().allocate(part.first(), count);
    exitDecision.begin(part.needsToken(), earlier);
    return true;
  }

  /** Forgets the rows from {@code first} on. */
  private void rollBack(Sequence sequence, int first) {
    received = Math.min(received, first);
    Tokens tokens = sequence.tokens();
    tokens.truncate(Math.max(tokens.promptSize(), Math.min(tokens.size(), first)));
    sequence.frontier().rollBack(received);
    if (first < answered) {
      answered = 0; // of a beginning that has been rolled back
    }
  }

  /** Whether there is another token than the one that left here. */
  private boolean contradicts(SequenceHiddenStates part) {
    int index = answered - part.first();
    return answered > 0
        && index >= 0
        && index < part.ids().size()
        && part.ids().get(index) != answeredId;
  }

  @Override
  public void beginStep(Sequence sequence) {
    throw new IllegalStateException("rows of a later stage arrive from the stage below");
  }

  @Override
  public int rowsToPredict(Sequence sequence, Head head) {
    return exitDecision.isOpen() ? 1 : 0;
  }

  @Override
  public List<Prediction> earlier() {
    return exitDecision.earlier();
  }

  @Override
  public void onPredictions(Sequence sequence, List<Prediction> predictions) {
    Prediction prediction = predictions.getLast();
    if (exitDecision.decide(prediction, sequence.isLast(prediction.head()))) {
      int id = sequence.request().sampler().next(prediction);
      answered = sequence.tokens().size();
      answeredId = id;
      onExit.accept(
          new TokenMessage(requestId, attempt, answered, sequence.token(prediction, id, false)));
    }
  }

  @Override
  public TapAction atTap(Sequence sequence, int rows, int maxPending) {
    return !exitDecision.isOpen() && rows < maxPending ? TapAction.PEND : TapAction.CONTINUE;
  }
}
