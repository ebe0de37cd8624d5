package org.eellm;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.googlejavaformat.java.Formatter;
import com.google.googlejavaformat.java.FormatterException;
import com.google.googlejavaformat.java.StringWrapper;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * Every source is as google-java-format writes it. To format them all:
 *
 * <pre>{@code mvn -q test -Dtest=FormatTest -Dformat.write=true}</pre>
 */
final class FormatTest {
  private static final boolean WRITE = Boolean.getBoolean("format.write");

  @Test
  void sources_areFormatted() throws IOException {
    List<Path> sources = sources();
    List<Path> unformatted =
        sources.parallelStream().filter(file -> !isFormatted(file)).sorted().toList();

    assertThat(sources).as("sources below the folder where the tests run").isNotEmpty();
    assertThat(unformatted)
        .as("files to format with: mvn -q test -Dtest=FormatTest -Dformat.write=true")
        .isEmpty();
  }

  /** Whether a file is as it should be, or has been made so. */
  private static boolean isFormatted(Path file) {
    Formatter formatter = new Formatter();
    try {
      String source = Files.readString(file);
      String formatted = StringWrapper.wrap(formatter.formatSourceAndFixImports(source), formatter);
      if (WRITE && !formatted.equals(source)) {
        Files.writeString(file, formatted);
      }
      return WRITE || formatted.equals(source);
    } catch (IOException | FormatterException e) {
      throw new AssertionError(file + " cannot be formatted", e);
    }
  }

  private static List<Path> sources() throws IOException {
    List<Path> sources = new ArrayList<>();
    try (DirectoryStream<Path> modules = Files.newDirectoryStream(Path.of(""), "eellm-*")) {
      for (Path module : modules) {
        Path root = module.resolve("src");
        if (Files.isDirectory(root)) {
          try (Stream<Path> files = Files.walk(root)) {
            files.filter(file -> file.toString().endsWith(".java")).forEach(sources::add);
          }
        }
      }
    }
    return sources;
  }
}
