package org.eellm.generate;

import java.util.List;
import java.util.function.BiConsumer;

/**
 * A sequence as a later stage of a pipeline has it: its tokens come with its rows, and what leaves
 * here is told to the first stage.
 */
final class StageSequence extends PipelineSequence {
  private final BiConsumer<StageSequence, GeneratedToken> answer;

  /**
   * @param number of the request
   * @param answer tells the first stage of a token
   */
  StageSequence(
      int number,
      Job job,
      SequenceCache cache,
      ExitPolicy policy,
      BiConsumer<StageSequence, GeneratedToken> answer) {
    super(number, job, cache, policy);
    this.answer = answer;
  }

  /**
   * Starts a step with rows that come from the stage below.
   *
   * @param ids theirs
   * @param asks whether a next token is to come out
   * @param earlier what exits of stages below said of it
   */
  Span arrive(int first, List<Integer> ids, boolean asks, List<Prediction> earlier) {
    int known = tokens().size() - first;
    ids.stream().skip(Math.max(0, known)).forEach(tokens()::append);
    begin(asks, earlier);
    return new Span(this, first, ids.size());
  }

  @Override
  void leave(Prediction said) {
    answer.accept(this, token(said, request().sampler().next(said), false));
  }
}
