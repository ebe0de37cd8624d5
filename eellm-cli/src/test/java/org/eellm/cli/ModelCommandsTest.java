package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.cli.Commands.json;
import static org.eellm.cli.Commands.runWords;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.StreamSupport;
import org.eellm.cli.Commands.Outcome;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.cost.ParameterCount;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.golden.GoldenCase;
import org.eellm.model.Decoder;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code inspect}, {@code convert}, {@code add-exits} and {@code export} from their outside. */
final class ModelCommandsTest {
  private static final GoldenCase GOLDEN = GoldenCase.named("llama_mlp_norm");

  private static final Path FAMILIES = Path.of("eellm-convert/src/test/resources/families");

  @TempDir private Path folder;

  @Test
  void inspect_saysShapeExitsParametersAndMemory() throws IOException {
    JsonNode report = json("inspect --json", GOLDEN.folder());

    ParameterCount count = ParameterCount.of(GOLDEN.architecture());
    assertThat(report.path("kind").asText()).isEqualTo("Hugging Face folder, model_type llama");
    assertThat(report.at("/exits/layers").toString()).isEqualTo("[1,3]");
    assertThat(report.at("/exits/head").asText()).isEqualTo("mlp,norm");
    assertThat(report.at("/parameters/layers").asLong()).isEqualTo(count.trunk());
    assertThat(report.path("total_parameters").asLong()).isEqualTo(count.total());
    assertThat(report.at("/formats/f32").asLong()).isEqualTo(count.total());
    assertThat(report.at("/memory/serve_weights").asLong()).isEqualTo(4 * count.total());
    // 4 layers of 4 key/value heads of 8, keys and values, float32
    assertThat(report.at("/memory/serve_cache_per_token").asLong())
        .isEqualTo(4 * 4 * 8 * 2 * Float.BYTES);
    // weights, gradients and AdamW's two moments
    assertThat(report.at("/memory/training").asLong()).isEqualTo(16 * count.total());
    assertThat(runWords("inspect", GOLDEN.folder()).out())
        .contains("exits       after layers 1, 3; head: mlp,norm")
        .contains("to train    ");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          gemma2    | rmsnorm around 1, norms around branches, rope, a window of 7 in 2 layers, geglu_tanh, capped scores, scaled embeddings, capped logits, output matrix tied
          olmo3     | rmsnorm, norms after branches, rope scaled by yarn, a window of 7 in 3 layers, rope of its own there, swiglu, norms of all queries and of all keys
          smollm3   | rmsnorm, rope, no positions in 1 layers, swiglu, output matrix tied
          qwen3_moe_mixed | rmsnorm, rope, a window of 7 in 4 layers, swiglu, 2 of 6 experts of inner 20 in 3 layers, norms of each head's query and key
          phi4_mini | rmsnorm, rope scaled by longrope, 6 of a head's 8 rotated, swiglu, output matrix tied
          """)
  void inspect_family_namesItsParts(String name, String parts) {
    assertThat(runWords("inspect", FAMILIES.resolve(name)).out()).contains("parts       " + parts);
  }

  @Test
  void inspect_experts_saysHowManyATokensPassMultipliesWith() {
    int hidden = 24;
    int attention = hidden * (2 * 4 + 2 * 2) * 8 + 2 * 8;
    int layer = attention + 2 * hidden + 6 * hidden; // and the router
    int all = 4 * (layer + 6 * 3 * hidden * 20) + hidden + 48 * hidden;
    int active = 4 * (layer + 2 * 3 * hidden * 20) + hidden + 48 * hidden;
    assertThat(runWords("inspect", FAMILIES.resolve("qwen3_moe")).out())
        .contains("parameters  %,d: ".formatted(all))
        .contains("; a token's pass multiplies with %,d".formatted(active))
        .doesNotContain("to train");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "convert | rope: the factors for short texts, of up to 16 tokens; --max-positions 64 takes"
            + " those for long ones",
        "convert --max-positions 64 | rope: the factors for long texts, of up to 64 tokens;"
            + " --max-positions 16 takes those for short ones"
      })
  void convert_longRope_saysWhichFactorsItTakes(String command, String line) {
    Path model = FAMILIES.resolve("phi4_mini");
    Outcome outcome =
        runWords("%s --model %s --output %s".formatted(command, model, folder.resolve("out")));
    assertThat(outcome.code()).isZero();
    assertThat(outcome.err()).contains(line);
  }

  @Test
  void inspect_check_tellsOfValuesThatAreNoNumbers() throws IOException {
    Path model = copy();
    byte[] bytes = Files.readAllBytes(model.resolve("model.safetensors"));
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putFloat(bytes.length - 4, Float.NaN);
    Files.write(model.resolve("model.safetensors"), bytes);

    assertThat(runWords("inspect --check", model).out())
        .contains("1 of %d tensors hold values that are NaN or infinite".formatted(tensors()))
        .containsPattern("(?m)^[0-9a-f]{64} {2}model\\.norm\\.weight F32 \\[64]$");
    assertThat(runWords("inspect --check", GOLDEN.folder()).out())
        .contains("all of %d tensors are finite".formatted(tensors()));
    Outcome converted = runWords("convert --model", model, "--output", folder.resolve("out"));
    assertThat(converted.code()).isZero();
    assertThat(converted.err()).contains("holds 1 values that are NaN or infinite");
  }

  private static long tensors() {
    JsonNode checked = json("inspect --json --check", GOLDEN.folder()).path("tensors");
    return StreamSupport.stream(checked.spliterator(), false).count();
  }

  private Path copy() throws IOException {
    Path model = Files.createDirectory(folder.resolve("model"));
    for (String name : List.of("config.json", "model.safetensors")) {
      Files.copy(GOLDEN.folder().resolve(name), model.resolve(name));
    }
    return model;
  }

  @Test
  void convertAddAndRemoveAndExport_giveBackWhatTheyWereGiven() throws IOException {
    Path model = copy();
    Path fewer = folder.resolve("fewer");
    Path more = folder.resolve("more");
    Path plain = folder.resolve("plain");
    Path back = folder.resolve("back");

    assertThat(runWords("add-exits --remove 3 --model", model, "--output", fewer).code()).isZero();
    assertThat(runWords("add-exits --exits 2-3 --model", fewer, "--output", more).code()).isZero();
    assertThat(runWords("export --format hf --model", model, "--output", plain).code()).isZero();
    assertThat(runWords("convert --model", plain, "--output", back).code()).isZero();

    assertThat(json("inspect --json", fewer).at("/exits/layers").toString()).isEqualTo("[1]");
    JsonNode exits = json("inspect --json", more).path("exits");
    assertThat(exits.path("layers").toString()).isEqualTo("[1,2,3]");
    assertThat(exits.path("head").asText()).isEqualTo("mlp,norm"); // as the others
    assertThat(plain.resolve("exits.json")).exists();
    JsonNode before = json("inspect --json --check", model).path("tensors");
    JsonNode after = json("inspect --json --check", back).path("tensors");
    assertThat(checksums(after)).containsExactlyInAnyOrderElementsOf(checksums(before));
  }

  /** An own matrix of many tokens would cost more than the layers that an exit saves. */
  @ParameterizedTest
  @CsvSource({"300, '', false", "65537, '', true", "65537, --no-tie, false", "300, --tie, true"})
  void exits_ofLargeVocabulary_shareOutputMatrix(int tokens, String option, boolean tied)
      throws IOException {
    ModelConfig shape =
        ModelConfig.builder()
            .vocabSize(tokens)
            .hiddenSize(8)
            .numLayers(2)
            .numHeads(1)
            .maxPositions(8)
            .build();
    Path model = folder.resolve("model");
    Path out = folder.resolve("out");
    try (Decoder decoder =
        Decoder.allocate(new Architecture(shape, ExitLayout.none()), Torch.cpu())) {
      SmallModelFolder.write(model, decoder);
    }

    assertThat(
            runWords(
                    ("add-exits --exits 1 --model " + model + " " + option).strip() + " --output",
                    out)
                .code())
        .isZero();

    assertThat(json("inspect --json", out).at("/exits/tie_output").asBoolean()).isEqualTo(tied);
  }

  private static List<String> checksums(JsonNode tensors) {
    return StreamSupport.stream(tensors.spliterator(), false)
        .map(tensor -> tensor.path("name").asText() + " " + tensor.path("sha256").asText())
        .toList();
  }

  /** One line, exit code 1, and nothing left. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "inspect MODEL",
        "convert --model MODEL --output OUT",
        "add-exits --model MODEL --exits 2 --output OUT",
        "export --model MODEL --format hf --output OUT",
        "export --model MODEL --format gguf --output OUT",
        "generate --model MODEL --prompt a",
      })
  void damagedModel_isRefusedInOneLine(String command) throws IOException {
    Path model = copy();
    byte[] whole = Files.readAllBytes(model.resolve("model.safetensors"));
    Files.write(model.resolve("model.safetensors"), Arrays.copyOf(whole, whole.length - 1));
    Path out = folder.resolve("out");

    Outcome outcome =
        runWords(command.replace("MODEL", model.toString()).replace("OUT", out.toString()));

    assertThat(outcome.code()).isEqualTo(1);
    assertThat(outcome.err().strip()).startsWith("eellm: ").doesNotContain("\n");
    assertThat(folder).isDirectoryNotContaining("glob:**/*out*");
  }

  /** Settings that cannot be honoured, or would do nothing. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      textBlock =
          """
          add-exits --model MODEL --output OUT | --exits: is missing
          add-exits --model MODEL --exits 2 --seed 3 --output OUT | --seed: has no effect without --init random
          add-exits --model MODEL --remove 1 --tie --output OUT | --head, --tie: have no effect without --exits
          add-exits --model MODEL --heads MODEL --exits 2 --output OUT | --heads: says all of the exits
          add-exits --model MODEL --exits 2 --head norm --output OUT | all exits of a model are alike
          add-exits --model MODEL --exits 2 --head lstm --output OUT | 'lstm' is unknown
          add-exits --model MODEL --exits 9 --output OUT | --exits: the model has no layer 9; use 1..4
          add-exits --model MODEL --exits 0 --output OUT | --exits: the model has no layer 0; use 1..4
          add-exits --model MODEL --exits 1-999999 --output OUT | --exits: the model has no layer 5; use 1..4
          add-exits --model MODEL --exits 3-2 --output OUT | --exits: '3-2' ends before it begins
          add-exits --model MODEL --exits 1 --output OUT | --exits: the model has an exit after layer 1 already
          add-exits --model MODEL --exits 2 --head EMBEDDING,norm --output OUT | --head: embedding means
          add-exits --model MODEL --remove 2 --output OUT | --remove: the model has no exit after layer 2; it has [1, 3]
          add-exits --model PLAIN --remove all --output OUT | --remove: all: there are none
          export --model MODEL --format hf --dtype q8_0 --output OUT | q8_0 is a format of gguf
          export --model MODEL --format gguf --dtype float16 --output OUT | float16 is not written to gguf
          convert --model PLAIN --max-positions 8 --output OUT | --max-positions: the model has learned a table of 16 positions
          convert --model MODEL --max-positions 65 --output OUT | --max-positions: 65 is outside 1..64
          export --model MODEL --format onnx --output OUT | --format
          """)
  void settingsThatMakeNoSense_areWrongUse(String command, String message) {
    Outcome outcome =
        runWords(
            command
                .replace("MODEL", GOLDEN.folder().toString())
                .replace(
                    "PLAIN", Path.of("eellm-convert/src/test/resources/layouts/gpt2").toString())
                .replace("OUT", folder.resolve("out").toString()));

    assertThat(outcome.code()).as(outcome.err()).isEqualTo(2);
    assertThat(outcome.err()).contains(message);
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void convert_sentencePieceModel_isWrittenAsTokenizerJsonToo() throws IOException {
    Path source = Path.of("eellm-core/src/test/resources/tokenizers/pieces");
    Path output = folder.resolve("out");
    Outcome outcome =
        runWords("convert --model", GOLDEN.folder(), "--tokenizer", source, "--output", output);

    assertThat(outcome.code()).as(outcome.err()).isZero();
    assertThat(outcome.err()).doesNotContain("warning");
    assertThat(output.resolve("tokenizer.model"))
        .hasSameBinaryContentAs(source.resolve("tokenizer.model"));
    String text = "It was the best of times";
    Files.delete(output.resolve("tokenizer.model"));
    assertThat(Tokenizer.load(output).encode(text)).isEqualTo(Tokenizer.load(source).encode(text));
  }

  @Test
  void convert_tokenizerThatCannotBeRead_isWarnedOf() throws IOException {
    Path source = folder.resolve("source");
    Files.createDirectories(source);
    Files.writeString(source.resolve("tokenizer.model"), "no protobuf");
    String words = "convert --model MODEL --output OUT --tokenizer SOURCE";
    Outcome outcome =
        runWords(
            words
                .replace("MODEL", GOLDEN.folder().toString())
                .replace("SOURCE", source.toString())
                .replace("OUT", folder.resolve("out").toString()));

    assertThat(outcome.code()).as(outcome.err()).isZero();
    assertThat(outcome.err())
        .contains("source/tokenizer.model: is neither a SentencePiece model nor tiktoken's ranks")
        .contains("; give one that can be read with --tokenizer");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "convert --model MODEL --output OUT --tokenizer FOLDER | has no tokenizer, none of",
        "convert --model MODEL --output FOLDER/file/out | file is a file; name another place",
        "export --model MODEL --format hf --output FOLDER/file/x | file is a file; name another",
      })
  void folderThatIsNotWhatItShouldBe_isRefused(String command, String message) throws IOException {
    Files.writeString(folder.resolve("file"), "");

    Outcome outcome =
        runWords(
            command
                .replace("MODEL", GOLDEN.folder().toString())
                .replace("FOLDER", folder.toString())
                .replace("OUT", folder.resolve("out").toString()));

    assertThat(outcome.code()).isEqualTo(1);
    assertThat(outcome.err()).contains(message);
    assertThat(folder).isDirectoryNotContaining("glob:**/*out*");
  }
}
