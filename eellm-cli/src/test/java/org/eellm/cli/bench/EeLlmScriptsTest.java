package org.eellm.cli.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.eellm.cli.RepositoryFiles;
import org.eellm.cli.RootCommand;
import org.eellm.config.ConfigFile;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * bench/ee-llm/*.sh with a program in place of eellm that notes what it is asked for: every command
 * is one that eellm understands, every configuration one that it takes, and what was begun is
 * resumed.
 */
@Timeout(60)
final class EeLlmScriptsTest {
  @TempDir private Path folder;

  @BeforeEach
  void writeProgram() throws IOException {
    Path program = folder.resolve("eellm");
    Files.writeString(
        program,
        """
        #!/bin/sh
        for argument; do echo "$argument"; done >> "$NOTES"
        echo >> "$NOTES"
        output=
        for argument; do
          [ "$output" != next ] || output=$argument
          [ "$argument" != --output ] || output=next
        done
        case $1 in
          train | tune) mkdir -p "$output" && : > "$output/config.yaml" ;;
          prepare) : > "$output.idx" ;;
        esac
        """);
    assertThat(program.toFile().setExecutable(true)).isTrue();
    for (String tool : List.of("mvn", "node")) { // which fetch and write data
      Path nothing = Files.writeString(folder.resolve(tool), "#!/bin/sh\n");
      assertThat(nothing.toFile().setExecutable(true)).isTrue();
    }
  }

  /** The commands that a script gives, each a list of arguments. */
  private List<List<String>> commands(String script, String notes) throws Exception {
    Path file = folder.resolve(notes);
    Path log = folder.resolve(notes + ".log");
    ProcessBuilder builder =
        new ProcessBuilder(
                RepositoryFiles.root().resolve("bench/ee-llm/" + script).toString(),
                folder.resolve("work").toString())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile());
    builder.environment().merge("PATH", folder.toString(), (path, tools) -> tools + ":" + path);
    builder.environment().put("EELLM", folder.resolve("eellm").toString());
    builder.environment().put("NOTES", file.toString());
    builder.environment().put("NOVELS", folder.toString());
    assertThat(builder.start().waitFor()).as(Files.readString(log)).isZero();
    return Arrays.stream(Files.readString(file).split("\n\n"))
        .map(command -> List.of(command.split("\n")))
        .toList();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "ablations.sh",
        "convergence.sh",
        "designs.sh",
        "fills.sh",
        "inference.sh",
        "methods.sh",
        "novels.sh",
        "recipes.sh",
        "training.sh",
        "tuning.sh"
      })
  void script_asksForWhatEellmUnderstands_andResumes(String script) throws Exception {
    List<List<String>> first = commands(script, "first");
    for (List<String> command : first) {
      String[] arguments = command.toArray(String[]::new);
      RootCommand.commandLine(arguments).parseArgs(arguments);
      option(command, "--config").ifPresent(file -> requireConfiguration(command, file));
    }
    List<List<String>> runs = first.stream().filter(EeLlmScriptsTest::isRun).toList();
    assertThat(runs).noneMatch(command -> command.contains("--resume"));
    assertThat(commands(script, "second").stream().filter(EeLlmScriptsTest::isRun))
        .hasSameSizeAs(runs)
        .allMatch(command -> command.contains("--resume"));
  }

  private static boolean isRun(List<String> command) {
    return command.getFirst().equals("train") || command.getFirst().equals("tune");
  }

  /** Settings of a model that is there already are its own, and are not looked at. */
  private static void requireConfiguration(List<String> command, String file) {
    if (command.stream().noneMatch(argument -> argument.startsWith("--model="))) {
      assertThat(ConfigFile.read(Path.of(file), settings(command)).train().steps()).isPositive();
    }
  }

  private static Optional<String> option(List<String> command, String name) {
    int at = command.indexOf(name);
    return at < 0 ? Optional.empty() : Optional.of(command.get(at + 1));
  }

  private static List<String> settings(List<String> command) {
    List<String> settings = new ArrayList<>();
    for (int i = 0; i < command.size(); i++) {
      if (command.get(i).equals("--set")) {
        settings.add(command.get(i + 1));
      } else if (command.get(i).startsWith("--set=")) {
        settings.add(command.get(i).substring("--set=".length()));
      }
    }
    return settings;
  }
}
