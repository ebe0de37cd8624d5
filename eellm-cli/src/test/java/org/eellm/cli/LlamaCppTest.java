package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.cli.Commands.run;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
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
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** GGUF files in llama.cpp itself, by way of node-llama-cpp. */
@Tag("slow")
final class LlamaCppTest {
  private static final Path STORIES = Stories.folder();
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir private Path folder;

  private Path export(Path model, String type) {
    Path file = folder.resolve(type + ".gguf");
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

  @Test
  void stories_inLlamaCpp_areTheKnownText() throws IOException {
    NodeScripts node = NodeScripts.install(LlamaCppTest.class, "llamacpp");
    List<Integer> known = Stories.known(STORIES);
    String opening = "Tom was a little boy";

    for (String type : List.of("float32", "bfloat16", "q8_0")) {
      Path file = export(STORIES, type);
      JsonNode answer = node.run("llama.js", file.toString(), "256", "\"\"");
      int same = type.equals("float32") ? 256 : 60; // rounded weights go their own way some time
      assertThat(ids(answer.get("ids")).subList(0, same))
          .as(type)
          .isEqualTo(known.subList(1, 1 + same));
    }
    JsonNode answer =
        node.run(
            "llama.js",
            folder.resolve("float32.gguf").toString(),
            "80",
            JSON.writeValueAsString(opening));
    List<Integer> prompt = ids(answer.get("prompt"));
    try (LoadedModel loaded = load(STORIES)) {
      assertThat(prompt).isEqualTo(loaded.prompt(opening, "opening"));
    }
    assertThat(ids(answer.get("ids"))).isEqualTo(greedy(STORIES, prompt, 80));
  }

  @ParameterizedTest
  @EnumSource
  void families_inLlamaCpp_sayWhatTheySayHere(HuggingFaceFamily family) throws IOException {
    NodeScripts node = NodeScripts.install(LlamaCppTest.class, "llamacpp");
    Path theirs = folder.resolve("theirs");
    family.write(theirs, SafetensorsType.F32, 1);
    Path corpus = Files.writeString(folder.resolve("corpus.txt"), "the cat and the dog\n");
    BpeTrainer.train(
            TextCorpus.of(List.of(corpus.toString()), TextCorpus.Format.DEFAULT),
            260,
            1,
            Progress.NONE)
        .save(theirs);
    Path ours = folder.resolve("ours");
    run("convert", "--model", theirs.toString(), "--output", ours.toString()).printed();
    List<Integer> prompt = List.of(1, 17, 200, 5, 96, 41, 3);

    JsonNode answer =
        node.run("llama.js", export(ours, "float32").toString(), "40", prompt.toString());

    assertThat(ids(answer.get("ids")))
        .as(family.name().toLowerCase(Locale.ROOT))
        .isEqualTo(greedy(ours, prompt, 40));
  }

  /** Small models in published layouts, beside what PyTorch writes in float64. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "gemma2",
        "gemma3",
        "phi4_mini",
        "smollm3",
        "granite",
        "olmo2",
        "olmo3",
        "qwen3_moe",
        "olmoe"
      })
  void newerFamilies_inLlamaCpp_sayWhatPyTorchSays(String name) throws IOException {
    NodeScripts node = NodeScripts.install(LlamaCppTest.class, "llamacpp");
    Path theirs = Path.of("eellm-convert/src/test/resources/families").resolve(name);
    Path tokenizer = Files.createDirectories(folder.resolve("pairs"));
    Files.writeString(
        tokenizer.resolve("vocab.json"), "{\"a\":0,\"b\":1,\"ab\":2,\"<|endoftext|>\":3}");
    Files.writeString(tokenizer.resolve("merges.txt"), "#version: 0.2\na b\n");
    Path file = folder.resolve("model.gguf");
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
    List<Integer> text;
    try (SafetensorsFile expected = SafetensorsFile.open(theirs.resolve("expected.safetensors"))) {
      text =
          Arrays.stream(expected.tensor("ids").bytes().toArray(ValueLayout.JAVA_LONG_UNALIGNED))
              .mapToObj(Math::toIntExact)
              .toList();
    }
    int prompt = text.size() - 24;

    JsonNode answer =
        node.run("llama.js", file.toString(), "24", text.subList(0, prompt).toString());

    assertThat(ids(answer.get("ids"))).isEqualTo(text.subList(prompt, text.size()));
  }
}
