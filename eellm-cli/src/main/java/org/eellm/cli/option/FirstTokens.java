package org.eellm.cli.option;

import java.util.Optional;
import java.util.Set;
import org.eellm.decode.WarmUp;

/**
 * Has Java ready for the first tokens: from the process's start until the model is loaded, a thread
 * decodes with a tiny one.
 */
public final class FirstTokens {
  /** Not the server, which has Java's second compiler learn from what it serves. */
  private static final Set<String> COMMANDS = Set.of("chat", "generate");

  private static volatile boolean modelIsLoaded;

  private FirstTokens() {}

  /**
   * Begins, if a command gains by it and there is a core to spare.
   *
   * @return the thread
   */
  public static Optional<Thread> prepare(String... args) {
    if (args.length == 0
        || !COMMANDS.contains(args[0])
        || Runtime.getRuntime().availableProcessors() == 1) {
      return Optional.empty();
    }
    return Optional.of(
        Thread.ofPlatform()
            .name("eellm-warm-up")
            .daemon()
            .start(() -> WarmUp.run(() -> !modelIsLoaded)));
  }

  /** Ends it: the cores are the model's from now on. */
  static void modelIsLoaded() {
    modelIsLoaded = true;
  }
}
