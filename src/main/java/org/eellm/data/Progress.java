package org.eellm.data;

/** Hears how far a long piece of work has come. Called by one thread at a time, often. */
@FunctionalInterface
public interface Progress {
  /** Nobody listens. */
  Progress NONE = (work, done, total) -> {};

  /**
   * @param work what is going on, for people; changes when the next part of the work begins
   * @param done how much is done, from 0 to {@code total}, in any unit
   */
  void report(String work, long done, long total);
}
