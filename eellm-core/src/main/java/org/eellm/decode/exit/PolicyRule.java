package org.eellm.decode.exit;

import java.util.Set;

/** The rule that a named policy decides by. */
public sealed interface PolicyRule permits ThresholdRule, PolicyRule.Other {

  /** A rule without a threshold. */
  enum Other implements PolicyRule {
    /** As many exits in a row as the setting {@code patience} says have the same best token. */
    PATIENCE("patience", "exits", "max-pending"),
    /** The one exit in use. */
    ONE_EXIT("exits"),
    /** No exit. */
    NO_EXIT;

    private final Set<String> settings;

    Other(String... settings) {
      this.settings = Set.of(settings);
    }

    @Override
    public Set<String> settings() {
      return settings;
    }
  }

  /** The settings that have an effect on it, as in {@code threshold-decay}. */
  Set<String> settings();
}
