package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.WeightFiles;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.Checksums;
import org.eellm.config.ConfigFile;
import org.eellm.config.ExitLayout;
import org.eellm.config.RunConfig;
import org.eellm.config.TuneConfig;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.train.TinyRun;
import org.eellm.train.Trainer;
import org.eellm.train.metrics.MetricsSink;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/** Exits on frozen models of all families. */
final class FamilyTuningTest {
  static final List<String> NAMES = FamiliesTest.NAMES;

  @TempDir private Path folder;

  @ParameterizedTest
  @FieldSource("NAMES")
  void tune_family_learnsHeadsAndLeavesItsTextAlone(String name) throws IOException {
    Path theirs = FamiliesTest.theirs(name);
    Path model = folder.resolve("model");
    try (SourceModel source = ModelReader.open(theirs)) {
      SourceModel read = name.equals("phi4_mini") ? source.withMaxPositions(64) : source;
      ExitLayout exits = new ExitLayout(List.of(1, 2), true, true, false, false);
      ModelWriter.writeModel(
          ExitEditor.add(read, exits, ExitEditor.Start.COPY, 1),
          model,
          Options.asItIs(),
          (done, total) -> {});
    }

    Path heads = tune(model);

    Map<String, String> before = heads(WeightFiles.open(model));
    Map<String, String> after = heads(WeightFiles.openHeads(heads));
    assertThat(after.keySet()).isEqualTo(before.keySet());
    assertThat(after).isNotEqualTo(before);
    List<Integer> text = FamilyLogitsTest.text(theirs);
    assertThat(
            FamilyLogitsTest.greedy(
                new ModelFolder(model, Optional.of(heads)), text, DecodingMethod.lossless()))
        .isEqualTo(text.subList(text.size() - FamilyLogitsTest.GREEDY, text.size()));
    try (SourceModel source = ModelReader.open(model);
        SourceModel tuned = ExitEditor.replace(source, heads)) {
      Path exported = folder.resolve("exported");
      ModelWriter.writeHuggingFace(tuned, exported, Options.asItIs(), (done, total) -> {});
      FamiliesTest.assertSameText(theirs, exported);
    }
  }

  private Path tune(Path model) throws IOException {
    TinyRun.configFile(folder); // and its data
    Path file =
        Files.writeString(
            folder.resolve("tune.yaml"),
            """
            data: {sources: ["%s"], split: [80, 20, 0], sequence_length: 16}
            train: {steps: 20, micro_batch_size: 2, global_batch_size: 4, threads: 1}
            optimizer: {learning_rate: 1e-2, schedule: constant}
            """
                .formatted(folder.resolve("data")));
    RunConfig config =
        ConfigFile.readTuning(
            ConfigFile.Text.of(file),
            List.of(),
            new TuneConfig(
                Optional.of(model.toString()),
                Optional.empty(),
                TuneConfig.Target.TEXT,
                TuneConfig.Lora.none()),
            ModelFolder.resolve(model).config().architecture());
    try (Trainer trainer = Trainer.start(config, folder.resolve("run"))) {
      return trainer.run(MetricsSink.none(), () -> false).checkpoint();
    }
  }

  private static Map<String, String> heads(WeightFiles files) {
    try (files) {
      Map<String, String> sums = new TreeMap<>();
      files
          .tensors()
          .forEach(
              (name, tensor) -> {
                if (name.startsWith("exits.")) {
                  sums.put(name, Checksums.of(tensor.bytes()));
                }
              });
      return sums;
    }
  }
}
