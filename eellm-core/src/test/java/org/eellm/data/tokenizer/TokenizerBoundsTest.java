package org.eellm.data.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;
import org.eellm.data.DataException;
import org.eellm.data.tokenizer.word.BoundedPattern;
import org.eellm.golden.Resources;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.ValueSource;

final class TokenizerBoundsTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String BYTES =
      "{'type': 'ByteLevel', 'add_prefix_space': false, 'trim_offsets': true, 'use_regex': false}";

  @TempDir Path folder;

  /** A byte-level tokenizer with other fields. */
  private Tokenizer load(String changes) throws IOException {
    TokenizerTest.trained().save(folder);
    Path path = folder.resolve("tokenizer.json");
    ObjectNode file = (ObjectNode) JSON.readTree(path.toFile());
    ObjectNode others = (ObjectNode) JSON.readTree(changes.replace('\'', '"'));
    if (others.remove("model") instanceof ObjectNode model) {
      ((ObjectNode) file.path("model")).setAll(model);
    }
    file.setAll(others);
    Files.writeString(path, file.toString());
    return Tokenizer.load(folder);
  }

  private static String split(String expression) {
    String escaped = expression.replace("\\", "\\\\").replace("\"", "\\\"").replace("'", "\\u0027");
    return "{'type': 'Split', 'pattern': {'Regex': '%s'}, 'behavior': 'Isolated', 'invert': false}"
        .formatted(escaped);
  }

  private static String words(String... parts) {
    return "{'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': [%s, %s]}}"
        .formatted(String.join(", ", parts), BYTES);
  }

  private static String replace(String from, String to) {
    return "{'type': 'Replace', 'pattern': {'String': '%s'}, 'content': '%s'}".formatted(from, to);
  }

  private static String normalizers(String... parts) {
    return "{'normalizer': {'type': 'Sequence', 'normalizers': [%s]}}"
        .formatted(String.join(", ", parts));
  }

  /** Before, the first ended the process, and the others had no end. */
  @Test
  void load_whatTheLibraryWouldNotSurvive_isRefused() throws IOException {
    assertRefused(
        words(split("(a|a|aa)+$")), "the pattern \"(a|a|aa)+$\" may take time without end");
    String longer = replace("n", "n".repeat(10_000));
    assertRefused(normalizers(longer, longer, longer), "more than 4 times as long");
    assertRefused(
        normalizers(replace("n", "nn"), replace("n", "nn"), replace("n", "nn")), "4 times");
    assertRefused(normalizers(replace("", "n")), "a text of 0 characters");
    // A blank added token is changed to see whether it stays one.
    String blanks = replace(" ", " ".repeat(100_000));
    assertRefused(
        "{'added_tokens': [{'id': 400, 'content': ' ', 'normalized': true}], "
            + normalizers(blanks, blanks).substring(1),
        "more than 4 times as long");
    assertRefused(words(split("a+b")), "repeats a before something that can fail");
    assertRefused(
        words("{'type': 'FixedLength', 'length': 0}"), "pre_tokenizer \"FixedLength\": is not");
    assertRefused(
        normalizers("{'type': 'Precompiled', 'precompiled_charsmap': 'AAAA'}"),
        "normalizer Precompiled: precompiled_charsmap: has no trie of the length that it tells");
    assertRefused("{'model': {'type': 'Markov'}}", "model \"Markov\": is not supported");
    assertRefused(
        "{'model': {'type': 'WordPiece', 'max_input_chars_per_word': 100000}}",
        "max_input_chars_per_word: 100000 is more than 256");
    assertRefused(
        "{'model': {'continuing_subword_prefix': '########'}}",
        "continuing_subword_prefix: is not");
    String many = "{'type': 'Digits', 'individual_digits': true},".repeat(40);
    assertRefused(words(many.substring(0, many.length() - 1)), "more than 32 normalizers");
    String group = "(?:" + "a|".repeat(200) + "a)";
    assertRefused(words(split(group), split(group)), "all patterns can match in more than 300");
  }

  private void assertRefused(String changes, String message) {
    assertThatThrownBy(() -> load(changes))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(folder.resolve("tokenizer.json") + ": ")
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n")
        .hasSizeLessThan(600);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '~',
      quoteCharacter = '^',
      textBlock =
          """
          {'model': {'unk_token': 'gone'}}                               ~ model.unk_token: 'gone' is no token
          {'model': {'vocab': {'a': 0, 'b': 0}}}                         ~ have the same id 0
          {'model': {'vocab': {'a': 0, 'b': 5000}}}                      ~ ids go to 5000, but there are 3 tokens
          {'model': {'type': 'Unigram', 'vocab': [['a', 'b']]}}          ~ is no pair of a piece and its score
          {'model': {'type': 'Unigram', 'vocab': [['a', 1], ['a', 2]]}}  ~ is there twice
          {'model': {'type': 'Unigram', 'vocab': [['a', 1]], 'unk_id': 1}} ~ model.unk_id: '1' is no token
          {'added_tokens': [{'id': 3, 'content': 'x'}]}                  ~ and 'x' have the same id 3
          {'added_tokens': [{'id': 300, 'content': ''}]}                 ~ added_tokens: 300 has no content
          {'added_tokens': [{'id': 300, 'content': 'x'}, {'id': 301, 'content': 'x'}]} ~ 'x' is there twice
          {'added_tokens': [{'content': 'x'}]}                           ~ is no token id
          {'post_processor': {'type': 'TemplateProcessing', 'single': [{'SpecialToken': {'id': 'gone', 'type_id': 0}}]}} ~ post_processor: 'gone' is no token
          {'decoder': {'type': 'Replace', 'pattern': {'String': 'a'}, 'content': 'aa'}} ~ decoder Replace: {
          {'decoder': {'type': 'Replace', 'pattern': {'Regex': 'a'}, 'content': 'b'}}   ~ decoder Replace: {
          {'decoder': {'type': 'Metaspace', 'replacement': ''}}          ~ replacement is empty
          """)
  void load_filesThatContradictThemselves_areRefused(String changes, String message)
      throws IOException {
    assertRefused(changes, message);
  }

  @ParameterizedTest
  @ValueSource(ints = {200, 2_000, 500_000})
  void load_deeplyNested_isRefused(int depth) throws IOException {
    TokenizerTest.trained().save(folder);
    Files.writeString(
        folder.resolve("tokenizer.json"),
        "{\"normalizer\": " + "[".repeat(depth) + "]".repeat(depth) + "}");
    assertThatThrownBy(() -> Tokenizer.load(folder))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("not valid JSON: it is nested too deep")
        .hasMessageNotContaining("StreamReadConstraints");
  }

  @Test
  void encode_aTextWithoutEnd_isRefused() throws IOException {
    Tokenizer tokenizer = load("{'normalizer': {'type': 'Lowercase'}}");
    assertThatThrownBy(() -> tokenizer.encode("a".repeat((1 << 20) + 1)))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("a text of 1048577 characters is longer than the 1048576");
  }

  /** Whatever a damaged map holds, no text leads out of it, which would end the process. */
  @Test
  void load_damagedMaps_areRefusedOrEncode() throws IOException {
    Tokenizer.load(Resources.folder("/tokenizers/texts.json").resolve("unigram_with_map"))
        .save(folder);
    Path path = folder.resolve("tokenizer.json");
    ObjectNode file = (ObjectNode) JSON.readTree(path.toFile());
    ObjectNode map = file.findParent("precompiled_charsmap");
    byte[] whole = Base64.getDecoder().decode(map.path("precompiled_charsmap").asText());
    String text =
        new Random(3)
            .ints(5000, 1, 0x2100)
            .mapToObj(Character::toString)
            .collect(Collectors.joining());
    Random random = new Random(7);
    int refused = 0;
    for (int i = 0; i < 300; i++) {
      byte[] damaged =
          Arrays.copyOf(whole, i % 9 == 0 ? random.nextInt(whole.length) : whole.length);
      for (int changes = 1 << random.nextInt(8); changes > 0 && damaged.length > 0; changes--) {
        damaged[random.nextInt(damaged.length)] = (byte) random.nextInt(256);
      }
      map.put("precompiled_charsmap", Base64.getEncoder().encodeToString(damaged));
      Files.writeString(path, file.toString());
      try {
        assertThat(Tokenizer.load(folder).encode(text)).isNotEmpty();
      } catch (DataException refusal) {
        assertThat(refusal).hasMessageContaining("normalizer Precompiled: precompiled_charsmap: ");
        refused++;
      }
    }
    assertThat(refused).isBetween(100, 290);
    map.put("precompiled_charsmap", Base64.getEncoder().encodeToString(whole));
    String twice = map.toString().replace('"', '\'');
    assertRefused(normalizers(twice, twice), "normalizer Precompiled: is there twice");
  }

  /** What the known families search for. */
  static final List<String> KNOWN =
      List.of(
          "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
              + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
          "[^\\r"
              + "\\n"
              + "\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
              + "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r"
              + "\\n"
              + "\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
              + "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r"
              + "\\n"
              + "/]*|\\s*[\\r"
              + "\\n"
              + "]+|\\s+(?!\\S)|\\s+",
          "\\s+$");

  @ParameterizedTest
  @FieldSource("KNOWN")
  void encode_runs_takesTimeInProportion(String expression) throws IOException {
    assertEncodesRuns(expression, 1 << 14);
  }

  @Tag("slow")
  @Timeout(300) // seconds, for the slowest machine; time in the text's square would be hours
  @ParameterizedTest
  @FieldSource("KNOWN")
  void encode_longRuns_takesTimeInProportion(String expression) throws IOException {
    assertEncodesRuns(expression, BoundedPattern.MAX_TEXT);
  }

  /** In the texts that make a search go back the furthest. */
  private void assertEncodesRuns(String expression, int length) throws IOException {
    Tokenizer tokenizer = load(words(split(expression)));
    StringBuilder mixed = new StringBuilder();
    new Random(3).ints(length / 3, 0x20, 0x3000).forEach(mixed::appendCodePoint);
    for (String text :
        List.of(
            " ".repeat(length - 1) + "x",
            " \n".repeat(length / 2 - 9) + " ".repeat(9) + "x",
            "A".repeat(length),
            "中".repeat(length / 2) + "A".repeat(length / 2),
            "\u0301".repeat(length - 1) + "1",
            mixed.toString())) {
      assertThat(tokenizer.decode(tokenizer.encode(text))).isEqualTo(text);
    }
  }
}
