package org.eellm.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.data.tokenizer.TokenizerTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

final class PreparationTest {
  @TempDir Path folder;

  private final Tokenizer tokenizer = TokenizerTest.trained();

  @Test
  void run_documents_endWithTheEndOfDocument() {
    List<String> documents = List.of("the cat", "", "<|endoftext|>", "a bird 🦙\n");
    Preparation.Summary summary = prepare(Corpus.of(documents), "small", 2);

    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("small"))) {
      assertThat(dataset.documents()).isEqualTo(3);
      assertThat(summary.documents()).isEqualTo(3);
      assertThat(summary.emptyDocuments()).isEqualTo(1);
      assertThat(summary.tokens()).isEqualTo(dataset.tokens());
      assertThat(summary.textBytes()).isEqualTo(7 + 13 + 12);
      List<String> texts = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        int[] ids = dataset.sequence(i);
        assertThat(ids[ids.length - 1]).isEqualTo(tokenizer.endOfDocument());
        assertThat(ids).containsOnlyOnce(tokenizer.endOfDocument());
        texts.add(tokenizer.decode(ids));
      }
      assertThat(texts).containsExactly("the cat", "<|endoftext|>", "a bird 🦙\n");
    }
  }

  @ParameterizedTest
  @MethodSource("org.eellm.golden.Stories#all")
  void run_tokenizerWithABeginning_putsItFirst(Path stories) {
    Tokenizer llama = Tokenizer.load(stories);
    Preparation.run(
        Corpus.of(List.of("One.", "Two.")), llama, folder.resolve("x"), 1, Progress.NONE);
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("x"))) {
      for (int i = 0; i < 2; i++) {
        assertThat(dataset.sequence(i)).startsWith(1).endsWith(2).doesNotHaveDuplicates();
      }
    }
  }

  @Test
  void run_anyNumberOfThreads_writesTheSame() {
    Random random = new Random(1);
    List<String> documents = new ArrayList<>();
    for (int i = 0; i < 3000; i++) {
      documents.add("the bird and the cat %d ".formatted(i).repeat(random.nextInt(30)));
    }
    prepare(Corpus.of(documents), "one", 1);
    prepare(Corpus.of(documents), "four", 4);
    for (String ending : List.of(".bin", ".idx", "-tokenizer/tokenizer.json")) {
      assertThat(folder.resolve("one" + ending))
          .hasSameBinaryContentAs(folder.resolve("four" + ending));
    }
  }

  @Test
  void run_hugeDocument_isOneSequence() throws IOException {
    String line = "the cat and the dog and 1234 birds";
    Path file = folder.resolve("huge.txt");
    Files.writeString(file, (line + "\n").repeat(30_000));
    TextCorpus corpus = TextCorpus.of(List.of(file.toString()), TextCorpus.Format.DEFAULT);
    prepare(corpus, "huge", 2);
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("huge"))) {
      assertThat(dataset.documents()).isEqualTo(1);
      int[] ids = dataset.sequence(0);
      String text = (line + "\n").repeat(30_000).stripTrailing();
      assertThat(tokenizer.decode(ids)).isEqualTo(text);
      // Cut at line ends, the pieces' tokens are those of the whole.
      assertThat(Arrays.copyOf(ids, ids.length - 1)).isEqualTo(tokenizer.encode(text));
    }
  }

  @ParameterizedTest
  @MethodSource("org.eellm.golden.Stories#all")
  void run_hugeDocumentAndALeadingBlank_haveTheTokensOfTheWhole(Path stories) throws IOException {
    Tokenizer llama = Tokenizer.load(stories);
    Path file = folder.resolve("huge.txt");
    String text = "Once upon a time\n\n there was a cat.\n".repeat(5_000) + "The end.";
    Files.writeString(file, text);
    TextCorpus corpus = TextCorpus.of(List.of(file.toString()), TextCorpus.Format.DEFAULT);
    Preparation.run(corpus, llama, folder.resolve("huge"), 2, Progress.NONE);
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("huge"))) {
      int[] ids = dataset.sequence(0);
      assertThat(Arrays.copyOfRange(ids, 1, ids.length - 1)).isEqualTo(llama.encode(text));
    }
  }

  @Test
  void run_tokenizer_isBesideTheDataset() {
    prepare(Corpus.of(List.of("the cat")), "deep/er/set", 1);
    Tokenizer again = Tokenizer.load(Preparation.tokenizerFolder(folder.resolve("deep/er/set")));
    assertThat(again.encode("the dog")).isEqualTo(tokenizer.encode("the dog"));
  }

  @Test
  void run_failure_leavesWhatWasThere() throws IOException {
    prepare(Corpus.of(List.of("the cat")), "kept", 1);
    Files.writeString(folder.resolve("bad.jsonl"), "{\"text\": \"dog\"}\n{\n");
    TextCorpus bad =
        TextCorpus.of(List.of(folder.resolve("bad.jsonl").toString()), TextCorpus.Format.DEFAULT);

    assertThatThrownBy(() -> prepare(bad, "kept", 2)).hasMessageContaining("bad.jsonl:2: ");
    assertThatThrownBy(() -> prepare(Corpus.of(List.of("")), "kept", 2))
        .hasMessageContaining("the corpus has no text");
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("kept"));
        Stream<Path> files = Files.list(folder)) {
      assertThat(tokenizer.decode(dataset.sequence(0))).isEqualTo("the cat");
      assertThat(files.map(file -> file.getFileName().toString()))
          .containsExactlyInAnyOrder(
              "kept.bin", "kept.idx", "kept.checksums", "kept-tokenizer", "bad.jsonl");
    }
  }

  @Test
  void run_progress_endsAtTheSize() {
    List<Long> reports = new ArrayList<>();
    Corpus corpus = Corpus.of(List.of("the cat", "the dog"));
    Preparation.run(
        corpus,
        tokenizer,
        folder.resolve("x"),
        1,
        (work, done, total) -> {
          assertThat(work).isEqualTo(Progress.Work.TOKENIZING);
          assertThat(total).isEqualTo(corpus.size());
          reports.add(done);
        });
    assertThat(reports).isSorted().endsWith(corpus.size());
  }

  private Preparation.Summary prepare(Corpus corpus, String name, int threads) {
    return Preparation.run(corpus, tokenizer, folder.resolve(name), threads, Progress.NONE);
  }
}
