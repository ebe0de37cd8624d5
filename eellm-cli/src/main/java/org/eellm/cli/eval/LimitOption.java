package org.eellm.cli.eval;

import java.util.Optional;
import java.util.OptionalInt;
import org.eellm.config.ConfigException;
import org.eellm.eval.task.TaskData;
import picocli.CommandLine.Option;

/** The option {@code --limit}, as a mixin. */
final class LimitOption {
  @Option(
      names = "--limit",
      paramLabel = "N",
      description =
          "Only the first N items: of each task or subtask, prompts, or methods of sources.")
  private Optional<Integer> limit;

  boolean isPresent() {
    return limit.isPresent();
  }

  void require() {
    ConfigException.requireAtLeast(1, limit.orElse(1), "--limit");
  }

  /** Most items of a subtask; {@link TaskData#ALL} if not given. */
  int itemsOrAll() {
    return limit.orElse(TaskData.ALL);
  }

  /** Most items of a subtask, if given. */
  OptionalInt items() {
    return limit.map(OptionalInt::of).orElse(OptionalInt.empty());
  }
}
