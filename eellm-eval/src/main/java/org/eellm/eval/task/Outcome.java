package org.eellm.eval.task;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import java.util.List;
import java.util.SequencedMap;
import org.eellm.config.HeadId;
import org.eellm.eval.task.TaskSpec.OutputType;

/** The model's answer to an item: a line of {@code items/TASK.jsonl}. */
@JsonIgnoreProperties(ignoreUnknown = true) // earlier versions wrote all kinds' fields in each line
public sealed interface Outcome {
  /** The item's index. */
  int item();

  /** The group the item belongs to; empty if there are none. */
  String subtask();

  /** Whether its beginning was cut off to fit the context. */
  boolean truncated();

  /** The class of outcomes of tasks of a type. */
  static Class<? extends Outcome> of(OutputType type) {
    return switch (type) {
      case LOGLIKELIHOOD -> Answer.class;
      case MULTIPLE_CHOICE -> Choice.class;
      case LOGLIKELIHOOD_ROLLING -> Text.class;
      case GENERATE_UNTIL -> Written.class;
    };
  }

  /** An outcome whose answers heads have scored. */
  sealed interface Scored extends Outcome {
    /** By head, a score for each answer. */
    SequencedMap<HeadId, List<Score>> heads();
  }

  /** How probable an answer is. */
  record Answer(
      int item, String subtask, boolean truncated, SequencedMap<HeadId, List<Score>> heads)
      implements Scored {}

  /**
   * How probable each of several answers is.
   *
   * @param right place of the right one
   * @param characters of each
   */
  record Choice(
      int item,
      String subtask,
      boolean truncated,
      SequencedMap<HeadId, List<Score>> heads,
      int right,
      List<Integer> characters)
      implements Scored {}

  /**
   * How probable a whole text is.
   *
   * @param words divided at white space
   * @param bytes in UTF-8
   */
  record Text(
      int item,
      String subtask,
      boolean truncated,
      SequencedMap<HeadId, List<Score>> heads,
      int words,
      int bytes)
      implements Scored {}

  /**
   * An answer that was written.
   *
   * @param references what should have been
   * @param tokens of the text
   * @param meanLayer at which these left the model
   */
  record Written(
      int item,
      String subtask,
      boolean truncated,
      String text,
      List<String> references,
      int tokens,
      double meanLayer)
      implements Outcome {}

  /**
   * A head's score of an answer.
   *
   * @param logLikelihood natural logarithm of its probability
   * @param tokens it has
   * @param greedy whether each of them is the head's most probable one
   */
  record Score(double logLikelihood, int tokens, boolean greedy) {}
}
