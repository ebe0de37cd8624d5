package org.eellm.data.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.eellm.data.Progress;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.tokenizer.word.WordCutter;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class BpeTrainerTest {
  @TempDir Path folder;

  @Test
  void train_smallText_mergesByFrequencyThenById() {
    // "ab" is there four times; "cd", "ef" and " ab" twice, where the blank, as in GPT-2, comes
    // behind the letters; "xy" once, which is no reason for a token.
    Tokenizer tokenizer = train(List.of("ab ab cd cd", "ab ab ef ef xy"), 300);
    List<String> merged = new ArrayList<>();
    for (int id = 256; id < tokenizer.vocabSize() - 1; id++) {
      merged.add(tokenizer.piece(id));
    }
    assertThat(merged).containsExactly("ab", "cd", "ef", " ab", " cd", " ef");
    assertThat(tokenizer.vocabSize()).isEqualTo(257 + merged.size()).isLessThan(300);
    assertThat(tokenizer.endOfDocument()).isEqualTo(tokenizer.vocabSize() - 1);
  }

  @Test
  void train_randomText_isWhatTheSlowestWayFinds() {
    for (int seed = 0; seed < 20; seed++) {
      List<String> documents = randomDocuments(seed);
      Tokenizer tokenizer = train(documents, 257 + 60);
      List<String> expected = slowly(documents, 60);
      for (int i = 0; i < expected.size(); i++) {
        assertThat(tokenizer.piece(256 + i)).isEqualTo(expected.get(i));
      }
      assertThat(tokenizer.vocabSize()).isEqualTo(257 + expected.size());
    }
  }

  @Test
  void train_moreThreads_givesTheSame() throws IOException {
    Corpus corpus = Corpus.of(randomDocuments(7));
    BpeTrainer.train(corpus, 400, 1, Progress.NONE).save(folder.resolve("one"));
    BpeTrainer.train(corpus, 400, 3, Progress.NONE).save(folder.resolve("three"));
    assertThat(folder.resolve("one/tokenizer.json"))
        .hasSameBinaryContentAs(folder.resolve("three/tokenizer.json"));
  }

  @Test
  void save_trainedTokenizer_givesTheSameIdsInTheTokenizersLibrary() throws IOException {
    List<String> documents = randomDocuments(11);
    Tokenizer tokenizer = train(documents, 500);
    tokenizer.save(folder);
    Tokenizer again = Tokenizer.load(folder);
    List<String> texts = new ArrayList<>(documents);
    texts.addAll(TokenizerTest.hardTexts());
    try (HuggingFaceTokenizer library = TokenizerTest.library(folder)) {
      for (String text : texts) {
        int[] ids = tokenizer.encode(text);
        assertThat(TokenizerTest.ids(library.encode(text, false, false).getIds()))
            .containsExactly(ids);
        assertThat(again.encode(text)).containsExactly(ids);
        assertThat(library.decode(longs(ids))).isEqualTo(text);
      }
      assertThat(library.encode("<|endoftext|>", false, false).getIds())
          .containsExactly(tokenizer.endOfDocument());
    }
  }

  @Test
  void train_smallestVocabulary_isTheBytes() {
    Tokenizer tokenizer = train(List.of("some text"), 257);
    assertThat(tokenizer.encode("é")).hasSize(2);
    assertThat(tokenizer.vocabSize()).isEqualTo(257);
  }

  @Test
  void train_whatCannotBe_saysWhy() {
    assertThatThrownBy(() -> train(List.of("text"), 256))
        .hasMessage(
            "a vocabulary of 256 has no room for the 256 bytes and the end of text; use 257 or"
                + " more");
    assertThatThrownBy(() -> train(List.of(), 300)).hasMessageContaining("has no text");
  }

  @Test
  void train_realText_isWhatTheLibraryReads() throws IOException {
    String text = sources();
    Tokenizer tokenizer = train(List.of(text), 4096);
    assertThat(tokenizer.vocabSize()).isEqualTo(4096);
    tokenizer.save(folder);
    try (HuggingFaceTokenizer library = TokenizerTest.library(folder)) {
      String part = text.substring(text.length() / 2, text.length() / 2 + 100_000);
      assertThat(TokenizerTest.ids(library.encode(part, false, false).getIds()))
          .containsExactly(tokenizer.encode(part));
    }
  }

  /** A megabyte of these tests and what they test, which everybody has who runs them. */
  private static String sources() throws IOException {
    StringBuilder text = new StringBuilder();
    try (Stream<Path> files = Files.walk(Path.of("eellm-core/src"))) {
      for (Path file : files.filter(path -> path.toString().endsWith(".java")).sorted().toList()) {
        text.append(Files.readString(file));
      }
    }
    assertThat(text).hasSizeGreaterThan(300_000);
    // The library takes the name of the end of text for it.
    return text.substring(0, Math.min(text.length(), 1_000_000)).replace("<|endoftext|>", "");
  }

  private static Tokenizer train(List<String> documents, int vocabSize) {
    return BpeTrainer.train(Corpus.of(documents), vocabSize, 2, Progress.NONE);
  }

  /** Few letters, so that pairs repeat, overlap and tie. */
  private static List<String> randomDocuments(int seed) {
    Random random = new Random(seed);
    List<String> documents = new ArrayList<>();
    for (int i = 0; i < 30; i++) {
      StringBuilder text = new StringBuilder();
      for (int j = random.nextInt(60); j >= 0; j--) {
        text.append("aaab c".charAt(random.nextInt(6)));
      }
      documents.add(text.toString());
    }
    return documents;
  }

  /** The merged tokens, found by counting everything again for each of them. */
  private static List<String> slowly(List<String> documents, int merges) {
    List<List<String>> words = new ArrayList<>();
    for (String document : documents) {
      Pattern.compile(WordCutter.GPT_2_WORD.expression(), Pattern.UNICODE_CHARACTER_CLASS)
          .matcher(document)
          .results()
          .map(MatchResult::group)
          .forEach(word -> words.add(new ArrayList<>(List.of(word.split("")))));
    }
    List<String> order = new ArrayList<>(); // of tokens, as their ids are
    for (char letter = '!'; letter <= 'z'; letter++) {
      order.add(String.valueOf(letter));
    }
    order.add(" ");
    List<String> found = new ArrayList<>();
    while (found.size() < merges) {
      Map<List<String>, Integer> counts = new HashMap<>();
      for (List<String> word : words) {
        for (int i = 0; i + 1 < word.size(); i++) {
          counts.merge(List.of(word.get(i), word.get(i + 1)), 1, Integer::sum);
        }
      }
      List<String> best = List.of();
      for (List<String> pair : counts.keySet()) {
        int count = counts.get(pair);
        int bestCount = counts.getOrDefault(best, 1);
        boolean lower =
            count == bestCount
                && count > 1
                && (order.indexOf(pair.get(0)) < order.indexOf(best.get(0))
                    || (pair.get(0).equals(best.get(0))
                        && order.indexOf(pair.get(1)) < order.indexOf(best.get(1))));
        if (count > bestCount || lower) {
          best = pair;
        }
      }
      if (best.isEmpty()) {
        break;
      }
      String token = best.get(0) + best.get(1);
      found.add(token);
      order.add(token);
      for (List<String> word : words) {
        for (int i = 0; i + 1 < word.size(); i++) {
          if (word.get(i).equals(best.get(0)) && word.get(i + 1).equals(best.get(1))) {
            word.set(i, token);
            word.remove(i + 1);
          }
        }
      }
    }
    return found;
  }

  private static long[] longs(int[] ids) {
    return Arrays.stream(ids).asLongStream().toArray();
  }
}
