package org.eellm.config;

import static org.eellm.config.ConfigException.requireAtLeast;

import org.eellm.config.setting.MayChangeOnResume;

/**
 * The reports of a run.
 *
 * @param interval steps between console lines; {@code metrics.jsonl} has every step
 * @param tensorboard events for TensorBoard
 */
public record LoggingConfig(
    @MayChangeOnResume int interval, @MayChangeOnResume boolean tensorboard) {
  public LoggingConfig {
    requireAtLeast(1, interval, "logging.interval");
  }
}
