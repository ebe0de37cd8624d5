package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** README.md and docs/: their commands can be called, and their links lead somewhere. */
final class DocsTest {
  private static final Pattern CODE_BLOCK = Pattern.compile("(?ms)^```\\w*$\\n(.*?)^```$");
  private static final Pattern COMMAND =
      Pattern.compile("(?m)^\\s*(?:\\w+=\\S+\\s+)*\\./eellm\\s(.*)$");
  private static final Pattern LINK = Pattern.compile("]\\(([^)\\s]+)\\)");

  static Stream<Path> pages() throws IOException {
    try (Stream<Path> docs = Files.walk(Path.of("docs"))) {
      List<Path> pages = docs.filter(file -> file.toString().endsWith(".md")).toList();
      return Stream.concat(Stream.of(Path.of("README.md")), pages.stream().sorted());
    }
  }

  @ParameterizedTest
  @MethodSource("pages")
  void commands_areUnderstood(Path page) throws IOException {
    for (String command : commands(Files.readString(page))) {
      String[] words = ShellWords.of(command).toArray(String[]::new);
      assertThatCode(() -> RootCommand.commandLine().parseArgs(words))
          .as("./eellm " + command)
          .doesNotThrowAnyException();
    }
  }

  @ParameterizedTest
  @MethodSource("pages")
  void links_leadToFiles(Path page) throws IOException {
    for (String target : links(page)) {
      if (!target.contains("://") && !target.startsWith("#")) {
        Path file = page.resolveSibling(target.replaceFirst("#.*", "")).normalize();
        assertThat(file).as("link to " + target).exists();
      }
    }
  }

  @Test
  void readme_linksEveryPage() throws IOException {
    List<Path> linked = links(Path.of("README.md")).stream().map(Path::of).toList();
    assertThat(linked).containsAll(pages().skip(1).toList());
  }

  @Test
  void commands_areFoundInCodeBlocksOnly() {
    String page =
        """
        Say `./eellm` or
        ./eellm prose
        ```sh
        ./eellm generate --prompt "two words" \\
          --model m  # a comment
        X=1 ./eellm doctor
        ```
        """;
    assertThat(commands(page))
        .map(ShellWords::of)
        .containsExactly(
            List.of("generate", "--prompt", "two words", "--model", "m"), List.of("doctor"));
  }

  private static List<String> commands(String page) {
    List<String> commands = new ArrayList<>();
    for (Matcher block = CODE_BLOCK.matcher(page); block.find(); ) {
      String lines = block.group(1).replaceAll("\\\\\\n", " ");
      COMMAND.matcher(lines).results().forEach(command -> commands.add(command.group(1)));
    }
    return commands;
  }

  private static List<String> links(Path page) throws IOException {
    return LINK.matcher(Files.readString(page)).results().map(link -> link.group(1)).toList();
  }
}
