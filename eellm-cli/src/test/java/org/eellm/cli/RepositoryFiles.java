package org.eellm.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** Where the pages and the sources are, whatever folder a test runs in. */
public final class RepositoryFiles {
  private RepositoryFiles() {}

  /** The folder of README.md and docs/. */
  public static Path root() {
    Path folder = Path.of("").toAbsolutePath();
    while (!Files.exists(folder.resolve("docs/architecture.md"))) {
      folder = folder.getParent();
      if (folder == null) {
        throw new IllegalStateException("no folder above the working directory has docs/");
      }
    }
    return folder;
  }

  /** The pages of docs/, sorted. */
  static List<Path> docs() {
    return files(root().resolve("docs"), ".md");
  }

  /** The Java sources of all modules, tests included. */
  static List<Path> javaSources() {
    List<Path> sources = new ArrayList<>();
    try (Stream<Path> folders = Files.walk(root(), 1)) {
      folders
          .map(folder -> folder.resolve("src"))
          .filter(Files::isDirectory)
          .forEach(folder -> sources.addAll(files(folder, ".java")));
    } catch (IOException e) {
      throw new UncheckedIOException("the sources cannot be listed", e);
    }
    return sources;
  }

  private static List<Path> files(Path folder, String end) {
    try (Stream<Path> files = Files.walk(folder)) {
      return files.filter(file -> file.toString().endsWith(end)).sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException(folder + ": cannot be listed", e);
    }
  }
}
