package org.eellm.cli;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.util.List;
import java.util.Optional;

/** The commit of the source tree that this program was built in. */
public final class SourceCommit {
  private static final List<String> DESCRIBE =
      List.of("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*");

  private SourceCommit() {}

  /**
   * The commit's hash, with {@code -dirty} behind it where files differ; empty where the program
   * does not run from a source tree under git.
   */
  public static Optional<String> find() {
    return root().flatMap(SourceCommit::describe);
  }

  /** The source tree: two folders above {@code target/classes}. */
  private static Optional<Path> root() {
    CodeSource source = SourceCommit.class.getProtectionDomain().getCodeSource();
    try {
      return source == null
          ? Optional.empty()
          : Optional.of(Path.of(source.getLocation().toURI()))
              .filter(classes -> classes.endsWith(Path.of("target", "classes")))
              .map(classes -> classes.resolve("../..").normalize())
              .filter(root -> Files.exists(root.resolve(".git")));
    } catch (URISyntaxException e) {
      return Optional.empty();
    }
  }

  private static Optional<String> describe(Path root) {
    ProcessBuilder git = new ProcessBuilder("git", "-C", root.toString());
    git.command().addAll(DESCRIBE);
    try {
      Process process = git.redirectError(ProcessBuilder.Redirect.DISCARD).start();
      String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      return process.onExit().join().exitValue() == 0
          ? Optional.of(said.strip())
          : Optional.empty();
    } catch (IOException e) {
      return Optional.empty(); // there is no git
    }
  }
}
