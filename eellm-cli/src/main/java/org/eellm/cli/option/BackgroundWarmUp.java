package org.eellm.cli.option;

import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.eellm.decode.WarmUp;
import org.slf4j.LoggerFactory;

/** {@link WarmUp} on a thread of its own, from the process's start until a model is loaded. */
public final class BackgroundWarmUp {
  /** Not the server: a tiny model would teach Java's second compiler what no server does. */
  private static final Set<String> COMMANDS = Set.of("chat", "generate");

  /** With these, several processes decode, or perhaps a GPU, or none. */
  private static final List<String> OPTIONS_AGAINST =
      List.of("--nproc", "--tp", "--pp", "--device", "--help", "-h");

  private static volatile boolean goesOn;

  private BackgroundWarmUp() {}

  /** Starts it if a command decodes on this machine's CPU, and there is a core to spare. */
  public static void start(String... args) {
    start(WarmUp::run, args);
  }

  /** The thread, if one was started. */
  static Optional<Thread> start(Consumer<BooleanSupplier> work, String... args) {
    if (args.length == 0
        || !COMMANDS.contains(args[0])
        || Stream.of(args).anyMatch(arg -> OPTIONS_AGAINST.stream().anyMatch(arg::startsWith))
        || Runtime.getRuntime().availableProcessors() == 1) {
      return Optional.empty();
    }
    goesOn = true;
    return Optional.of(
        Thread.ofPlatform()
            .name("eellm-warm-up")
            .daemon()
            // A failure here comes in the command too, which reports it in its own words.
            .uncaughtExceptionHandler(
                (_, failure) ->
                    LoggerFactory.getLogger(BackgroundWarmUp.class).debug("no warm-up", failure))
            .start(() -> work.accept(() -> goesOn)));
  }

  /** Stops it: the cores are the model's from now on. */
  static void stop() {
    goesOn = false;
  }
}
