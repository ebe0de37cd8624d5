package org.eellm.config;

import static org.eellm.config.ConfigException.require;
import static org.eellm.config.ConfigException.requireNotNegative;

import org.eellm.config.setting.MayChangeOnResume;

/**
 * When checkpoints are written.
 *
 * @param interval steps between checkpoints; 0: by {@code minutes}
 * @param minutes most minutes between checkpoints; 0: no limit
 * @param keep newest checkpoints that stay; 0: all
 * @param asynchronous training goes on while a copy of the state is written
 */
public record CheckpointConfig(
    @MayChangeOnResume int interval,
    @MayChangeOnResume double minutes,
    @MayChangeOnResume int keep,
    @MayChangeOnResume boolean asynchronous) {
  public CheckpointConfig {
    requireNotNegative(interval, "checkpoint.interval", "0 leaves it to checkpoint.minutes");
    require(
        minutes >= 0 && Double.isFinite(minutes),
        "checkpoint.minutes",
        minutes + " is not a number of 0 or more; 0 means only by checkpoint.interval");
    requireNotNegative(keep, "checkpoint.keep", "0 keeps all");
  }
}
