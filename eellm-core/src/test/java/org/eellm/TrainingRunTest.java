package org.eellm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.eellm.data.DataException;
import org.eellm.data.Preparation;
import org.eellm.data.Progress;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.train.TinyRun;
import org.eellm.train.metrics.TrainEvent;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class TrainingRunTest {
  @TempDir private Path folder;

  /** A configuration for a prepared text. */
  private RunConfig textConfig() throws IOException {
    Path text = folder.resolve("text.txt");
    Files.writeString(
        text, "the cat and the dog and the bird and the end\n<|endoftext|>\n".repeat(200));
    TextCorpus corpus = TextCorpus.of(List.of(text.toString()), TextCorpus.Format.DEFAULT);
    Tokenizer tokenizer = BpeTrainer.train(corpus, 270, 1, Progress.NONE);
    Path prefix = folder.resolve("set");
    Preparation.run(corpus, tokenizer, prefix, 1, Progress.NONE);
    Path file = folder.resolve("config.yaml");
    Files.writeString(
        file,
        """
        model: {hidden_size: 32, num_layers: 3, num_heads: 2, max_positions: 32}
        exits: {layers: [1], weights: [0.5]}
        data: {sources: ["%s"], tokenizer: "%s", split: [90, 10, 0], sequence_length: 32}
        train: {steps: 30, micro_batch_size: 4, global_batch_size: 4, eval_interval: 30, threads: 1}
        optimizer: {learning_rate: 1e-2, schedule: constant, warmup_steps: 5}
        """
            .formatted(prefix, Preparation.tokenizerFolder(prefix)));
    return ConfigFile.read(file, List.of());
  }

  @Test
  void run_toTheEnd_tellsEventsAndMakesAModelThatGenerates() throws IOException {
    RunConfig config = textConfig();
    Path template = folder.resolve("set-tokenizer/chat_template.jinja");
    Files.writeString(template, "{{ messages[0].content }}");
    List<TrainEvent> events = new ArrayList<>();

    TrainingRun.Outcome outcome =
        TrainingRun.of(config).output(folder.resolve("run")).onEvent(events::add).run();

    assertThat(outcome.finished()).isTrue();
    assertThat(events.stream().filter(TrainEvent.Step.class::isInstance))
        .hasSize(config.train().steps());
    try (EarlyExitModel model = EarlyExitModel.load(folder.resolve("run"))) {
      assertThat(model.path()).isEqualTo(outcome.checkpoint());
      assertThat(model.tokenizer().chatTemplate()).hasValue("{{ messages[0].content }}");
      assertThat(model.complete("the cat and the", Decoding.lossless().withMaxTokens(2)))
          .startsWith(" ");
    }
  }

  @Test
  void run_documentsApart_learnsOtherThanJoined() throws IOException {
    RunConfig joined = textConfig();
    RunConfig apart =
        ConfigFile.read(
            folder.resolve("config.yaml"), List.of("data.attend_across_documents=false"));

    assertThat(validationLoss(apart, "apart")).isNotEqualTo(validationLoss(joined, "joined"));
  }

  private double validationLoss(RunConfig config, String name) {
    List<Double> losses = new ArrayList<>();
    TrainingRun.of(config)
        .output(folder.resolve(name))
        .onEvent(
            event -> {
              if (event instanceof TrainEvent.Evaluation evaluation) {
                losses.add(evaluation.heads().lastEntry().getValue().loss());
              }
            })
        .run();
    return losses.getLast();
  }

  @Test
  void run_documentsApartWithoutTheirEnd_isRefused() throws IOException {
    RunConfig config = textConfig();
    String tokenizer = config.data().tokenizer().orElseThrow();
    RunConfig other =
        ConfigFile.read(
            TinyRun.configFile(folder),
            List.of(
                "model.vocab_size=0",
                "data.tokenizer=" + tokenizer,
                "data.attend_across_documents=false"));

    assertThatThrownBy(() -> TrainingRun.of(other).output(folder.resolve("run")).run())
        .isInstanceOf(DataException.class)
        .hasMessageContaining("its first document ends with token 31, not with the tokenizer's");
  }

  @Test
  void run_stoppedAndResumed_goesOn() {
    RunConfig config = TinyRun.config(folder);
    List<Long> steps = new ArrayList<>();
    TrainingRun run =
        TrainingRun.of(config)
            .output(folder.resolve("run"))
            .onEvent(event -> steps.add(event.step()))
            .stopWhen(() -> steps.size() >= 5);
    assertThat(run.run().finished()).isFalse();
    assertThat(steps).contains(5L).doesNotContain(6L);

    TrainingRun.Outcome rest = TrainingRun.of(config).output(folder.resolve("run")).resume().run();

    assertThat(rest.finished()).isTrue();
  }

  @Test
  void run_listenerThrows_endsTheRun() {
    TrainingRun run =
        TrainingRun.of(TinyRun.config(folder))
            .output(folder.resolve("run"))
            .onEvent(
                _ -> {
                  throw new IllegalArgumentException("no");
                });
    assertThatThrownBy(run::run).isInstanceOf(IllegalArgumentException.class).hasMessage("no");
  }

  @Test
  void run_withoutAFolderOrInAUsedOne_isRefused() {
    RunConfig config = TinyRun.config(folder);
    assertThatThrownBy(() -> TrainingRun.of(config).run())
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("output(path)");
    assertThatThrownBy(() -> TrainingRun.of(config).output(folder).run())
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("is not empty");
  }
}
