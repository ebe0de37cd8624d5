package org.eellm.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.data.tokenizer.TokenizerTest;
import org.eellm.file.FileChecksum;
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
  void run_anyNumberOfThreads_writesTheSame() throws IOException {
    Random random = new Random(1);
    List<String> documents = new ArrayList<>();
    for (int i = 0; i < 3000; i++) {
      documents.add("the bird and the cat %d ".formatted(i).repeat(random.nextInt(30)));
    }
    prepare(Corpus.of(documents), "one", 1);
    prepare(Corpus.of(documents), "four", 4);
    assertSame("one", "four");
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
        .hasMessage(
            "the corpus has no text: 1 documents are empty and 0 lines were left out; check the"
                + " inputs");
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

  @Test
  void run_stopped_goesOnToTheSameFiles() throws IOException {
    TextCorpus corpus = texts(60);
    prepare(corpus, "whole", 1);
    for (int stop = 1; stop < 4; stop++) {
      long most = stop * corpus.size() / 4;
      assertThatThrownBy(() -> prepareInSteps(corpus, "stopped", 2, stopBehind(most)))
          .hasMessage("stopped");
      assertThat(folder.resolve("stopped.progress")).exists();
      assertThat(folder.resolve("stopped.bin")).doesNotExist();
    }
    Preparation.Summary summary = prepareInSteps(corpus, "stopped", 1, Progress.NONE);
    assertThat(summary.earlierBytes()).isBetween(corpus.size() / 2, corpus.size() - 1);
    assertThat(summary.textBytes()).isEqualTo(prepare(corpus, "whole", 1).textBytes());
    assertSame("stopped", "whole");
    assertThat(folder.resolve("stopped.progress")).doesNotExist();
    assertThat(folder.resolve("stopped.bin.tmp")).doesNotExist();
  }

  @Test
  void run_stoppedAmongChats_goesOnToTheSameMask() throws IOException {
    StringBuilder lines = new StringBuilder();
    for (int i = 0; i < 30; i++) {
      String text = "the cat ".repeat(8000 + i);
      lines.append("{\"text\": \"").append(text).append("\"}\n");
      String chat = "{\"prompt\": \"" + text + "\", \"completion\": \"the dog\"}\n";
      lines.append(i < 10 ? "" : chat);
    }
    Path file = folder.resolve("chats.jsonl");
    Files.writeString(file, lines);
    TextCorpus corpus = TextCorpus.of(List.of(file.toString()), TextCorpus.Format.DEFAULT);
    prepareInSteps(corpus, "whole", 1, Progress.NONE);
    for (int stop = 1; stop < 8; stop++) {
      Progress stops = stopBehind(stop * corpus.size() / 8);
      assertThatThrownBy(() -> prepareInSteps(corpus, "stopped", 1, stops)).hasMessage("stopped");
    }
    Preparation.Summary summary = prepareInSteps(corpus, "stopped", 1, Progress.NONE);
    assertThat(summary.chats()).isEqualTo(20);
    assertSame("stopped", "whole");
    assertThat(folder.resolve("stopped.mask")).hasSameBinaryContentAs(folder.resolve("whole.mask"));
  }

  @Test
  void run_stoppedAndChanged_isRefused() throws IOException {
    TextCorpus corpus = texts(30);
    Progress stops = stopBehind(corpus.size() / 2);
    assertThatThrownBy(() -> prepareInSteps(corpus, "x", 1, stops)).hasMessage("stopped");
    Path progress = folder.resolve("x.progress");
    String remedy = " changed since; remove it to begin anew";

    Tokenizer other = BpeTrainer.train(Corpus.of(List.of("aa aa")), 258, 1, Progress.NONE);
    assertThatThrownBy(() -> Preparation.run(corpus, other, folder.resolve("x"), 1, Progress.NONE))
        .hasMessage(
            progress + ": is of a run that was stopped, and the tokenizer or an option" + remedy);
    TextCorpus byBlankLines =
        TextCorpus.of(
            List.of(folder.resolve("texts.txt").toString()),
            new TextCorpus.Format("", Optional.empty(), false));
    assertThatThrownBy(() -> prepare(byBlankLines, "x", 1))
        .hasMessage(
            progress + ": is of a run that was stopped, and the tokenizer or an option" + remedy);
    assertThatThrownBy(() -> prepare(texts(30, "The"), "x", 1))
        .hasMessage(progress + ": is of a run that was stopped, and the input" + remedy);
    texts(30); // as it was
    byte[] kept = Files.readAllBytes(progress);
    Files.writeString(progress, "{");
    assertThatThrownBy(() -> prepare(corpus, "x", 1))
        .hasMessage(progress + ": is damaged; remove it to begin anew");
    Files.write(progress, kept);
    Files.writeString(folder.resolve("x.bin.tmp"), "");
    assertThatThrownBy(() -> prepare(corpus, "x", 1))
        .hasMessageContaining("x.bin.tmp has less than the ")
        .hasMessageEndingWith("; remove the .progress beside it to begin anew");
    Files.delete(progress);
    prepare(corpus, "x", 1);
    prepare(corpus, "whole", 1);
    assertSame("x", "whole");
  }

  /** By how far the file tells that it has come; {@code -Dkills=50} for more of them. */
  @Test
  void run_killed_goesOnToTheSameFiles() throws Exception {
    int kills = Integer.getInteger("kills", 3);
    TextCorpus corpus = texts(40);
    prepare(corpus, "whole", 1);
    Path progress = folder.resolve("killed.progress");
    Random random = new Random(kills);
    for (int kill = 0; kill < kills; kill++) {
      Process process =
          new ProcessBuilder(
                  ProcessHandle.current().info().command().orElseThrow(),
                  "-cp",
                  System.getProperty("java.class.path"),
                  PreparationTest.class.getName(),
                  folder.toString())
              .inheritIO()
              .start();
      String before = Files.exists(progress) ? Files.readString(progress) : "";
      while (process.isAlive()
          && (!Files.exists(progress) || Files.readString(progress).equals(before))) {
        Thread.sleep(1);
      }
      Thread.sleep(random.nextInt(50));
      process.destroyForcibly().waitFor();
    }
    prepareInSteps(corpus, "killed", 2, Progress.NONE);
    assertSame("killed", "whole");
  }

  /** What {@link #run_killed_goesOnToTheSameFiles} kills. */
  public static void main(String[] arguments) {
    PreparationTest test = new PreparationTest();
    test.folder = Path.of(arguments[0]);
    TextCorpus corpus =
        TextCorpus.of(List.of(arguments[0] + "/texts.txt"), TextCorpus.Format.DEFAULT);
    test.prepareInSteps(corpus, "killed", 2, Progress.NONE);
  }

  /** Batches of 256 Ki characters, in documents shorter and longer than those. */
  private TextCorpus texts(int batches, String... first) throws IOException {
    Random random = new Random(1);
    StringBuilder text = new StringBuilder(String.join("", first));
    while (text.length() < batches << 18) {
      for (int lines = 1 << random.nextInt(15); lines > 0; lines--) {
        text.append("the bird and the cat ").append(random.nextInt(1000)).append('\n');
      }
      text.append("<|endoftext|>\n");
    }
    Path file = folder.resolve("texts.txt");
    Files.writeString(file, text);
    return TextCorpus.of(List.of(file.toString()), TextCorpus.Format.DEFAULT);
  }

  private static Progress stopBehind(long most) {
    return (work, done, total) -> {
      if (done > most) {
        throw new IllegalStateException("stopped");
      }
    };
  }

  private void assertSame(String name, String other) throws IOException {
    for (String ending : List.of(".bin", ".idx", "-tokenizer/tokenizer.json")) {
      assertThat(folder.resolve(name + ending))
          .hasSameBinaryContentAs(folder.resolve(other + ending));
    }
    DatasetChecksum kept = DatasetChecksum.kept(folder.resolve(name)).orElseThrow();
    assertThat(kept.tokens()).isEqualTo(FileChecksum.of(folder.resolve(name + ".bin")));
    assertThat(kept.index()).isEqualTo(FileChecksum.of(folder.resolve(name + ".idx")));
    if (kept.mask().isPresent()) {
      assertThat(kept.mask()).contains(FileChecksum.of(folder.resolve(name + ".mask")));
    }
  }

  /** Can be gone on with from each batch on. */
  private Preparation.Summary prepareInSteps(
      Corpus corpus, String name, int threads, Progress progress) {
    Preparation.Encoders encoders =
        new Preparation.Encoders(
            tokenizer,
            chat -> {
              int[] ids = tokenizer.encode(chat.messages().getFirst().content());
              boolean[] counted = new boolean[ids.length];
              Arrays.fill(counted, ids.length - 2, ids.length, true);
              return Optional.of(new CountedTokens(ids, counted));
            });
    return Preparation.run(corpus, encoders, folder.resolve(name), threads, 1, progress);
  }

  private Preparation.Summary prepare(Corpus corpus, String name, int threads) {
    return Preparation.run(corpus, tokenizer, folder.resolve(name), threads, Progress.NONE);
  }
}
