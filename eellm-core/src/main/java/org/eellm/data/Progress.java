package org.eellm.data;

/** Is told how far long work has come. Called by one thread, often. */
@FunctionalInterface
public interface Progress {
  /** Nobody listens. */
  Progress NONE = (work, done, total) -> {};

  /** A kind of work, with the unit that it is counted in. */
  enum Work {
    /** Counting words to train a tokenizer, in bytes of the corpus. */
    COUNTING_WORDS,
    /** Making tokens of pairs, in pairs. */
    MERGING_PAIRS,
    /** Turning text into tokens, in bytes of the corpus. */
    TOKENIZING
  }

  /**
   * @param done how much of {@code total} is done, in the work's unit
   */
  void report(Work work, long done, long total);

  /** Is told how far one work has come. */
  @FunctionalInterface
  interface Counter {
    void report(long done, long total);
  }

  /** The progress of one work alone. */
  default Counter of(Work work) {
    return (done, total) -> report(work, done, total);
  }
}
