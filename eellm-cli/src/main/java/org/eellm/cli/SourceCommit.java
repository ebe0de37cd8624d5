package org.eellm.cli;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;

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

  /** The source tree: the folder above the classes that git keeps. */
  private static Optional<Path> root() {
    CodeSource source = SourceCommit.class.getProtectionDomain().getCodeSource();
    try {
      return source == null
          ? Optional.empty()
          : Stream.iterate(Path.of(source.getLocation().toURI()), Objects::nonNull, Path::getParent)
              .filter(folder -> Files.exists(folder.resolve(".git")))
              .findFirst()
              .filter(root -> Files.exists(root.resolve("eellm-cli")));
    } catch (URISyntaxException e) {
      return Optional.empty();
    }
  }

  private static Optional<String> describe(Path root) {
    ProcessBuilder git = new ProcessBuilder("git", "-C", root.toString());
    git.command().addAll(DESCRIBE);
    try {
      Process process = git.redirectError(ProcessBuilder.Redirect.DISCARD).start();
      String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      return process.onExit().join().exitValue() == 0
          ? Optional.of(output.strip())
          : Optional.empty();
    } catch (IOException e) {
      return Optional.empty(); // there is no git
    }
  }
}
