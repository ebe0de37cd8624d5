package org.eellm.distributed.rendezvous;

import java.util.List;

/**
 * Keys and values that all ranks see: what heartbeats need of a store. Each call is one request.
 */
interface Board {
  /** Sets a key. */
  void put(String key, String value);

  /** Whether all of these keys are there. */
  boolean has(List<String> keys);

  /** The values of keys that are there. */
  List<String> get(List<String> keys);

  /**
   * Sets a key that has the value {@code expected}.
   *
   * @return the value after that: {@code value}, or what another rank has put there
   */
  String replace(String key, String expected, String value);
}
