package org.eellm.decode.strategy;

import java.util.List;
import java.util.function.Consumer;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.stages.RowsMessage.PartMessage;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Head;

/**
 * Tokens leave where a policy says, on a later stage of a pipeline: they come with their rows, and
 * what leaves here is told to the first stage. Rows of a new attempt replace what was there from
 * the first of them on.
 */
public final class StageStrategy implements Strategy {
  private final int number;
  private final ExitQuestion question;
  private final Consumer<AnswerMessage> answers;
  private int attempt;
  private int received; // rows that have come
  private int answered; // position of the last token that left here
  private int answeredId;

  /**
   * @param number of the request
   * @param answers tells the first stage of a token
   */
  public StageStrategy(int number, ExitPolicy policy, Consumer<AnswerMessage> answers) {
    this.number = number;
    question = new ExitQuestion(policy);
    this.answers = answers;
  }

  /** Where the token in the making leaves. */
  public ExitQuestion question() {
    return question;
  }

  /** How often tokens have been taken back so far. */
  public int attempt() {
    return attempt;
  }

  /**
   * Starts a step with rows that come from the stage below.
   *
   * @param earlier what exits of stages below predict of the next token
   * @return whether they take part: rows that follow a guess that is known to be wrong do not
   */
  public boolean arrive(Sequence sequence, PartMessage part, List<Prediction> earlier) {
    if (part.attempt() > attempt) {
      attempt = part.attempt();
      takeBack(sequence, part.first());
    }
    if (part.first() != received || contradicts(part)) {
      return false;
    }
    int count = part.ids().size();
    received += count;
    for (int i = sequence.tokens().size() - part.first(); i < count; i++) {
      sequence.tokens().append(part.ids().get(i));
    }
    sequence.frontier().arrive(part.first(), count);
    question.begin(part.asks(), earlier);
    return true;
  }

  /** Forgets the rows from {@code first} on. */
  private void takeBack(Sequence sequence, int first) {
    received = Math.min(received, first);
    Tokens tokens = sequence.tokens();
    tokens.truncate(Math.max(tokens.promptSize(), Math.min(tokens.size(), first)));
    sequence.frontier().rollBack(received);
    if (first < answered) {
      answered = 0; // of a beginning that has been taken back
    }
  }

  /** Whether there is another token than the one that left here. */
  private boolean contradicts(PartMessage part) {
    int index = answered - part.first();
    return answered > 0
        && index >= 0
        && index < part.ids().size()
        && part.ids().get(index) != answeredId;
  }

  @Override
  public void begin(Sequence sequence) {
    throw new IllegalStateException("rows of a later stage arrive from the stage below");
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
    if (question.leaves(sequence, prediction)) {
      int id = sequence.request().sampler().next(prediction);
      answered = sequence.tokens().size();
      answeredId = id;
      answers.accept(
          new AnswerMessage(number, attempt, answered, sequence.token(prediction, id, false)));
    }
  }

  @Override
  public Course atTap(Sequence sequence, int rows, int maxPending) {
    return !question.isOpen() && rows < maxPending ? Course.WAIT : Course.GO_ON;
  }
}
