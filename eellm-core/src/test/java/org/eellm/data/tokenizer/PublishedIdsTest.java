package org.eellm.data.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.eellm.golden.Resources;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The ids that published libraries give hard texts; make_tokenizers.py has asked them. */
final class PublishedIdsTest {
  private static final Path FOLDER = Resources.folder("/tokenizers/texts.json");

  /** Of a character with marks on marks, the tokenizers library does not compose what it could. */
  private static final Set<Integer> MARKS = Set.of(99, 264);

  /** Of a unigram model, the tokenizers library takes a byte's name in a text for the byte. */
  private static final String BYTE = "<0x0A>";

  @ParameterizedTest
  @ValueSource(
      strings = {
        "gpt2",
        "llama3",
        "qwen2",
        "pieces",
        "pieces_with_users",
        "converted_pieces",
        "unigram",
        "unigram_without_bytes",
        "unigram_with_map",
        "wordpiece"
      })
  void encode_hardTexts_givesThePublishedIds(String kind) throws IOException {
    Tokenizer tokenizer = Tokenizer.load(FOLDER.resolve(kind));
    JsonNode texts = new ObjectMapper().readTree(FOLDER.resolve("texts.json").toFile());
    List<String> lines = Files.readAllLines(FOLDER.resolve(kind).resolve("ids.txt"));

    assertThat(texts).hasSize(338).hasSameSizeAs(lines);
    List<String> wrong =
        IntStream.range(0, lines.size())
            .filter(i -> !(kind.startsWith("unigram") && texts.get(i).asText().equals(BYTE)))
            .filter(i -> !(kind.equals("unigram_with_map") && MARKS.contains(i)))
            .filter(i -> !ids(tokenizer, texts.get(i)).equals(lines.get(i)))
            .mapToObj(
                i ->
                    "%d: %s: %s instead of %s"
                        .formatted(i, texts.get(i), ids(tokenizer, texts.get(i)), lines.get(i)))
            .toList();
    assertThat(wrong).isEmpty();
  }

  private static String ids(Tokenizer tokenizer, JsonNode text) {
    return String.join(
        " ", Arrays.stream(tokenizer.encode(text.asText())).mapToObj(String::valueOf).toList());
  }
}
