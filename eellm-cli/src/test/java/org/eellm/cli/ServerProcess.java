package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.eellm.distributed.launch.LocalLauncher;
import org.eellm.kernel.row.RowKernel;

/**
 * {@code eellm serve} in a process of its own, which is ended with this.
 *
 * @param address where it answers
 * @param log what it prints to standard error
 */
public record ServerProcess(Process process, String address, Path log) implements AutoCloseable {
  private static final Pattern SERVING = Pattern.compile("serving \\S+ at (http://\\S+/)");

  /**
   * Starts a server with one thread at any free port, and waits until it answers.
   *
   * @param folder for what it prints
   */
  public static ServerProcess start(Path folder, Path model, String... options)
      throws IOException, InterruptedException {
    Path log = folder.resolve("err");
    Stream<String> words =
        Stream.of("serve", "--model", model.toString(), "--port", "0", "--threads", "1");
    List<String> command =
        LocalLauncher.sameProgram(
            Main.class.getName(), Stream.concat(words, Stream.of(options)).toList(), 1);
    if (RowKernel.isMachineCode()) { // else the second compiler is needed
      command.add(1, "-XX:TieredStopAtLevel=1"); // Ranks inherit it, and are ready sooner.
    }
    Process process =
        new ProcessBuilder(command)
            .redirectOutput(folder.resolve("out").toFile())
            .redirectError(log.toFile())
            .start();
    try {
      return new ServerProcess(process, address(process, log), log);
    } catch (IOException | InterruptedException | AssertionError failure) {
      process.destroyForcibly();
      throw failure;
    }
  }

  private static String address(Process process, Path log)
      throws IOException, InterruptedException {
    Matcher matcher = SERVING.matcher(Files.readString(log));
    while (!matcher.find()) {
      assertThat(process.isAlive()).as(Files.readString(log)).isTrue();
      TimeUnit.MILLISECONDS.sleep(50);
      matcher = SERVING.matcher(Files.readString(log));
    }
    return matcher.group(1);
  }

  /** What it has printed to standard error. */
  public String errors() throws IOException {
    return Files.readString(log);
  }

  @Override
  public void close() throws InterruptedException {
    process.toHandle().destroyForcibly();
    process.waitFor();
  }
}
