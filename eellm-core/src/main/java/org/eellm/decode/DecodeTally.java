package org.eellm.decode;

import org.eellm.decode.strategy.RequestOutput;

/** Counts emitted tokens, and the time that sampling and listeners have taken. */
final class DecodeTally {
  private long tokens;
  private long samplingNanos;
  private long listenerNanos;
  private int tokensBefore; // when the last one began
  private long listenerNanosBefore;
  private long begun;

  /** Begins with what a head predicts for a sequence. */
  void begin(RequestOutput output) {
    tokensBefore = output.count();
    listenerNanosBefore = output.listenerNanos();
    begun = System.nanoTime();
  }

  void end(RequestOutput output) {
    long spent = System.nanoTime() - begun;
    long listening = output.listenerNanos() - listenerNanosBefore;
    samplingNanos += spent - listening;
    listenerNanos += listening;
    tokens += output.count() - tokensBefore;
  }

  long tokens() {
    return tokens;
  }

  /** Nanoseconds of policies, penalties and samplers. */
  long samplingNanos() {
    return samplingNanos;
  }

  long listenerNanos() {
    return listenerNanos;
  }
}
