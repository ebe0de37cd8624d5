package org.eellm.config;

import org.eellm.EellmException;

/**
 * A setting that cannot be honoured. The one-line message names the key, its value, the allowed
 * range and the remedy.
 */
public sealed class ConfigException extends EellmException permits SettingException {
  public ConfigException(String message) {
    super(message);
  }

  public ConfigException(String message, Throwable cause) {
    super(message, cause);
  }

  /**
   * Throws {@code key: message} unless {@code condition} holds.
   *
   * @param values of the message's placeholders; none: it stays as it is
   */
  public static void require(boolean condition, String key, String message, Object... values) {
    if (!condition) {
      throw new ConfigException(
          key + ": " + (values.length == 0 ? message : message.formatted(values)));
    }
  }

  /** Throws {@code key: value is below least; use least or more} unless it holds. */
  public static void requireAtLeast(int least, Number value, String key) {
    require(value.doubleValue() >= least, key, "%s is below %d; use %2$d or more", value, least);
  }

  /** Throws {@code key: value is negative; remedy} unless it holds. */
  public static void requireNotNegative(Number value, String key, String remedy) {
    require(value.doubleValue() >= 0, key, value + " is negative; " + remedy);
  }

  static void requirePositive(Number value, String key, String remedy) {
    require(value.doubleValue() > 0, key, value + " is not positive; " + remedy);
  }
}
