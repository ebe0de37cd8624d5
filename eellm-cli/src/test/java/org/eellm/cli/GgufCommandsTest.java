package org.eellm.cli;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.cli.Commands.json;
import static org.eellm.cli.Commands.print;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.eellm.chat.ChatTemplate;
import org.eellm.cli.Commands.Outcome;
import org.eellm.config.TrainConfig.Device;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.SmallModel;
import org.eellm.gguf.GgufFile;
import org.eellm.gguf.GgufFixture;
import org.eellm.gguf.GgufTensor;
import org.eellm.gguf.GgufType;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** GGUF files where the commands take model folders. */
final class GgufCommandsTest {
  @TempDir private Path folder;
  private Path model;
  private Path file;

  @BeforeEach
  void export() throws IOException {
    model = folder.resolve("model");
    try (Decoder decoder = SmallModel.plain()) {
      SmallModelFolder.write(model, decoder);
    }
    file = folder.resolve("model.gguf");
    print("export --format gguf --dtype float32", "--model", model, "--output", file);
  }

  private JsonNode ids(Object... arguments) throws IOException {
    List<Object> all = new ArrayList<>(List.of(arguments));
    all.addAll(List.of("--prompt", "the cat"));
    return json("generate --json --mode full --max-tokens 12", all.toArray()).path("ids");
  }

  @Test
  void generate_exportedFile_continuesAsTheFolder() throws IOException {
    assertThat(ids("--model", file)).hasSize(12).isEqualTo(ids("--model", model));
  }

  @Test
  void generate_fileWithExitsBeside_leavesWhereTheFolderDoes() throws IOException {
    String generate = "generate --json --mode early-exit --threshold 0.01 --max-tokens 12";
    JsonNode beside = json(generate, "--model", file, "--prompt", "the cat");
    JsonNode own = json(generate, "--model", model, "--prompt", "the cat");
    assertThat(beside.path("ids")).isEqualTo(own.path("ids"));
    assertThat(beside.path("exits")).isEqualTo(own.path("exits"));
    assertThat(own.path("exits").toString()).contains("1");
  }

  @Test
  void generate_fileWithHeads_leavesWhereTheFolderDoes() throws IOException {
    Path plain = folder.resolve("plain");
    print("export --format hf", "--model", model, "--output", plain);
    String generate = "generate --json --mode early-exit --threshold 0.01 --max-tokens 12";
    JsonNode beside = json(generate, "--model", file, "--heads", plain, "--prompt", "the cat");
    JsonNode own = json(generate, "--model", model, "--prompt", "the cat");
    assertThat(beside.path("ids")).isEqualTo(own.path("ids"));
    assertThat(beside.path("exits")).isEqualTo(own.path("exits"));
    assertThat(own.path("exits").toString()).contains("1");
  }

  @Test
  void addExits_toAFile_makesAFolderWithItsTrunk() throws IOException {
    Files.delete(folder.resolve("model.exits.gguf"));
    Path exits = folder.resolve("exits");
    print("add-exits --exits 1 --head norm", "--model", file, "--output", exits);
    assertThat(ids("--model", exits)).isEqualTo(ids("--model", model));
    assertThat(exits.resolve("tokenizer.json")).exists();
    JsonNode report = json("inspect --json", exits);
    assertThat(report.at("/exits/layers").toString()).isEqualTo("[1]");
  }

  @Test
  void convert_file_makesAFolderThatSaysTheSame() throws IOException {
    Path converted = folder.resolve("converted");
    print("convert", "--model", file, "--output", converted);
    assertThat(ids("--model", converted)).isEqualTo(ids("--model", model));
    assertThat(json("inspect --json", file).path("kind").asText()).startsWith("GGUF file");
  }

  @Test
  void serve_fileAndTemperature_answersAsTheFolderGenerates() throws Exception {
    HttpRequest request;
    try (ServerProcess server = ServerProcess.start(folder, file, "--temperature", "0");
        HttpClient client = HttpClient.newHttpClient()) {
      request =
          HttpRequest.newBuilder(URI.create(server.address() + "v1/completions"))
              .header("Content-Type", "application/json")
              .POST(BodyPublishers.ofString("{\"prompt\": \"the cat\", \"max_tokens\": 12}"))
              .build();
      JsonNode answer =
          new ObjectMapper().readTree(client.send(request, BodyHandlers.ofString()).body());
      JsonNode own =
          json("generate --json --max-tokens 12", "--model", model, "--prompt", "the cat");
      assertThat(answer.at("/usage/completion_tokens").asInt()).isEqualTo(12);
      assertThat(answer.at("/choices/0/text")).isEqualTo(own.path("text"));
      assertThat(server.errors()).contains("say: temperature 0; requests overrule it");
    }
  }

