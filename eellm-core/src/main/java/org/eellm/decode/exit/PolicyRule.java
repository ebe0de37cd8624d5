package org.eellm.decode.exit;

import java.util.Set;
import java.util.function.IntFunction;

/** The rule that a named policy decides by. */
public sealed interface PolicyRule permits ThresholdRule, PolicyRule.Counted, PolicyRule.Other {

  /**
   * A rule of a whole number from 1 up, which has a setting of its own.
   *
   * @param setting that users give it by
   * @param usual where none is given
   * @param meaning of the number
   * @param policy with a number
   */
  record Counted(String setting, int usual, String meaning, IntFunction<ExitPolicy> policy)
      implements PolicyRule {
    @Override
    public Set<String> settings() {
      return Set.of(setting, "exits", "max-pending");
    }
  }

  /** A rule that decides by no figure. */
  enum Other implements PolicyRule {
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
