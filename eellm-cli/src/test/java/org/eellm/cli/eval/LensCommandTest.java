package org.eellm.cli.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.eellm.cli.Commands.run;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.eellm.EarlyExitModel;
import org.eellm.Pooling;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.cli.Commands.Outcome;
import org.eellm.cli.SmallModelFolder;
import org.eellm.config.TrainConfig.Device;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What heads say, and hidden states, as files. */
final class LensCommandTest {
  private static final List<String> TEXTS = List.of("the cat and", "the bird");

  @TempDir private Path folder;

  @BeforeEach
  void writeModel() throws IOException {
    try (Decoder decoder = SmallModel.plain()) {
      SmallModelFolder.write(folder.resolve("model"), decoder);
    }
    Files.write(folder.resolve("texts.txt"), TEXTS);
  }

  private Outcome of(String command, String... more) {
    List<String> args = new ArrayList<>(List.of(command));
    args.add("--model=" + folder.resolve("model"));
    args.add("--prompts=" + folder.resolve("texts.txt"));
    args.addAll(List.of(more));
    return run(args.toArray(String[]::new));
  }

  @Test
  void lens_ofTexts_hasALineForEachTokenAndHead() throws IOException {
    Outcome outcome = of("lens", "--top", "264");

    assertThat(outcome.code()).as(outcome.err()).isZero();
    List<JsonNode> lines = new ArrayList<>();
    for (String line : outcome.out().lines().toList()) {
      lines.add(new ObjectMapper().readTree(line));
    }
    List<List<Integer>> ids = ids();
    assertThat(lines).hasSize(4 * (ids.get(0).size() + ids.get(1).size() - 2));
    for (JsonNode line : lines) {
      int position = line.path("position").asInt();
      int id = ids.get(line.path("text").asInt() - 1).get(position);
      assertThat(line.path("id").asInt()).isEqualTo(id);
      double sum = 0;
      double entropy = 0;
      double before = 0;
      for (JsonNode candidate : line.path("top")) {
        double logprob = candidate.path("logprob").asDouble();
        assertThat(logprob).isLessThanOrEqualTo(before);
        before = logprob;
        sum += Math.exp(logprob);
        entropy -= Math.exp(logprob) * logprob;
        if (candidate.path("id").asInt() == id) {
          assertThat(line.path("logprob").asDouble()).isCloseTo(logprob, within(1e-6));
        }
      }
      assertThat(sum).as("probabilities of all tokens").isCloseTo(1, within(1e-5));
      assertThat(line.path("entropy").asDouble()).isCloseTo(entropy, within(1e-4));
    }
    assertThat(
            lines.stream()
                .map(line -> line.path("head").asText() + " " + line.path("layer").asInt())
                .distinct())
        .containsExactly("exit_1 1", "exit_2 2", "exit_4 4", "final 5");
  }

  private List<List<Integer>> ids() {
    try (LoadedModel model = LoadedModel.load(folder.resolve("model"), Device.CPU)) {
      return model.prompts(TEXTS);
    }
  }

  @Test
  void states_ofLayers_areWhatTheLibraryGives() throws IOException {
    Path file = folder.resolve("states.safetensors");
    Outcome outcome = of("states", "--layers=2,5", "--output=" + file);

    assertThat(outcome.code()).as(outcome.err()).isZero();
    List<List<Integer>> ids = ids();
    try (SafetensorsFile states = SafetensorsFile.open(file);
        EarlyExitModel model = EarlyExitModel.load(folder.resolve("model"))) {
      assertThat(states.tensors().keySet())
          .containsExactlyInAnyOrder(
              "text_1.ids",
              "text_1.layer_2",
              "text_1.layer_5",
              "text_2.ids",
              "text_2.layer_2",
              "text_2.layer_5");
      for (int text = 0; text < TEXTS.size(); text++) {
        for (int layer : List.of(2, 5)) {
          float[] last = model.hiddenState(TEXTS.get(text), layer, Pooling.LAST);
          float[] written =
              states
                  .tensor("text_%d.layer_%d".formatted(text + 1, layer))
                  .bytes()
                  .toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
          assertThat(written).hasSize(ids.get(text).size() * last.length);
          float[] end = new float[last.length];
          System.arraycopy(written, written.length - last.length, end, 0, last.length);
          assertThat(end).containsExactly(last, within(1e-6f));
        }
      }
    }
    assertThat(of("states", "--output=" + file).err()).contains("exists already");
    assertThat(of("states", "--layers=9", "--output=" + folder.resolve("x")).err())
        .contains("--layers: 9 is outside the model's layers; use 1 to 5");
  }
}
