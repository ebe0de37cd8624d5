package org.eellm.decode.exit;

/** What a named policy decides by, and so which settings it has. */
public sealed interface PolicyRule permits ThresholdRule, PolicyRule.Other {

  /** A rule without a threshold. */
  enum Other implements PolicyRule {
    /** As many exits in a row as the setting {@code patience} says have the same best token. */
    PATIENCE,
    /** The one exit in use. */
    ONE_EXIT,
    /** No exit. */
    NO_EXIT
  }
}
