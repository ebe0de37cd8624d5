package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.cli.Commands.run;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.StreamSupport;
import org.eellm.checkpoint.HuggingFaceFamily;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.config.DataType;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.TrainConfig.Device;
import org.eellm.data.Progress;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.Generator;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.eellm.golden.Stories;
import org.eellm.serve.NodeScripts;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** GGUF files in llama.cpp itself, by way of node-llama-cpp. */
@Tag("slow")
final class LlamaCppTest {
  private static final Path STORIES = Stories.folder();
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir private Path folder;

  private Path export(Path model, String type) {
    Path file = folder.resolve(model.getFileName() + "-" + type + ".gguf");
    run(
            "export",
            "--model",
            model.toString(),
            "--format",
            "gguf",
            "--dtype",
            type,
            "--output",
            file.toString())
        .printed();
    return file;
  }

  private static List<Integer> ids(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).map(JsonNode::asInt).toList();
  }

  private static LoadedModel load(Path model) {
    ModelFolder files = ModelFolder.resolve(model);
    return LoadedModel.load(
        files,
        stored ->
            files.decoder(stored.withDtype(DataType.FLOAT32), Device.CPU, MatrixQuantization.NONE));
  }

  private static List<Integer> greedy(Path model, List<Integer> prompt, int count) {
    try (LoadedModel loaded = load(model)) {
      Request request =
          new Request(prompt, count, Set.of(), DecodingMethod.full(), Sampler.greedy());
      return Generator.generate(
              loaded.decoder(), Limits.of(loaded.decoder()), List.of(request), TokenListener.none())
          .getFirst()
          .ids();
    }
  }

  /** What llama.cpp is to write behind a prompt: a text, or ids. */
  private record Job(Path model, int count, Object prompt) {}

  /** Its answers; all by one process, which takes longest to begin. */
  private static JsonNode inLlamaCpp(List<Job> jobs) throws IOException {
    List<List<Object>> all =
        jobs.stream()
            .map(job -> List.of(job.model().toString(), job.count(), job.prompt()))
            .toList();
    return NodeScripts.install(LlamaCppTest.class, "llamacpp")
        .run("llama.js", JSON.writeValueAsString(all));
  }

  @Test
  void stories_inLlamaCpp_areTheKnownText() throws IOException {
    List<Integer> known = Stories.known(STORIES);
    String opening = "Tom was a little boy";
    List<String> types = List.of("float32", "bfloat16", "q8_0");
    List<Job> jobs = new ArrayList<>();
    for (String type : types) {
      jobs.add(new Job(export(STORIES, type), 256, ""));
    }
    jobs.add(new Job(jobs.getFirst().model(), 80, opening));

    JsonNode answers = inLlamaCpp(jobs);

    for (int i = 0; i < types.size(); i++) {
      int same = i == 0 ? 256 : 60; // rounded weights go their own way some time
      assertThat(ids(answers.get(i).get("ids")).subList(0, same))
          .as(types.get(i))
          .isEqualTo(known.subList(1, 1 + same));
    }
    List<Integer> prompt = ids(answers.get(types.size()).get("prompt"));
    try (LoadedModel loaded = load(STORIES)) {
      assertThat(prompt).isEqualTo(loaded.prompt(opening, "opening"));
    }
    assertThat(ids(answers.get(types.size()).get("ids"))).isEqualTo(greedy(STORIES, prompt, 80));
  }

  @Test
  void families_inLlamaCpp_sayWhatTheySayHere() throws IOException {
    Path corpus = Files.writeString(folder.resolve("corpus.txt"), "the cat and the dog\n");
    Tokenizer tokenizer =
        BpeTrainer.train(
            TextCorpus.of(List.of(corpus.toString()), TextCorpus.Format.DEFAULT),
            260,
            1,
            Progress.NONE);
    List<Integer> prompt = List.of(1, 17, 200, 5, 96, 41, 3);
    List<Path> ours = new ArrayList<>();
    List<Job> jobs = new ArrayList<>();
    for (HuggingFaceFamily family : HuggingFaceFamily.values()) {
      Path theirs = folder.resolve("theirs-" + family);
      family.write(theirs, SafetensorsType.F32, 1);
      tokenizer.save(theirs);
      ours.add(folder.resolve("ours-" + family));
      run("convert", "--model", theirs.toString(), "--output", ours.getLast().toString()).printed();
      jobs.add(new Job(export(ours.getLast(), "float32"), 40, prompt));
    }

    JsonNode answers = inLlamaCpp(jobs);

    for (HuggingFaceFamily family : HuggingFaceFamily.values()) {
      int i = family.ordinal();
      assertThat(ids(answers.get(i).get("ids")))
          .as("%s", family)
          .isEqualTo(greedy(ours.get(i), prompt, 40));
    }
  }

  private static final List<String> NEWER =
      List.of(
          "gemma2",
          "gemma3",
          "phi4_mini",
          "smollm3",
          "granite",
          "olmo2",
          "olmo3",
          "qwen3_moe",
          "olmoe");

  /** Small models in published layouts, beside what PyTorch writes in float64. */
  @Test
  void newerFamilies_inLlamaCpp_sayWhatPyTorchSays() throws IOException {
    Path tokenizer = Files.createDirectories(folder.resolve("pairs"));
    Files.writeString(
        tokenizer.resolve("vocab.json"), "{\"a\":0,\"b\":1,\"ab\":2,\"<|endoftext|>\":3}");
    Files.writeString(tokenizer.resolve("merges.txt"), "#version: 0.2\na b\n");
    List<List<Integer>> texts = new ArrayList<>();
    List<Job> jobs = new ArrayList<>();
    for (String name : NEWER) {
      Path theirs = Path.of("eellm-convert/src/test/resources/families").resolve(name);
      List<Integer> text = text(theirs);
      texts.add(text);
      Path file = folder.resolve(name + ".gguf");
      run(
              "export",
              "--model",
              theirs.toString(),
              "--format",
              "gguf",
              "--dtype",
              "float32",
              "--tokenizer",
              tokenizer.toString(),
              "--output",
              file.toString())
          .printed();
      jobs.add(new Job(file, 24, text.subList(0, text.size() - 24)));
    }

    JsonNode answers = inLlamaCpp(jobs);

    for (int i = 0; i < NEWER.size(); i++) {
      List<Integer> text = texts.get(i);
      assertThat(ids(answers.get(i).get("ids")))
          .as(NEWER.get(i))
          .isEqualTo(text.subList(text.size() - 24, text.size()));
    }
  }

  private static List<Integer> text(Path theirs) {
    try (SafetensorsFile expected = SafetensorsFile.open(theirs.resolve("expected.safetensors"))) {
      return Arrays.stream(expected.tensor("ids").bytes().toArray(ValueLayout.JAVA_LONG_UNALIGNED))
          .mapToObj(Math::toIntExact)
          .toList();
    }
  }
}
