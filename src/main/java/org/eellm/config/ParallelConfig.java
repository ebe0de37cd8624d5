package org.eellm.config;

import static org.eellm.config.ConfigException.require;

/**
 * The mesh of ranks.
 *
 * @param tp tensor-parallel size
 * @param dp data-parallel size
 * @param pp pipeline-parallel size
 */
public record ParallelConfig(int tp, int dp, int pp) {
  public ParallelConfig {
    for (int size : new int[] {tp, dp, pp}) {
      require(
          size == 1,
          "parallel",
          "tp "
              + tp
              + ", dp "
              + dp
              + ", pp "
              + pp
              + ": this version runs in one process; use 1 for each");
    }
  }
}
