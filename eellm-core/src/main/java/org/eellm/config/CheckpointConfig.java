package org.eellm.config;

import static org.eellm.config.ConfigException.require;

import org.eellm.config.setting.MayChangeOnResume;

/**
 * When checkpoints are written and how many stay.
 *
 * @param interval steps between checkpoints; 0: only at the end
 * @param keep newest checkpoints that stay; 0: all
 * @param asynchronous training goes on while a copy of the state is written
 */
public record CheckpointConfig(
    @MayChangeOnResume int interval,
    @MayChangeOnResume int keep,
    @MayChangeOnResume boolean asynchronous) {
  public CheckpointConfig {
    require(
        interval >= 0, "checkpoint.interval", interval + " is negative; 0 means only at the end");
    require(keep >= 0, "checkpoint.keep", keep + " is negative; 0 keeps all");
  }
}
