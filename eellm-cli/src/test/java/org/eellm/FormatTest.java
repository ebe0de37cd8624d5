package org.eellm;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.googlejavaformat.java.Formatter;
import com.google.googlejavaformat.java.FormatterException;
import com.google.googlejavaformat.java.StringWrapper;
import java.io.IOException;
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

  private final Formatter formatter = new Formatter();

  @Test
  void sources_areFormatted() throws IOException, FormatterException {
    List<Path> unformatted = new ArrayList<>();
    for (Path file : sources()) {
      String source = Files.readString(file);
      String formatted = StringWrapper.wrap(formatter.formatSourceAndFixImports(source), formatter);
      if (formatted.equals(source)) {
        continue;
      }
      if (WRITE) {
        Files.writeString(file, formatted);
      } else {
        unformatted.add(file);
      }
    }
    assertThat(unformatted)
        .as("files to format with: mvn -q test -Dtest=FormatTest -Dformat.write=true")
        .isEmpty();
  }

  private static List<Path> sources() throws IOException {
    try (Stream<Path> files = Files.walk(Path.of(""), 16)) {
      return files
          .filter(file -> file.toString().matches("eellm-[a-z0-9]+/src/.*\\.java"))
          .sorted()
          .toList();
    }
  }
}
