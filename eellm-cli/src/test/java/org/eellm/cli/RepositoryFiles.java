package org.eellm.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/** Where the pages and the sources are, whatever folder a test runs in. */
public final class RepositoryFiles {
  private static final Set<String> LEFT_OUT = Set.of(".git", "target", "runs");

  private RepositoryFiles() {}

  /** The folder of README.md and docs/. */
  public static Path root() {
    Path folder = Path.of("").toAbsolutePath();
    while (!Files.exists(folder.resolve("docs/configuration.md"))) {
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

  /** All files of the repository, but what git and the build keep there. */
  static List<Path> all() throws IOException {
    List<Path> files = new ArrayList<>();
    Files.walkFileTree(
        root(),
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult preVisitDirectory(Path folder, BasicFileAttributes attributes) {
            return LEFT_OUT.contains(folder.getFileName().toString())
                ? FileVisitResult.SKIP_SUBTREE
                : FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
            if (attributes.isRegularFile()) {
              files.add(file);
            }
            return FileVisitResult.CONTINUE;
          }
        });
    return files;
  }

  private static List<Path> files(Path folder, String end) {
    try (Stream<Path> files = Files.walk(folder)) {
      return files.filter(file -> file.toString().endsWith(end)).sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException(folder + ": cannot be listed", e);
    }
  }
}
