package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.eellm.config.TrainConfig.Device;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.SmallModel;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.Detokenizer;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.sweep.AnswerLosses;
import org.eellm.eval.task.TaskData;
import org.eellm.eval.task.TaskFile;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Losses beside answers that were written apart. */
final class AnswerLossesTest {
  private static final int MAX_TOKENS = 8;

  @TempDir private Path folder;
  private LoadedModel model;
  private Engine engine;
  private EvaluatedModel subject;

  @BeforeEach
  void load() throws IOException {
    try (Decoder decoder = SmallModel.plain()) {
      SmallModelFolder.write(folder.resolve("model"), decoder);
    }
    model = LoadedModel.load(folder.resolve("model"), Device.CPU);
    engine = model.engine(Limits.BATCH_SIZE, Limits.MAX_PENDING);
    subject = new EvaluatedModel(model, engine);
  }

  @AfterEach
  void close() {
    engine.close();
    model.close();
  }

  private static Calibration calibration(double threshold) {
    TreeMap<Integer, Double> thresholds = new TreeMap<>();
    List.of(1, 2, 4).forEach(layer -> thresholds.put(layer, threshold));
    return Calibration.of(PolicyName.MAX_PROBABILITY, thresholds, new TreeMap<>());
  }

  /** A text, one after the other and not by the engine. */
  private String text(List<Integer> prompt, DecodingMethod decoding, int tokens) {
    Result result =
        model
            .generate(
                List.of(new Request(prompt, tokens, model.endTokens(), decoding, Sampler.greedy())))
            .getFirst();
    Detokenizer detokenizer = model.detokenizer(prompt);
    StringBuilder text = new StringBuilder();
    result.ids().forEach(id -> text.append(detokenizer.append(id)));
    return text.append(detokenizer.finish()).toString();
  }

  private static double[] numbers(List<Double> values) {
    return values.stream().mapToDouble(value -> value).toArray();
  }

  private static DecodingMethod early(double threshold) {
    return new DecodingMethod.EarlyExit(calibration(threshold).policy());
  }

  /** The full model's answers are the right ones, so that each other answer is lower by 1. */
  @Test
  void losses_ofATask_areHowMuchLowerScoresAre() throws IOException {
    List<String> starts = List.of("the cat and", "the bird", "dog");
    List<String> records = new ArrayList<>();
    List<Double> expected = new ArrayList<>();
    for (String start : starts) {
      List<Integer> prompt = model.prompt(start, start);
      String full = text(prompt, DecodingMethod.full(), MAX_TOKENS);
      records.add(new ObjectMapper().writeValueAsString(Map.of("start", start, "end", full)));
      expected.add(text(prompt, early(0), MAX_TOKENS).strip().equals(full.strip()) ? 0.0 : 1.0);
    }
    Path data = Files.createDirectories(folder.resolve("data"));
    Files.write(data.resolve("ends.jsonl"), records);
    Path task =
        Files.writeString(
            folder.resolve("ends.yaml"),
            """
            task: ends
            output_type: generate_until
            files: ["ends.jsonl"]
            doc_to_text: "{{ start }}"
            doc_to_target: "{{ end }}"
            max_gen_toks: %d
            metrics: [exact_match]
            """
                .formatted(MAX_TOKENS));
    AnswerLosses losses =
        new AnswerLosses(
            subject,
            TaskFile.read(task.toString()),
            new TaskData(data, TaskData.ALL, 1),
            AnswerLossesTest::calibration);

    assertThat(expected).contains(1.0);
    assertThat(losses.apply(0)).containsExactly(numbers(expected));
    assertThat(losses.apply(1)).containsOnly(0);
  }
}
