package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.eellm.cli.Commands.json;
import static org.eellm.cli.Commands.print;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.StreamSupport;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.config.TrainConfig.Device;
import org.eellm.decode.Engine;
import org.eellm.decode.Generator;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.ExitTrace;
import org.eellm.eval.GreedyContinuation;
import org.eellm.golden.Stories;
import org.eellm.train.metrics.MetricsFile;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A real, trained Llama without exits, loaded as it is, and what it is known to say. */
final class StoriesTest {

  @TempDir private Path folder;

  private static List<Integer> ids(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).map(id -> id.asInt()).toList();
  }

  @Tag("vectors")
  @ParameterizedTest
  @MethodSource("org.eellm.golden.Stories#all")
  void generate_greedily_writesTheKnownText(Path stories) throws IOException {
    List<Integer> known = Stories.known(stories);
    int count = known.size() - 1;

    JsonNode result =
        json("generate --json --max-tokens " + count, "--model", stories, "--prompt", "");

    assertThat(ids(result.get("ids"))).isEqualTo(known.subList(1, known.size()));
    assertThat(result.get("text").asText())
        .startsWith("Once upon a time, there was a little girl named Lily.");
  }

  @Tag("vectors")
  @ParameterizedTest
  @MethodSource("org.eellm.golden.Stories#all")
  void logits_ofTheKnownText_areTheKnownOnes(Path stories) throws IOException {
    List<Integer> known = Stories.known(stories);
    FloatBuffer logits = npy(stories.resolve("golden_logits.npy"));
    List<float[]> ours = new ArrayList<>();
    Sampler reading =
        prediction -> {
          ours.add(prediction.logits());
          return prediction.position() < known.size() ? known.get(prediction.position()) : 0;
        };
    try (LoadedModel model = LoadedModel.load(stories, Device.CPU)) {
      int vocabulary = model.architecture().model().vocabSize();
      int positions = logits.remaining() / vocabulary;
      Generator.generate(
          model.decoder(),
          Limits.of(model.decoder()),
          List.of(
              new Request(known.subList(0, 1), positions, Set.of(), ExitPolicies.full(), reading)),
          TokenListener.none());

      assertThat(ours).hasSize(positions);
      for (float[] row : ours) {
        float[] expected = new float[vocabulary];
        logits.get(expected);
        assertThat(row).containsExactly(expected, within(1e-3f));
      }
    }
  }

  /** How often the final head says the next token, put after each layer; known from PyTorch. */
  @Tag("vectors")
  @ParameterizedTest
  @MethodSource("org.eellm.golden.Stories#all")
  void lens_ofTheKnownText_agreesAsOftenAsIsKnown(Path stories) throws IOException {
    List<Integer> known = Stories.known(stories);
    JsonNode layers = Stories.golden(stories).get("logitlens_per_layer_loss_acc");
    ModelFolder files = ModelFolder.resolve(stories);
    try (LoadedModel model =
            LoadedModel.load(files, stored -> files.logitLens(stored, Device.CPU));
        Engine engine = model.engine(1, Limits.MAX_PENDING)) {
      EvaluatedModel subject = new EvaluatedModel(model, engine);
      ExitTrace trace =
          ExitTrace.of(
              subject,
              GreedyContinuation.write(subject, List.of(known.subList(0, 1)), known.size() - 1),
              new Calibration.OfPolicy(PolicyName.MAX_PROBABILITY, new TreeMap<>()));

      assertThat(trace.exits()).containsExactly(1, 2, 3, 4);
      for (int i = 0; i < 4; i++) {
        assertThat(trace.agreement(i)).isEqualTo(layers.get(i).get(1).asDouble());
      }
    }
  }

  /** From a plain Llama to one that exits, on text of its own. */
  @Test
  void exits_addedAndTuned_agreeMoreAndLeaveTheTrunkAlone() throws IOException {
    Path stories = Stories.folder();
    Path openings =
        Files.writeString(
            folder.resolve("openings.txt"),
            "Once upon a time, there was a little\nOnce upon\nOnce\n".repeat(2));
    Path data = folder.resolve("written");
    Path written =
        Files.writeString(
            folder.resolve("written.jsonl"),
            print(
                "generate --temperature 1 --max-tokens 300 --json --seed 2",
                "--model",
                stories,
                "--prompt-file",
                openings));
    print("prepare", "--input", written, "--output", data, "--tokenizer", stories);
    Path model = folder.resolve("model");
    print("add-exits --exits 2,3,4 --head norm,mlp", "--model", stories, "--output", model);
    byte[] before = Files.readAllBytes(model.resolve("model.safetensors"));
    Path config =
        Files.writeString(
            folder.resolve("tune.yaml"),
            """
            data: {sources: ["%s"], tokenizer: "%s", sequence_length: 64, split: [80, 20, 0]}
            train: {steps: 60, micro_batch_size: 8, global_batch_size: 8, eval_interval: 60, threads: 1}
            optimizer: {learning_rate: 3e-3, warmup_steps: 5}
            tune: {target: final_head}
            """
                .formatted(data, stories));
    Path tuned = folder.resolve("tuned");

    print("tune", "--model", model, "--config", config, "--output", tuned);

    List<JsonNode> evaluations =
        MetricsFile.read(tuned.resolve("metrics.jsonl")).stream()
            .filter(line -> line.has("validation_loss_exit_2"))
            .toList();
    for (String exit : List.of("exit_2", "exit_3", "exit_4")) {
      assertThat(figure(evaluations.getLast(), "loss", exit))
          .isLessThan(figure(evaluations.getFirst(), "loss", exit) - toLearn(exit));
      assertThat(figure(evaluations.getLast(), "agreement", exit))
          .isGreaterThan(figure(evaluations.getFirst(), "agreement", exit) + 0.05);
    }
    assertThat(model.resolve("model.safetensors")).hasBinaryContent(before);
    Path merged = folder.resolve("merged");
    print("add-exits", "--model", stories, "--heads", tuned, "--output", merged);
    new ObjectMapper()
        .readTree(Files.readString(merged.resolve("conversion.json")))
        .path("tensors")
        .forEach(
            tensor ->
                assertThat(tensor.path("origins").elements().next())
                    .isEqualTo(tensor.get("sha256")));
    String generate = "generate --max-tokens 60 --json --prompt Once --threshold ";
    JsonNode whole = json("generate --max-tokens 60 --json --prompt Once", "--model", stories);
    JsonNode sure = json(generate + "1", "--model", merged);
    JsonNode early = json(generate + "0.5", "--model", merged);
    JsonNode apart = json(generate + "0.5", "--model", stories, "--heads", tuned);
    assertThat(sure.get("ids")).isEqualTo(whole.get("ids"));
    assertThat(ids(early.get("exits"))).anyMatch(layer -> layer < 5);
    assertThat(apart.get("ids")).isEqualTo(early.get("ids"));
  }

  /** What an exit has to lose; the last one knows nearly what the final head knows. */
  private static double toLearn(String exit) {
    return exit.equals("exit_4") ? 0.1 : 0.3;
  }

  private static double figure(JsonNode line, String name, String exit) {
    return line.get("validation_%s_%s".formatted(name, exit)).asDouble();
  }

  /** The float32 values of a NumPy file of version 1. */
  private static FloatBuffer npy(Path file) throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    return bytes
        .position(10 + bytes.getShort(8))
        .slice()
        .order(ByteOrder.LITTLE_ENDIAN)
        .asFloatBuffer();
  }
}
