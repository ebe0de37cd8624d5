package org.eellm.eval;

/** Is told how far long work has come. */
@FunctionalInterface
public interface EvalProgress {
  /** Nobody listens. */
  EvalProgress NONE = (work, done, total) -> {};

  /**
   * @param work what is going on, for people
   * @param done how much of {@code total} is done
   */
  void report(String work, long done, long total);

  /**
   * A part of the work is finished that has a result of its own.
   *
   * @param result in a line, for people, with what is left
   */
  default void finished(String result) {}
}
