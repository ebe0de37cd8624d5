package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import org.eellm.EarlyExitModel;
import org.eellm.checkpoint.HuggingFaceFamily;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.config.ConfigFile;
import org.eellm.config.ExitLayout;
import org.eellm.config.TrainConfig.Device;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.data.IndexedDataset;
import org.eellm.data.IndexedDatasetWriter;
import org.eellm.data.Progress;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.LoadedModel;
import org.eellm.golden.Stories;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Files that users get from elsewhere, damaged at random from a fixed seed: using one either works
 * or is refused in one line. No other exception, no error of Java's, no native one and no hang.
 */
final class MutatedFilesTest {
  /** Of each kind; {@code -Dmutations=10000} takes some minutes. */
  private static final int TIMES = Integer.getInteger("mutations", 200);

  @TempDir private Path folder;

  /** A kind of file. */
  private enum Kind {
    YAML("run.yaml"),
    CONFIG("model/config.json"),
    SAFETENSORS("model/model.safetensors"),
    TOKENIZER("tokenizer/tokenizer.json"),
    BYTE_PAIRS("pairs/tokenizer.json"),
    INDEX("set.idx"),
    TOKENS("set.bin"),
    GGUF("model.gguf"),
    GGUF_EXITS("model.exits.gguf");

    private final String file;

    Kind(String file) {
      this.file = file;
    }

    /** Writes a whole file of the kind, and what belongs to it. */
    void write(Path folder) throws IOException {
      Path model = folder.resolve("model");
      switch (this) {
        case YAML ->
            ConfigFile.write(
                ConfigFile.read(Path.of("configs/quickstart.yaml"), List.of()), path(folder));
        case CONFIG, SAFETENSORS -> {
          HuggingFaceFamily.LLAMA_3_2.write(model, SafetensorsType.F32, 1);
          bytePairs().save(model);
        }
        case TOKENIZER -> Tokenizer.load(Stories.folder()).save(folder.resolve("tokenizer"));
        case BYTE_PAIRS -> bytePairs().save(folder.resolve("pairs"));
        case INDEX, TOKENS -> {
          try (IndexedDatasetWriter writer =
              IndexedDatasetWriter.create(folder.resolve("set"), 100)) {
            for (int document = 0; document < 20; document++) {
              writer.add(1, 2, 3 + document);
              writer.endDocument();
            }
            writer.finish();
            writer.commit();
          }
        }
        case GGUF, GGUF_EXITS -> {
          HuggingFaceFamily.LLAMA_3_2.write(model, SafetensorsType.F32, 1);
          bytePairs().save(model);
          ExitLayout exits = new ExitLayout(List.of(2), true, true, false, true);
          try (SourceModel source = ModelReader.open(model)) {
            GgufWriter.write(
                ExitEditor.add(source, exits, ExitEditor.Start.COPY, 1),
                GGUF.path(folder),
                GgufWriter.Quantization.Q8_0,
                new Options(Optional.empty(), Optional.empty()),
                (done, all) -> {});
          }
        }
      }
    }

    /** The bytes, the end of text, and a few pairs: 264 tokens. */
    private static Tokenizer bytePairs() {
      return BpeTrainer.train(
          Corpus.of(List.of("the cat and the dog and the bird ".repeat(3))), 264, 1, Progress.NONE);
    }

    Path path(Path folder) {
      return folder.resolve(file);
    }

    byte[] damaged(byte[] whole, Mutations mutations) throws IOException {
      boolean json = this == CONFIG || this == TOKENIZER || this == BYTE_PAIRS;
      return json && mutations.below(3) > 0
          ? mutations.damagedJson(whole)
          : mutations.damaged(whole);
    }

    /** Uses the file as commands do. */
    void use(Path folder) {
      switch (this) {
        case YAML -> ConfigFile.read(path(folder), List.of());
        case CONFIG, SAFETENSORS -> load(folder.resolve("model"));
        case TOKENIZER, BYTE_PAIRS -> {
          Tokenizer tokenizer = Tokenizer.load(Objects.requireNonNull(path(folder).getParent()));
          for (String text : TEXTS) {
            tokenizer.decode(tokenizer.encode(text));
          }
        }
        case INDEX, TOKENS -> {
          try (IndexedDataset set = IndexedDataset.open(folder.resolve("set"))) {
            set.check(Integer.MAX_VALUE);
            for (long sequence = 0; sequence < set.sequences(); sequence++) {
              set.sequence(sequence);
            }
          }
        }
        case GGUF, GGUF_EXITS -> load(GGUF.path(folder));
      }
    }

    /** What decides about numbers and memory is also set up; weights are only opened and packed. */
    private void load(Path model) {
      ModelReader.open(model).close();
      if (this == CONFIG) {
        EarlyExitModel.at(model).threads(1).load().close();
      } else {
        LoadedModel.load(model, Device.CPU).close();
      }
    }
  }

  private static final List<String> TEXTS =
      List.of("", "a", "Once upon a time", "a".repeat(40) + "b", " \n\t0129 naïve 🦙 日本 <s></s>");

  @Timeout(300)
  @ParameterizedTest
  @EnumSource
  void use_damagedFiles_worksOrIsRefusedInOneLine(Kind kind) throws IOException {
    kind.write(folder);
    Path file = kind.path(folder);
    byte[] whole = Files.readAllBytes(file);
    kind.use(folder);
    Mutations mutations = new Mutations(17);
    int refused = 0;
    Map<String, String> wrong = new TreeMap<>(); // one of each kind
    for (int time = 0; time < TIMES; time++) {
      byte[] damaged = kind.damaged(whole, mutations);
      Files.write(file, damaged);
      try {
        kind.use(folder);
      } catch (Throwable failure) {
        refused++;
        if (!isRefusal(failure)) {
          StackTraceElement[] trace = failure.getStackTrace();
          wrong.putIfAbsent(
              failure.getClass() + (trace.length == 0 ? "" : " at " + trace[0]),
              "damage %d: %s".formatted(time, failure.getMessage()));
        }
      }
    }
    assertThat(wrong).isEmpty();
    assertThat(refused).isGreaterThan(TIMES / 20);
    Files.write(file, whole);
    assertThatCode(() -> kind.use(folder)).doesNotThrowAnyException();
  }

  private static boolean isRefusal(Throwable failure) {
    String message = String.valueOf(failure.getMessage());
    return failure.getClass().getPackageName().startsWith("org.eellm")
        && !message.isBlank()
        && message.length() < 1000
        && !message.matches("(?s).*(\n|StreamReadFeature|Source: |java\\.|jackson).*");
  }
}
