package org.eellm.grammar;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.TextNode;
import com.networknt.schema.JsonSchemaFactory;
import com.networknt.schema.SpecVersion.VersionFlag;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

final class GrammarTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int WALKS = 40; // texts of a schema

  @ParameterizedTest
  @ValueSource(
      strings = {
        "a*",
        "a+b?",
        "(a|b)*0",
        "a{2}",
        "a{1,3}b",
        "a{2,}",
        "[ab]{2}",
        "[^a]",
        "a|b|",
        ".",
        ".*0",
        "(ab|a)(0|b0)",
        "(a*)*",
        "(a?){3}",
        "((a|b)?0){2,3}",
        "\\d+",
        "\\w\\W",
        "[a-b0]+",
        "a.b",
        "(?:a|ab)(?:0|b)",
        "[\\d-]+",
        "-?0",
        "\\.+",
        "a*?b",
        "()",
        "(a|)b",
        "[b-]a"
      })
  void expression_againstJava_matchesTheSame(String pattern) {
    Grammar grammar = Grammar.of(new GrammarSource.Expression(pattern));
    Pattern java = Pattern.compile(pattern);
    for (String text : texts("ab0-.", 5)) {
      assertThat(accepts(grammar, text))
          .as("%s with '%s'", pattern, text)
          .isEqualTo(java.matcher(text).matches());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"a", "ab", "aab", "abab", "aabaa"})
  void anyText_behindAMark_isOfTheRest(String mark) {
    GrammarSource rest = new GrammarSource.Expression("0+");
    Grammar anywhere = Grammar.of(new GrammarSource.AnyText(mark, true, rest));
    Grammar first = Grammar.of(new GrammarSource.AnyText(mark, false, rest));
    for (String text : texts("ab0", 8)) {
      int found = text.indexOf(mark);
      boolean behind = found < 0 || text.substring(found + mark.length()).matches("0+");
      assertThat(accepts(anywhere, text)).as(text).isEqualTo(behind);
      assertThat(accepts(first, text)).as(text).isEqualTo(found != 0 || behind);
    }
  }

  @Test
  void sources_together_areTheirTextsTogether() {
    Grammar grammar =
        Grammar.of(
            new GrammarSource.Sequence(
                List.of(
                    GrammarSource.text("a"),
                    new GrammarSource.Repeated(
                        new GrammarSource.AnyOf(
                            List.of(
                                GrammarSource.text("b0"), new GrammarSource.Expression("0{2}")))),
                    GrammarSource.text("b"))));
    for (String text : texts("ab0", 7)) {
      assertThat(accepts(grammar, text)).as(text).isEqualTo(text.matches("a(b0|00)*b"));
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"a", "^a", "a$", "^a$", "^a|b$", "a.b", "^[^b]+$", "^(a|b0)*$", "\\.", "^$"})
  void pattern_inAString_isFoundAsJavaFindsIt(String pattern) {
    Grammar grammar =
        Grammar.of(
            new GrammarSource.Schema(
                "{\"type\":\"string\",\"pattern\":%s}".formatted(quoted(pattern))));
    Pattern java = Pattern.compile(pattern);
    for (String text : texts("ab0.\"\\", 4)) {
      assertThat(accepts(grammar, quoted(text)))
          .as("%s in '%s'", pattern, text)
          .isEqualTo(java.matcher(text).find());
    }
  }

  @Test
  void characters_ofRandomRanges_haveTheirUtf8() {
    Random random = new Random(1);
    for (int round = 0; round < 60; round++) {
      int first = random.nextInt(1 << 7 + random.nextInt(14)) % Character.MAX_CODE_POINT;
      int last =
          Math.min(Character.MAX_CODE_POINT, first + random.nextInt(1 << random.nextInt(17)));
      Languages all = new Languages();
      Language language = CodePoints.of(first, last).utf8(all);
      all.check();
      int begin = first;
      IntStream.concat(
              IntStream.of(first - 1, first, first + 1, last - 1, last, last + 1),
              random.ints(200, 0, Character.MAX_CODE_POINT + 1))
          .filter(each -> Character.isValidCodePoint(each) && (each < 0xD800 || each > 0xDFFF))
          .forEach(
              each ->
                  assertThat(
                          language
                              .after(Character.toString(each).getBytes(StandardCharsets.UTF_8))
                              .mayEnd())
                      .as("%x in %x..%x", each, begin, last)
                      .isEqualTo(each >= begin && each <= last));
    }
  }

  @ParameterizedTest
  @CsvSource({"0, 0", "3, 17", "-5, 5", "-120, -7", "98, 1002", "-1, 1000", "100, 999", "7, 6"})
  void integers_withinBounds_areThoseAndNoOthers(int least, int most) {
    String schema =
        "{\"type\":[\"integer\",\"null\"],\"minimum\":%d,\"maximum\":%d}".formatted(least, most);
    Grammar grammar = Grammar.of(new GrammarSource.Schema(schema));
    for (int value = -1300; value <= 1300; value++) {
      assertThat(accepts(grammar, Integer.toString(value)))
          .as("%d in %d..%d", value, least, most)
          .isEqualTo(value >= least && value <= most);
    }
    assertThat(accepts(grammar, "007")).isFalse();
  }

  static Stream<String> schemas() {
    return SampleSchemas.all();
  }

  @ParameterizedTest
  @MethodSource("schemas")
  void schema_itsTexts_areValidToAnIndependentValidator(String schema) throws IOException {
    var validator = JsonSchemaFactory.getInstance(VersionFlag.V202012).getSchema(schema);
    Grammar grammar = Grammar.of(new GrammarSource.Schema(schema));
    Random random = new Random(7);
    for (int walk = 0; walk < WALKS; walk++) {
      String text = walk(grammar, random);
      JsonNode value = JSON.readTree(text);
      assertThat(validator.validate(value)).as("%s for %s", text, schema).isEmpty();
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"type\":\"number\",\"multipleOf\":2} | schema/multipleOf: is not supported here; leave"
            + " it out",
        "{\"properties\":{\"a\":{\"not\":{}}}} | schema/properties/a/not: is not supported here;"
            + " leave it out",
        "{\"type\":\"strin\"} | schema/type: \"strin\" is no type of JSON",
        "{\"$ref\":\"#/x\"} | schema/$ref: '#/x' is not in this schema; use #/$defs/...",
        "{\"$ref\":\"#\"} | schema/$ref #: begins with itself; let what repeats come last",
        "{\"type\":\"string\",\"pattern\":\"(?=a)\"} | schema/pattern: (?= is not offered; use"
            + " (?:...) (at character 2 of the pattern)",
        "{\"type\":\"string\",\"pattern\":\"\\\\bx\"} | schema/pattern: \\b is not offered (at"
            + " character 2 of the pattern)",
        "{\"type\":\"number\",\"minimum\":0.5} | schema/minimum: 0.5: whole numbers up to 1e18 are"
            + " supported",
        "{\"enum\":[]} | schema/enum: is no list, or an empty one",
        "{\"enum\":[1],\"type\":\"string\"} | grammar: no text belongs to it",
        "false | grammar: no text belongs to it",
        "{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"b\":true},\"additionalProperties\":false}"
            + " | schema/required: 'a' is no property that is listed",
        "7 | schema: is no schema; give an object, true or false"
      })
  void schema_thatCannotBeKept_isRefusedByItsPath(String schema, String message) {
    assertThatThrownBy(() -> Grammar.of(new GrammarSource.Schema(schema)))
        .isInstanceOf(GrammarException.class)
        .hasMessage(message);
  }

  @Test
  void rules_ofAList_takeItsTexts() {
    Grammar grammar =
        Grammar.of(
            new GrammarSource.Rules(
                """
                # a list of words
                root ::= "[" (word ("," blank? word)*)? "]"
                word ::= [a-z]{1,3} | "\\"" [^"\\n]* "\\"" |
                         root
                blank ::= " "
                """));

    assertThat(Stream.of("[]", "[a]", "[ab, abc]", "[\"x y\",z,[q]]"))
        .allMatch(text -> accepts(grammar, text));
    assertThat(Stream.of("", "[", "[a,]", "[abcd]", "[a,  b]", "[]]"))
        .noneMatch(text -> accepts(grammar, text));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "root ::= root \"a\" | grammar: rule root: begins with itself; let what repeats come last",
        "root ::= a | grammar: rule a: is named, and nowhere defined",
        "word ::= \"a\" | grammar: no rule is called root (line 1)",
        "root ::= (\"a\" | grammar: a group is not closed (line 1)",
        "root ::= \"a\" root | grammar: rule root: has no text that ends"
      })
  void rules_thatMeanNothing_areRefused(String rules, String message) {
    assertThatThrownBy(() -> Grammar.of(new GrammarSource.Rules(rules))).hasMessage(message);
  }

  /** Time and memory: each ends at once, by a refusal or with a grammar. */
  @Test
  void schema_hostile_endsSoon() {
    String deep = "{\"items\":".repeat(5000) + "{}" + "}".repeat(5000);
    assertThatThrownBy(() -> Grammar.of(new GrammarSource.Schema(deep)))
        .isInstanceOf(GrammarException.class);

    StringBuilder values = new StringBuilder("{\"enum\":[\"x0\"");
    IntStream.range(1, 10_000).forEach(i -> values.append(",\"x").append(i).append('"'));
    assertThat(accepts(Grammar.of(new GrammarSource.Schema(values + "]}")), "\"x777\"")).isTrue();

    Grammar nested = Grammar.of(new GrammarSource.Schema("{\"pattern\":\"^(((a*)*)*)*$\"}"));
    assertThat(accepts(nested, "\"" + "a".repeat(2000) + "\"")).isTrue();

    StringBuilder optional = new StringBuilder("{\"properties\":{\"p0\":true");
    IntStream.range(1, 400).forEach(i -> optional.append(",\"p%d\":true".formatted(i)));
    assertThat(
            accepts(Grammar.of(new GrammarSource.Schema(optional + "}}")), "{\"p3\":1,\"p399\":2}"))
        .isTrue();

    Grammar long1 =
        Grammar.of(new GrammarSource.Schema("{\"type\":\"string\",\"minLength\":900000000}"));
    assertThat(accepts(long1, "\"a\"")).isFalse();
  }

  /**
   * The published tests of JSON Schema, if {@code -Djson.schema.suite} names their folder for draft
   * 2020-12: what a schema refuses cannot be written; and what it accepts can, of schemas whose
   * texts are all of the language.
   */
  @Test
  void schema_publishedTests_refuseWhatIsInvalid() throws IOException {
    String suite = System.getProperty("json.schema.suite", "");
    assumeTrue(!suite.isEmpty(), "-Djson.schema.suite=FOLDER runs the published tests");
    int refused = 0;
    int valid = 0;
    List<String> unwritten = new ArrayList<>();
    try (Stream<Path> files = Files.list(Path.of(suite))) {
      for (Path file : files.filter(each -> each.toString().endsWith(".json")).toList()) {
        for (JsonNode group : JSON.readTree(file.toFile())) {
          Grammar grammar;
          try {
            grammar = Grammar.of(new GrammarSource.Schema(group.get("schema").toString()));
          } catch (GrammarException _) {
            refused++;
            continue;
          }
          for (JsonNode test : group.get("tests")) {
            boolean written = accepts(grammar, test.get("data").toString());
            if (test.get("valid").asBoolean()) {
              valid++;
              if (!written) {
                unwritten.add(file.getFileName() + ": " + test.get("description").asText());
              }
            } else {
              assertThat(written)
                  .as("%s: %s: %s", file.getFileName(), group.get("description"), test)
                  .isFalse();
            }
          }
        }
      }
    }
    System.out.printf(
        "refused schemas %d; valid texts %d, not written %d: %s%n",
        refused, valid, unwritten.size(), unwritten);
    assertThat(valid).isPositive();
  }

  /** All texts of some letters, up to a length. */
  private static List<String> texts(String letters, int most) {
    List<String> texts = new ArrayList<>(List.of(""));
    for (int i = 0; i < texts.size() && texts.get(i).length() < most; i++) {
      for (char letter : letters.toCharArray()) {
        texts.add(texts.get(i) + letter);
      }
    }
    return texts;
  }

  private static String quoted(String text) {
    return TextNode.valueOf(text).toString();
  }

  static boolean accepts(Grammar grammar, String text) {
    Language rest = grammar.start();
    for (byte next : text.getBytes(StandardCharsets.UTF_8)) {
      rest = rest.after(next);
      if (rest.isNothing()) {
        return false;
      }
    }
    return rest.mayEnd();
  }

  /** A random text of a grammar, which closes what it opened all the sooner the longer it is. */
  private static String walk(Grammar grammar, Random random) {
    ByteArrayOutputStream text = new ByteArrayOutputStream();
    Language rest = grammar.start();
    while (!(rest.mayEnd() && (rest.first().size() == 0 || random.nextInt(4) == 0))) {
      ByteSet first = rest.first();
      boolean close = random.nextInt(30) < text.size() - 20;
      int next =
          IntStream.of('"', ']', '}')
              .filter(each -> close && first.contains(each))
              .findFirst()
              .orElseGet(
                  () -> random.ints(0, 256).filter(first::contains).findFirst().orElseThrow());
      text.write(next);
      rest = rest.after((byte) next);
      assertThat(text.size()).isLessThan(100_000);
    }
    return text.toString(StandardCharsets.UTF_8);
  }
}
