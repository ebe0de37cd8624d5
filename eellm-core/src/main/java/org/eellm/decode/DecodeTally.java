package org.eellm.decode;

import org.eellm.decode.strategy.Delivery;

/** What choosing tokens and telling of them has taken so far, and how many there were. */
final class DecodeTally {
  private long tokens;
  private long choosingNanos;
  private long listenerNanos;
  private int handedOut; // when the last one began
  private long heard;
  private long begun;

  /** Begins with what a head predicts for a sequence. */
  void begin(Delivery delivery) {
    handedOut = delivery.count();
    heard = delivery.listenerNanos();
    begun = System.nanoTime();
  }

  /** Ends with it. */
  void end(Delivery delivery) {
    long spent = System.nanoTime() - begun;
    long listening = delivery.listenerNanos() - heard;
    choosingNanos += spent - listening;
    listenerNanos += listening;
    tokens += delivery.count() - handedOut;
  }

  /** Tokens handed out. */
  long tokens() {
    return tokens;
  }

  /** Nanoseconds of policies, penalties and samplers. */
  long choosingNanos() {
    return choosingNanos;
  }

  /** Nanoseconds of listeners. */
  long listenerNanos() {
    return listenerNanos;
  }
}
