package org.eellm.config;

import static org.eellm.config.ConfigException.require;

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
    require(
        interval >= 0,
        "checkpoint.interval",
        interval + " is negative; 0 leaves it to checkpoint.minutes");
    require(
        minutes >= 0 && Double.isFinite(minutes),
        "checkpoint.minutes",
        minutes + " is not a number of 0 or more; 0 means only by checkpoint.interval");
    require(keep >= 0, "checkpoint.keep", keep + " is negative; 0 keeps all");
  }
}
