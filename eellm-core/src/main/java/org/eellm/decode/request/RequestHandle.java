package org.eellm.decode.request;

/** A request that an engine has taken. */
public interface RequestHandle {

  /**
   * Ends the request before the engine's next step, if it has not ended by then; its listener hears
   * that it was cancelled. From any thread, at any time.
   */
  void cancel();
}
