package org.eellm.eval.task;

import java.util.List;
import java.util.SequencedMap;
import org.eellm.config.HeadId;

/**
 * What the model answered to an item: a line of {@code items/TASK.jsonl}.
 *
 * @param item its index
 * @param subtask the group it belongs to; empty if there are none
 * @param truncated whether its beginning was cut off to fit the context
 * @param heads by name, a score for each answer
 * @param right place of the right answer; 0 if there is one
 * @param characters of each answer
 * @param words of a whole text
 * @param bytes of a whole text, in UTF-8
 * @param text what was written
 * @param references what should have been
 * @param tokens written
 * @param meanLayer at which these left the model
 */
public record Outcome(
    int item,
    String subtask,
    boolean truncated,
    SequencedMap<HeadId, List<Score>> heads,
    int right,
    List<Integer> characters,
    int words,
    int bytes,
    String text,
    List<String> references,
    int tokens,
    double meanLayer) {

  /**
   * What a head says of an answer.
   *
   * @param logLikelihood natural logarithm of its probability
   * @param tokens it has
   * @param greedy whether each of them is the head's most probable one
   */
  record Score(double logLikelihood, int tokens, boolean greedy) {}
}
