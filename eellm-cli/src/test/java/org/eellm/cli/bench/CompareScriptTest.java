package org.eellm.cli.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.eellm.cli.RepositoryFiles;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * bench/compare.sh in a repository of its own, whose {@code eellm} prints the speed of its commit.
 */
@Timeout(60)
final class CompareScriptTest {
  private static final Path SCRIPT = RepositoryFiles.root().resolve("bench/compare.sh");

  @TempDir private Path repository;
  private String err = "";

  @BeforeEach
  void makeRepository() throws Exception {
    assumeThat(run("git", "--version")).as("git").isZero();
    run("git", "init", "--quiet");
    Files.createDirectories(repository.resolve("bench"));
    Files.copy(SCRIPT, repository.resolve("bench/compare.sh"));
    Files.writeString(repository.resolve(".gitignore"), "target/\n");
  }

  private int run(String... command) throws IOException, InterruptedException {
    Path log = repository.resolveSibling(repository.getFileName() + ".err");
    ProcessBuilder builder = new ProcessBuilder(command).directory(repository.toFile());
    builder.environment().put("TURNS", "2");
    Process process = builder.redirectErrorStream(true).redirectOutput(log.toFile()).start();
    int code = process.waitFor();
    err = Files.readString(log);
    Files.delete(log);
    return code;
  }

  /** Commits a program that takes so many microseconds for a step. */
  private String commit(double microseconds) throws Exception {
    StringBuilder result = new StringBuilder("{\"report\":{\"steps\":[");
    for (int rows : List.of(1, 8)) {
      result.append(
          String.format(
              Locale.ROOT,
              "{\"context\":64,\"rows\":%d,\"step\":{\"microseconds\":%.1f}},"
                  + "{\"head\":\"final\",\"batch\":%d,\"tokens_per_second\":%.1f},",
              rows,
              microseconds * rows,
              rows,
              1e6 / microseconds));
    }
    result.append("{}]}}");
    Path program = repository.resolve("eellm");
    Files.writeString(program, "#!/bin/sh\necho '" + result + "'\n");
    assertThat(program.toFile().setExecutable(true)).isTrue();
    run("git", "add", ".");
    List<String> command = new ArrayList<>(List.of("git", "-c", "user.name=test"));
    command.addAll(List.of("-c", "user.email=test@localhost", "commit", "--quiet", "-m", "step"));
    assertThat(run(command.toArray(String[]::new))).as(err).isZero();
    run("git", "rev-parse", "HEAD");
    return err.strip();
  }

  private int compare(String... arguments) throws Exception {
    List<String> command = new ArrayList<>(List.of("sh", "bench/compare.sh"));
    command.addAll(List.of(arguments));
    return run(command.toArray(String[]::new));
  }

  @Test
  void compare_slowerByMoreThanFivePercent_failsAndNamesTheFigure() throws Exception {
    String old = commit(1000);
    commit(1100);

    assertThat(compare(old)).as(err).isEqualTo(1);

    assertThat(err).contains("slower").containsPattern("us of a step of 8 rows .* 0\\.909  slower");
  }

  @Test
  void compare_slowerByLessOrFaster_ends() throws Exception {
    String old = commit(1000);
    String middle = commit(1030);
    commit(500);

    assertThat(compare(old, middle)).as(err).isZero();
    assertThat(err).doesNotContain("slower");
    assertThat(compare(old)).as(err).isZero();
  }

  @Test
  void compare_ofWhatIsNoCommit_isWrongUse() throws Exception {
    commit(1000);

    assertThat(compare("nowhere")).isEqualTo(2);

    assertThat(err).contains("compare.sh: 'nowhere' is no commit of this repository");
  }
}
