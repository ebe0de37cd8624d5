package org.eellm.cli.generate;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.eellm.cli.Commands;
import org.eellm.cli.Main;
import org.eellm.cli.SmallModelFolder;
import org.eellm.decode.SmallModel;
import org.eellm.distributed.launch.LocalLauncher;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code eellm serve --nproc}: a served model that processes share. */
@Tag("slow")
@Timeout(180)
final class ServeRanksTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Pattern SERVING = Pattern.compile("serving model at (http://\\S+/)");
  private static final int CLIENTS = 8;
  private static final double THRESHOLD = 0.15;

  @TempDir private Path folder;

  @SuppressWarnings("NullAway.Init") // each test starts it
  private Process launcher;

  private String address = "";

  private void start(String mesh) throws Exception {
    try (Decoder decoder = SmallModel.plain()) {
      SmallModelFolder.write(folder.resolve("model"), decoder);
    }
    List<String> command =
        LocalLauncher.sameProgram(
            Main.class.getName(),
            Stream.concat(
                    Stream.of(
                        "serve",
                        "--model",
                        folder.resolve("model").toString(),
                        "--port",
                        "0",
                        "--threads",
                        "1"),
                    Stream.of(mesh.split(" ")))
                .toList(),
            1);
    launcher =
        new ProcessBuilder(command)
            .redirectOutput(folder.resolve("out").toFile())
            .redirectError(folder.resolve("err").toFile())
            .start();
    Matcher matcher = SERVING.matcher(errors());
    while (!matcher.find()) {
      assertThat(launcher.isAlive()).as(errors()).isTrue();
      TimeUnit.MILLISECONDS.sleep(50);
      matcher = SERVING.matcher(errors());
    }
    address = matcher.group(1);
  }

  @AfterEach
  void end() throws InterruptedException {
    launcher.toHandle().destroyForcibly();
    launcher.waitFor();
  }

  private String errors() throws IOException {
    return Files.readString(folder.resolve("err"));
  }

  private HttpRequest request(int seed, int maxTokens) {
    ObjectNode body =
        JSON.createObjectNode()
            .put("model", "model")
            .put("prompt", "the cat " + seed)
            .put("max_tokens", maxTokens)
            .put("temperature", 0);
    if (seed % 2 == 1) { // the others are speculative
      body.putObject("early_exit").put("policy", "max-probability").put("threshold", THRESHOLD);
    }
    return HttpRequest.newBuilder(URI.create(address + "v1/completions"))
        .header("Content-Type", "application/json")
        .POST(BodyPublishers.ofString(body.toString()))
        .build();
  }

  private String alone(int seed) throws IOException {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "generate",
                "--model",
                folder.resolve("model").toString(),
                "--prompt",
                "the cat " + seed,
                "--max-tokens",
                "20",
                "--json"));
    if (seed % 2 == 1) {
      arguments.addAll(List.of("--policy", "max-probability", "--threshold", "" + THRESHOLD));
    }
    Commands.Outcome outcome = Commands.run(arguments.toArray(String[]::new));
    return JSON.readTree(outcome.out()).get("text").asText();
  }

  @ParameterizedTest
  @ValueSource(strings = {"--tp 2 --nproc 2", "--pp 2 --nproc 2", "--tp 2 --pp 2 --nproc 4"})
  void serve_manyClients_writesWhatOneRankWritesAndEndsWell(String mesh) throws Exception {
    start(mesh);
    List<CompletableFuture<HttpResponse<String>>> answers = new ArrayList<>();
    try (HttpClient client = HttpClient.newHttpClient()) {
      for (int i = 0; i < CLIENTS; i++) {
        answers.add(client.sendAsync(request(i, 20), BodyHandlers.ofString()));
      }
      for (int i = 0; i < CLIENTS; i++) {
        JsonNode answer = JSON.readTree(answers.get(i).join().body());
        assertThat(answer.at("/choices/0/text").asText()).as("client %d", i).isEqualTo(alone(i));
      }
    }
    launcher.toHandle().destroy();

    assertThat(launcher.waitFor()).as(errors()).isZero();
  }

  @ParameterizedTest
  @ValueSource(strings = {"--tp 2 --nproc 2", "--pp 2 --nproc 2"})
  void serve_aRankDies_answersWith503AndNamesIt(String mesh) throws Exception {
    start(mesh);
    List<CompletableFuture<HttpResponse<String>>> answers = new ArrayList<>();
    try (HttpClient client = HttpClient.newHttpClient()) {
      client.send(request(0, 2), BodyHandlers.ofString());
      for (int i = 0; i < CLIENTS; i++) {
        answers.add(client.sendAsync(request(i, 40), BodyHandlers.ofString()));
      }
      rankOne().destroyForcibly();
      for (CompletableFuture<HttpResponse<String>> answer : answers) {
        assertThat(answer.join().statusCode()).isIn(200, 503); // as far as it was in time
      }
    }

    assertThat(launcher.waitFor()).isEqualTo(137);
    assertThat(errors()).contains("eellm: rank 1 was ended by SIGKILL; all ranks have ended");
  }

  private ProcessHandle rankOne() throws IOException {
    for (ProcessHandle child : launcher.children().toList()) {
      String environment = Files.readString(Path.of("/proc/" + child.pid() + "/environ"));
      if (("\0" + environment).contains("\0RANK=1\0")) {
        return child;
      }
    }
    throw new AssertionError("there is no rank 1");
  }
}