  @Test
  void tune_headsBesideAFile_learnAsThoseOfTheFolder() throws IOException {
    Path text =
        Files.writeString(
            folder.resolve("text.txt"),
            "the cat and the dog and the bird and the cat and the end\n".repeat(60));
    Path data = folder.resolve("data");
    print("prepare", "--tokenizer", model, "--output", data, "--input", text);
    Path config =
        Files.writeString(
            folder.resolve("tune.yaml"),
            """
            data: {sources: ["%s"], sequence_length: 16, split: [80, 20, 0]}
            train: {steps: 3, micro_batch_size: 2, global_batch_size: 2, threads: 1}
            optimizer: {learning_rate: 1e-2}
            """
                .formatted(data));
    Path heads = folder.resolve("plain");
    print("export --format hf", "--model", model, "--output", heads);
    Path beside = folder.resolve("beside");
    Path own = folder.resolve("own");

    print("tune", "--model", file, "--heads", heads, "--config", config, "--output", beside);
    print("tune", "--model", model, "--config", config, "--output", own);

    String learned = "checkpoints/step_0000003/exits.safetensors";
    assertThat(beside.resolve(learned))
        .hasSameBinaryContentAs(own.resolve(learned))
        .isNotEmptyFile();
    assertThat(ids("--model", file, "--heads", beside)).isEqualTo(ids("--model", model));
  }

  @Test
  void load_file_hasItsChatTemplate() throws IOException {
    Files.writeString(
        model.resolve("tokenizer_config.json"),
        "{\"eos_token\":\"<|endoftext|>\",\"chat_template\":\"{{ messages[0].content }}!\"}");
    Path other = folder.resolve("chat.gguf");
    print("export --format gguf --dtype float32", "--model", model, "--output", other);
    try (LoadedModel loaded = LoadedModel.load(other, Device.CPU)) {
      ChatTemplate template = ChatTemplate.of(loaded.tokenizer());
      assertThat(template.description()).isEqualTo("the tokenizer's configuration");
    }
  }

  @Test
  void generate_fileOf8Bits_computesWithItsOwnGroups() throws IOException {
    Path rounded = folder.resolve("rounded.gguf");
    print("export --format gguf --dtype q8_0", "--model", model, "--output", rounded);
    Path whole = folder.resolve("whole");
    print("convert", "--model", rounded, "--output", whole);
    JsonNode own = ids("--model", rounded);
    assertThat(own).hasSize(12).isEqualTo(ids("--model", rounded, "--quantize", "int8"));
    assertThat(own).isEqualTo(ids("--model", whole, "--quantize", "int8"));
    assertThat(ids("--model", rounded, "--quantize", "none")).isEqualTo(ids("--model", whole));
  }

  @ParameterizedTest
  @ValueSource(ints = {0x7E00, 0x7C00}) // float16's NaN and infinity
  void generate_scaleThatIsNotFinite_isReportedInOneLine(int scale) throws IOException {
    Path rounded = folder.resolve("rounded.gguf");
    print("export --format gguf --dtype q8_0", "--model", model, "--output", rounded);
    Path hostile = folder.resolve("hostile.gguf");
    try (GgufFile read = GgufFile.open(rounded)) {
      GgufTensor gate = Objects.requireNonNull(read.tensors().get("blk.0.ffn_gate.weight"));
      assertThat(gate.type()).isEqualTo(GgufType.Q8_0);
      byte[] all = Files.readAllBytes(rounded);
      String own = new String(gate.bytes().toArray(ValueLayout.JAVA_BYTE), ISO_8859_1);
      int at = new String(all, ISO_8859_1).indexOf(own);
      ByteBuffer.wrap(all).order(ByteOrder.LITTLE_ENDIAN).putShort(at, (short) scale);
      Files.write(hostile, all);
    }
    Outcome outcome = Commands.runWords("generate --prompt x", "--model", hostile);
    assertThat(outcome.code()).isEqualTo(1);
    assertThat(outcome.err()).contains("are not numbers; the model is damaged").hasLineCount(1);
  }

  @Test
  void generate_damagedFile_isRefusedInOneLine() throws IOException {
    new GgufFixture().version(4).write(file);
    Outcome outcome = Commands.runWords("generate --prompt x", "--model", file);
    assertThat(outcome.code()).isEqualTo(1);
    assertThat(outcome.err())
        .contains(file + ": has version 4 of the format; 2 and 3 are read")
        .hasLineCount(1);
  }
}
