package org.eellm.cli;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.decode.sample.SamplingSetting;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * README.md, CONTRIBUTING.md and docs/: their commands can be called, their links lead somewhere,
 * and the classes that they name exist.
 */
final class DocsTest {
  private static final Pattern CODE_BLOCK = Pattern.compile("(?ms)^```\\w*$\\n(.*?)^```$");
  private static final Pattern COMMAND =
      Pattern.compile("(?m)^\\s*(?:\\w+=\\S+\\s+)*\\./eellm\\s(.*)$");
  private static final Pattern LINK = Pattern.compile("]\\(([^)\\s]+)\\)");
  private static final Pattern HEADING = Pattern.compile("(?m)^#+ (.*)$");
  private static final Pattern CLASS_NAME = Pattern.compile("`([A-Z][a-z]+(?:[A-Z][a-z0-9]*)+)`");
  private static final Pattern DECLARATION =
      Pattern.compile("\\b(?:class|record|interface|enum) ([A-Z]\\w*)");
  // Seven equal signs underline a heading as well, so these three stand for all four.
  private static final Pattern CONFLICT = Pattern.compile("(?m)^(?:<{7}|\\|{7}|>{7})(?: |$)");
  // Rows of docs/configuration.md are made from the source: readers look up one, not all of them.
  private static final Pattern SETTING = Pattern.compile("(?m)^`\\w+` \\| .*$");
  private static final int MOST_WORDS = 1750;

  static Stream<Path> pages() {
    Path root = RepositoryFiles.root();
    return Stream.concat(
        Stream.of(root.resolve("README.md"), root.resolve("CONTRIBUTING.md")),
        RepositoryFiles.docs().stream());
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
      if (!target.contains("://")) {
        String name = target.replaceFirst("#.*", "");
        Path file = name.isEmpty() ? page : page.resolveSibling(name).normalize();
        assertThat(file).as("link to " + target).exists();
        if (target.contains("#")) {
          assertThat(anchors(file))
              .as("link to " + target)
              .contains(target.replaceFirst(".*#", ""));
        }
      }
    }
  }

  @Test
  void text_hasNoConflictMarkers() throws IOException {
    for (Path file : RepositoryFiles.all()) {
      // Binary files are read as Latin-1, too: each byte is a character of its own.
      assertThat(CONFLICT.matcher(Files.readString(file, ISO_8859_1)).find())
          .as("conflict markers in %s", file)
          .isFalse();
    }
  }

  @Test
  void conflictMarkers_areFoundAtTheBeginningOfLines() {
    for (String marker : List.of("<", "|", ">")) {
      assertThat(CONFLICT.matcher("text\n" + marker.repeat(7) + " branch\n").find()).isTrue();
      assertThat(CONFLICT.matcher("text " + marker.repeat(7) + " branch\n").find()).isFalse();
    }
    assertThat(CONFLICT.matcher("a heading\n=======\n").find()).isFalse();
  }

  @Test
  void index_linksEveryPage() throws IOException {
    Path index = RepositoryFiles.root().resolve("docs/README.md");
    List<Path> linked =
        links(index).stream().map(link -> index.resolveSibling(link).normalize()).toList();
    assertThat(linked).containsAll(pages().skip(1).filter(page -> !page.equals(index)).toList());
  }

  @ParameterizedTest
  @MethodSource("pages")
  void page_isReadInOneGo(Path page) throws IOException {
    String text = Files.readString(page);
    if (page.endsWith("docs/configuration.md")) {
      text = SETTING.matcher(text).replaceAll("");
    }
    String[] words = text.strip().split("\\s+");
    assertThat(words.length)
        .as("words of %s; split reference parts off", page)
        .isLessThan(MOST_WORDS);
  }

  @ParameterizedTest
  @EnumSource(PolicyName.class)
  void exitPolicy_isInItsPages(PolicyName policy) throws IOException {
    Path docs = RepositoryFiles.root().resolve("docs");
    assertThat(docs.resolve("exits.md")).content().contains("| `" + policy + "` |");
    assertThat(docs.resolve("serve-api.md")).content().contains("`" + policy + "`");
  }

  @Test
  void settings_areInTheirPages() throws IOException {
    Path docs = RepositoryFiles.root().resolve("docs");
    StringBuilder options = new StringBuilder();
    for (String page : List.of("generate.md", "exits.md", "drafts.md")) {
      options.append(Files.readString(docs.resolve(page)));
    }
    for (DecodingSetting<?> setting : DecodingSetting.all()) {
      assertThat(options).as("pages about generation").contains("--" + setting.name());
      if (setting.isRequestable()) {
        assertThat(docs.resolve("serve-api.md")).content().contains("`" + setting.field() + "`");
      }
    }
    for (SamplingSetting setting : SamplingSetting.values()) {
      assertThat(options).as("pages about generation").contains("--" + setting);
      assertThat(docs.resolve("serve-api.md")).content().contains("`" + setting.field() + "`");
    }
  }

  @Test
  void classes_exist() throws IOException {
    Set<String> declared = new HashSet<>();
    for (Path source : RepositoryFiles.javaSources()) {
      DECLARATION
          .matcher(Files.readString(source))
          .results()
          .forEach(m -> declared.add(m.group(1)));
    }
    for (Path page : pages().toList()) {
      assertThat(CLASS_NAME.matcher(Files.readString(page)).results().map(name -> name.group(1)))
          .as("classes that %s names", page)
          .isSubsetOf(declared);
    }
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

  /** The names by which GitHub links the headings of a page. */
  private static List<String> anchors(Path page) throws IOException {
    return HEADING
        .matcher(Files.readString(page))
        .results()
        .map(heading -> heading.group(1).toLowerCase(Locale.ROOT))
        .map(heading -> heading.replaceAll("[^\\w\\- ]", "").replace(' ', '-'))
        .toList();
  }

  private static List<String> links(Path page) throws IOException {
    return LINK.matcher(Files.readString(page)).results().map(link -> link.group(1)).toList();
  }
}
