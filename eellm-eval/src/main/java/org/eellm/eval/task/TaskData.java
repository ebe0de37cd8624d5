package org.eellm.eval.task;

import java.nio.file.Path;

/**
 * Where tasks have their items from.
 *
 * @param folder of the data sets
 * @param limit most items of each subtask
 * @param seed of examples, and of answers that are drawn
 */
public record TaskData(Path folder, int limit, long seed) {
  /** No limit. */
  public static final int ALL = Integer.MAX_VALUE;
}
