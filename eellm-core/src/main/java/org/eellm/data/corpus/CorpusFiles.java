package org.eellm.data.corpus;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileSystems;
import java.nio.file.FileVisitOption;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.util.List;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import java.util.stream.Stream;
import org.eellm.data.DataException;

/** Finds the files that an input names, and knows their kinds by their names. */
final class CorpusFiles {
  private static final Pattern SUPPORTED =
      Pattern.compile(".*\\.(?:(txt|md|jsonl|json|csv)(\\.(gz|xz|zst))?|parquet|jar)");
  private static final Pattern GLOB_CHARACTER = Pattern.compile("[*?\\[{]");
  private static final String KINDS =
      ".txt, .md, .jsonl, .json or .csv, plain or with .gz, .xz or .zst, .parquet, or .jar with"
          + " Java sources";

  private CorpusFiles() {}

  /** The ending of a supported file's name, without that of its compression. */
  static String kind(String name) {
    Matcher matcher = SUPPORTED.matcher(name);
    return matcher.matches() && matcher.group(1) != null
        ? matcher.group(1)
        : name.substring(name.lastIndexOf('.') + 1);
  }

  static boolean isJar(String name) {
    return name.endsWith(".jar");
  }

  static boolean isCompressed(String name) {
    return !name.endsWith("." + kind(name)) || isJar(name);
  }

  /** The files of one input: a file, a folder or a glob; never none. */
  static List<Path> find(String input) {
    if (input.isBlank()) {
      throw new DataException("an input is empty; name a file, a folder or a glob");
    }
    try {
      Path path = Path.of(input);
      if (Files.isDirectory(path)) {
        return list(input, path, Integer.MAX_VALUE, file -> true);
      }
      if (Files.exists(path)) {
        if (!isSupported(path)) {
          throw new DataException(path + ": not a kind of file that is read; name it " + KINDS);
        }
        return List.of(path);
      }
      if (GLOB_CHARACTER.matcher(input).find()) {
        return glob(input, path);
      }
      throw new DataException(input + ": no such file or folder; check the path");
    } catch (InvalidPathException e) {
      throw new DataException("%s: not a path: %s".formatted(input, e.getReason()), e);
    } catch (PatternSyntaxException e) {
      throw new DataException("%s: not a glob: %s".formatted(input, e.getDescription()), e);
    }
  }

  private static List<Path> glob(String input, Path pattern) {
    PathMatcher matcher = FileSystems.getDefault().getPathMatcher("glob:" + input);
    Path folder = pattern.isAbsolute() ? pattern.getRoot() : Path.of("");
    int fixed = 0;
    while (!GLOB_CHARACTER.matcher(pattern.getName(fixed).toString()).find()) {
      folder = folder.resolve(pattern.getName(fixed));
      fixed++;
    }
    int depth = input.contains("**") ? Integer.MAX_VALUE : pattern.getNameCount() - fixed;
    if (!Files.isDirectory(folder)) {
      throw new DataException("%s: there is no folder %s".formatted(input, folder));
    }
    return list(input, folder, depth, matcher::matches);
  }

  private static List<Path> list(String input, Path folder, int depth, Predicate<Path> wanted) {
    try (Stream<Path> walk = Files.walk(folder, depth, FileVisitOption.FOLLOW_LINKS)) {
      List<Path> files =
          walk.filter(CorpusFiles::isSupported)
              .filter(wanted)
              .filter(Files::isRegularFile)
              .sorted()
              .toList();
      if (files.isEmpty()) {
        throw new DataException("%s: holds no file named %s".formatted(input, KINDS));
      }
      return files;
    } catch (IOException | UncheckedIOException e) {
      throw new DataException(
          "%s: cannot be listed: %s".formatted(input, DataException.reason(e)), e);
    }
  }

  private static boolean isSupported(Path path) {
    return SUPPORTED.matcher(path.toString()).matches();
  }
}
