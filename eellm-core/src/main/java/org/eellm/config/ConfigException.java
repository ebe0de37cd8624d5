package org.eellm.config;

import org.eellm.EellmException;

/**
 * A setting that cannot be honoured. The one-line message names the key, its value, the allowed
 * range and the remedy.
 */
public sealed class ConfigException extends EellmException permits SettingException {
  private static final long serialVersionUID = 1L;

  public ConfigException(String message) {
    super(message);
  }

  public ConfigException(String message, Throwable cause) {
    super(message, cause);
  }

  /** Throws {@code key: message} unless {@code condition} holds. */
  static void require(boolean condition, String key, String message) {
    if (!condition) {
      throw new ConfigException(key + ": " + message);
    }
  }
}
