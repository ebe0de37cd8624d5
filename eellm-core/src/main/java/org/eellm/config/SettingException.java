package org.eellm.config;

import java.util.function.UnaryOperator;

/**
 * A value that cannot be honoured of a setting that is called one thing on the command line and
 * another in a request: the message begins with its plain name, as in {@code draft-length}, until
 * somebody who knows where it was given says what it is called there.
 */
public final class SettingException extends ConfigException {
  private final String setting;
  private final String problem;

  /**
   * @param problem value, allowed range and remedy
   */
  public SettingException(String setting, String problem) {
    super(setting + ": " + problem);
    this.setting = setting;
    this.problem = problem;
  }

  /** The setting's plain name. */
  public String setting() {
    return setting;
  }

  /** The message behind the name. */
  public String problem() {
    return problem;
  }

  /**
   * This refusal in the words of those who gave the setting.
   *
   * @param names what they call it, by its plain name
   */
  public ConfigException named(UnaryOperator<String> names) {
    return new ConfigException(names.apply(setting) + ": " + problem, this);
  }
}
