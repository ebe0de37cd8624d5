package org.eellm.eval.task;

import java.util.List;

/**
 * An item of a task, asked of the model once.
 *
 * @param index among the task's items, from 0
 * @param subtask the group it belongs to; empty if there are none
 */
public record Item(int index, String subtask, Question question) {

  /** The question itself, by its kind. */
  public sealed interface Question {
    /** How probable a whole text is. */
    record LoglikelihoodRolling(String text) implements Question {}

    /** How probable an answer is. */
    record Loglikelihood(Pair pair) implements Question {}

    /**
     * Which of several is the most probable.
     *
     * @param right its place among the pairs
     * @param choices what the answers' length is taken of
     */
    record MultipleChoice(List<Pair> pairs, List<String> choices, int right) implements Question {}

    /**
     * To write an answer.
     *
     * @param references answers that are right
     */
    record GenerateUntil(String prompt, List<String> references) implements Question {}
  }

  /** A prompt, and an answer that might follow. */
  public record Pair(String context, String continuation) {}
}
