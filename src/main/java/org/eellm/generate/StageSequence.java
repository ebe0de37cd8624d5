package org.eellm.generate;

import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.eellm.generate.RowsMessage.PartMessage;

/**
 * A sequence as a later stage of a pipeline has it: its tokens come with its rows, and what leaves
 * here is told to the first stage.
 */
final class StageSequence extends PipelineSequence {
  private final Consumer<AnswerMessage> answer;
  private int received; // rows that have come
  private int answered; // position of the last token that left here
  private int answeredId;

  /**
   * @param number of the request
   * @param answer tells the first stage of a token
   */
  StageSequence(
      int number, Job job, SequenceCache cache, ExitPolicy policy, Consumer<AnswerMessage> answer) {
    super(number, job, cache, policy);
    this.answer = answer;
  }

  /**
   * Starts a step with rows that come from the stage below.
   *
   * @param earlier what exits of stages below said of the next token
   * @return nothing if the rows follow a guess that is known to be wrong
   */
  Optional<Span> arrive(PartMessage part, List<Prediction> earlier) {
    if (part.attempt() > attempt()) {
      startAttempt(part.attempt());
      takeBack(part.first());
    }
    if (part.first() != received || contradicts(part)) {
      return Optional.empty();
    }
    received += part.ids().size();
    part.ids().stream().skip(tokens().size() - part.first()).forEach(tokens()::append);
    begin(part.asks(), earlier);
    return Optional.of(new Span(this, part.first(), part.ids().size()));
  }

  /** Forgets the rows from {@code first} on. */
  private void takeBack(int first) {
    received = Math.min(received, first);
    tokens().truncate(Math.max(tokens().promptSize(), Math.min(tokens().size(), first)));
    rollBack(received);
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
  void leave(Prediction said) {
    GeneratedToken token = token(said, request().sampler().next(said), false);
    answered = tokens().size();
    answeredId = token.id();
    answer.accept(new AnswerMessage(number(), attempt(), answered, token));
  }
}
