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
import java.util.Map;
import java.util.Objects;
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
 * the classes that they name exist, they are short, and figures stand in docs/reports as the JSON
 * there has them. To write the reports' tables anew:
 *
 * <pre>{@code mvn -q test -Dtest=DocsTest -Ddocs.write=true}</pre>
 */
final class DocsTest {
  private static final Pattern CODE_BLOCK = Pattern.compile("(?ms)^```\\w*$\\n(.*?)^```$");
  private static final Pattern COMMAND =
      Pattern.compile("(?m)^\\s*(?:\\w+=\\S+\\s+)*\\./eellm\\s(.*?)(?: > \\S+)?(?: &)?$");
  private static final Pattern LINK = Pattern.compile("]\\(([^)\\s]+)\\)");
  private static final Pattern HEADING = Pattern.compile("(?m)^#+ (.*)$");
  private static final Pattern CLASS_NAME = Pattern.compile("`([A-Z][a-z]+(?:[A-Z][a-z0-9]*)+)`");
  private static final Pattern DECLARATION =
      Pattern.compile("\\b(?:class|record|interface|enum) ([A-Z]\\w*)");
  // Seven equal signs underline a heading as well, so these three stand for all four.
  private static final Pattern CONFLICT = Pattern.compile("(?m)^(?:<{7}|\\|{7}|>{7})(?: |$)");
  private static final Pattern WORD = Pattern.compile("\\S*[\\p{L}\\p{N}]\\S*");
  private static final Map<Reader, Integer> MOST_WORDS =
      Map.of(Reader.USER, 20_000, Reader.REPORTS, 8_000, Reader.DEVELOPER, 8_000);

  // What is no prose, or no figure: code, tables, headings, formulas, papers, addresses.
  private static final Pattern NO_PROSE =
      Pattern.compile(
          "(?m)^```(?s:.*?)^```$|`[^`]*`|^\\|.*$|^#.*$|\\$[^$]*\\$|arXiv \\S+|]\\([^)]*\\)");
  private static final Pattern PARAGRAPH_END = Pattern.compile("\\n\\s*(?:\\n|- |\\d+\\. )");
  private static final Pattern NUMBER = Pattern.compile("(?<![\\w.,])\\d[\\d.,]*");
  private static final int MOST_NUMBERS = 6;

  /** Whom a page is for. */
  private enum Reader {
    USER,
    REPORTS,
    DEVELOPER;

    static Reader of(Path page) {
      return switch (RepositoryFiles.root().relativize(page).toString().replace('\\', '/')) {
        case String path when path.startsWith("docs/reports/") -> REPORTS;
        case String path when path.startsWith("docs/dev/") || path.equals("CONTRIBUTING.md") ->
            DEVELOPER;
        default -> USER;
      };
    }
  }

  static Stream<Path> pages() {
    Path root = RepositoryFiles.root();
    return Stream.concat(
        Stream.of(root.resolve("README.md"), root.resolve("CONTRIBUTING.md")),
        RepositoryFiles.docs().stream());
  }

  @ParameterizedTest
  @MethodSource("pages")
  void commands_areUnderstood(Path page) throws IOException {
    commands(Files.readString(page)).forEach(DocsTest::assertUnderstood);
  }

  private static void assertUnderstood(String command) {
    String[] words = ShellWords.of(command).toArray(String[]::new);
    assertThatCode(() -> RootCommand.commandLine().parseArgs(words))
        .as("./eellm " + command)
        .doesNotThrowAnyException();
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

  /** All but docs/configuration.md, which is made from the source. */
  static Stream<Path> written() {
    return pages().filter(page -> !page.endsWith("docs/configuration.md"));
  }

  static Stream<Path> reports() {
    return pages().filter(page -> Reader.of(page) == Reader.REPORTS);
  }

  @ParameterizedTest
  @EnumSource(Reader.class)
  void pages_areReadToTheEnd(Reader reader) throws IOException {
    long words = 0;
    for (Path page : written().filter(page -> Reader.of(page) == reader).toList()) {
      words += WORD.matcher(Files.readString(page)).results().count();
    }
    assertThat(words)
        .as("words of all pages for %s", reader)
        .isLessThanOrEqualTo(Objects.requireNonNull(MOST_WORDS.get(reader)));
  }

  @ParameterizedTest
  @MethodSource("written")
  void paragraphs_haveFewNumbers(Path page) throws IOException {
    if (Reader.of(page) != Reader.REPORTS) {
      assertThat(crowded(Files.readString(page)))
          .as("paragraphs with more than %d numbers; figures belong in docs/reports", MOST_NUMBERS)
          .isEmpty();
    }
  }

  @Test
  void numbers_areCountedInProseAlone() {
    assertThat(crowded("1 2 3 4 5 6\n- 1 2 3\n\n`7 8` [9](10) arXiv 11.12 $13$\n| 14 |\n# 15"))
        .isEmpty();
    assertThat(crowded("one\n\n1, 2.5, 3,000, 4 %, 5\nand 6 and 7.")).hasSize(1);
  }

  private static List<String> crowded(String page) {
    return PARAGRAPH_END
        .splitAsStream(NO_PROSE.matcher(page).replaceAll(""))
        .filter(paragraph -> NUMBER.matcher(paragraph).results().count() > MOST_NUMBERS)
        .toList();
  }

  @ParameterizedTest
  @MethodSource("reports")
  void reportTables_areThoseOfItsJson(Path report) throws IOException {
    ReportTables tables = ReportTables.of(report);
    String page = Files.readString(report);
    String expected = tables.write(page);
    if (Boolean.getBoolean("docs.write")) {
      Files.writeString(report, expected);
      page = expected;
    }
    assertThat(page).as("tables of %s; -Ddocs.write=true writes them", report).isEqualTo(expected);
    assertThat(ReportTables.shown(page)).isEqualTo(tables.keys());
  }

  @ParameterizedTest
  @MethodSource("reports")
  void reportCommands_areUnderstood(Path report) throws IOException {
    ReportTables.of(report)
        .commands()
        .filter(command -> command.startsWith("./eellm "))
        .forEach(command -> assertUnderstood(command.substring("./eellm ".length())));
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
