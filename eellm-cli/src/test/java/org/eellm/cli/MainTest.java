package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.NoSuchFileException;
import java.util.concurrent.Callable;
import org.eellm.cli.option.JsonOption;
import org.eellm.config.ConfigException;
import org.eellm.tensor.TensorException;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

final class MainTest {
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @Test
  void run_noCommand_isWrongUse() {
    assertThat(run()).isEqualTo(2);
    assertThat(out.toString()).isEmpty();
    assertThat(err.toString()).isEqualTo("eellm: a command is missing\nTry 'eellm --help'.\n");
  }

  @Test
  void run_unknownCommand_isWrongUseWithASuggestion() {
    assertThat(run("doctr")).isEqualTo(2);
    assertThat(err.toString())
        .startsWith("eellm: Unmatched argument at index 0: 'doctr'\nDid you mean: ")
        .contains("doctor");
  }

  @Test
  void run_unknownOption_isWrongUseOfThatCommand() {
    assertThat(run("doctor", "--jsn")).isEqualTo(2);
    assertThat(err.toString())
        .startsWith("eellm: Unknown option: '--jsn'\nPossible solutions: --json\n")
        .endsWith("Try 'eellm doctor --help'.\n");
  }

  @Test
  void usage_ofAllCommandsUnseen_isThatOfAllCommands() {
    assertThat(RootCommand.commandLine("--help").getUsageMessage())
        .isEqualTo(RootCommand.commandLine().getUsageMessage());
  }

  @Test
  void run_help_goesToStdout() {
    assertThat(run("--help")).isZero();
    assertThat(out.toString()).startsWith("Usage: eellm").contains("doctor").contains("Exit codes");
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void run_version_isMavens() {
    assertThat(run("--version")).isZero();
    assertThat(out.toString()).matches("eellm \\d+\\.\\d+\\.\\d+(-SNAPSHOT)?\n");
  }

  @Test
  void run_everyCommand_hasHelpAndVersion() {
    for (String command : RootCommand.commandLine().getSubcommands().keySet()) {
      assertThat(run(command, "--help")).as(command).isZero();
      assertThat(out.toString()).contains("Usage: eellm " + command);
      assertThat(run(command, "--version")).as(command).isZero();
      assertThat(out.toString()).contains("eellm " + RootCommand.Version.number() + "\n");
      out.getBuffer().setLength(0);
    }
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void run_configException_isWrongUseInOneLine() {
    assertThat(run(failing(new ConfigException("train.steps: 0 is below 1")), "fail")).isEqualTo(2);
    assertThat(err.toString()).isEqualTo("eellm: train.steps: 0 is below 1\n");
  }

  @Test
  void run_settingOfARoom_isNamedAsTheOption() {
    assertThat(run("serve", "--model", "nowhere", "--port", "65536")).isEqualTo(2);
    assertThat(run("serve", "--model", "nowhere", "--read-timeout", "0")).isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo(
            """
            eellm: --port: 65536 is outside 0..65535; use 0 for any that is free
            eellm: --read-timeout: 0 is below 1; use 1 or more
            """);
  }

  @Test
  void run_emptyPath_isNotTheFolderWeAreIn() {
    assertThat(run("inspect", "")).isEqualTo(2);
    assertThat(err.toString()).contains("is empty; give a path");
  }

  @Test
  void run_exceptionOfARoom_isFailureInOneLine() {
    assertThat(run(failing(new TensorException("cuda: not available")), "fail")).isEqualTo(1);
    assertThat(err.toString()).isEqualTo("eellm: cuda: not available\n");
  }

  @Test
  void run_unexpectedException_isFirstLineAndHint() {
    Exception failure = new IllegalStateException("no such operator\nframe #0\nframe #1");

    assertThat(run(failing(failure), "fail")).isEqualTo(1);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: unexpected IllegalStateException: no such operator (--debug shows where)\n");
  }

  @Test
  void run_debug_showsTheStack() {
    assertThat(run(failing(new IllegalStateException("broken")), "--debug", "fail")).isEqualTo(1);
    assertThat(run(failing(new IllegalStateException("broken")), "fail", "--debug")).isEqualTo(1);
    assertThat(err.toString().split("\tat org.eellm.cli.MainTest", -1)).hasSizeGreaterThan(2);
  }

  @Test
  void run_fileProblems_areNamed() {
    run(failing(new NoSuchFileException("corpus.txt")), "fail");
    run(failing(new UncheckedIOException(new AccessDeniedException("out"))), "fail");
    run(failing(new FileNotFoundException("out.png (Is a directory)")), "fail");
    run(failing(new IOException("odd")), "fail");
    assertThat(err.toString())
        .isEqualTo(
            """
            eellm: corpus.txt: no such file or folder
            eellm: out: permission denied
            eellm: out.png (Is a directory)
            eellm: unexpected IOException: odd (--debug shows where)
            """);
  }

  @Test
  void run_error_isReportedToo() {
    CommandLine commandLine = RootCommand.commandLine();
    commandLine.addSubcommand(new Exhausting());

    assertThat(run(commandLine, "exhaust")).isEqualTo(1);
    assertThat(err.toString()).startsWith("eellm: out of memory: Java heap space; give Java more");
  }

  @Test
  void jsonOption_printsSnakeCase() {
    CommandLine commandLine = RootCommand.commandLine();
    commandLine.addSubcommand(new Measuring());

    assertThat(run(commandLine, "measure", "--json")).isZero();
    assertThat(out.toString()).isEqualTo("{\"tokens_per_second\":1.5}\n");
  }

  private static CommandLine failing(Exception failure) {
    return RootCommand.commandLine().addSubcommand(new Failing(failure));
  }

  private int run(String... args) {
    return run(RootCommand.commandLine(), args);
  }

  private int run(CommandLine commandLine, String... args) {
    commandLine.setOut(new PrintWriter(out)).setErr(new PrintWriter(err));
    return Main.run(commandLine, args);
  }

  @Command(name = "fail")
  private record Failing(Exception failure) implements Callable<Integer> {
    @Override
    public Integer call() throws Exception {
      failure.fillInStackTrace();
      throw failure;
    }
  }

  @Command(name = "exhaust")
  private static final class Exhausting implements Callable<Integer> {
    @Override
    public Integer call() {
      throw new OutOfMemoryError("Java heap space");
    }
  }

  private record Measurement(double tokensPerSecond) {}

  @Command(name = "measure")
  private static final class Measuring implements Callable<Integer> {
    @Spec private CommandSpec spec;
    @Mixin private JsonOption json;

    @Override
    public Integer call() {
      if (json.requested()) {
        JsonOption.print(spec.commandLine().getOut(), new Measurement(1.5));
      }
      return 0;
    }
  }
}
