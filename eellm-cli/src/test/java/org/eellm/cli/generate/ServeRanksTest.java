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
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.eellm.cli.Commands;
import org.eellm.cli.RankProcesses;
import org.eellm.cli.ServerProcess;
import org.eellm.cli.SmallModelFolder;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.eellm.serve.NodeScripts;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code eellm serve --nproc}: a served model that processes share. */
@Tag("slow")
@Timeout(600)
final class ServeRanksTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Pattern TOKENS =
      Pattern.compile("(?m)^eellm_generated_tokens_total(?:\\{[^}]*})? (\\S+)");
  private static final int CLIENTS = 8;
  private static final int OPENAI_CLIENTS = 16;
  private static final int SECONDS = Integer.getInteger("load.seconds", 3);
  private static final double THRESHOLD = 0.15;

  @TempDir private Path folder;

  @SuppressWarnings("NullAway.Init") // each test starts it
  private ServerProcess server;

  private void start(String mesh) throws Exception {
    Path model = folder.resolve("model");
    try (Decoder decoder = SmallModel.plain()) {
      SmallModelFolder.write(model, decoder);
    }
    server = ServerProcess.start(folder, model, mesh.split(" "));
  }

  @AfterEach
  void end() throws InterruptedException {
    server.close();
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
    return HttpRequest.newBuilder(URI.create(server.address() + "v1/completions"))
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

  @Test
  void serve_manyClients_writesWhatOneRankWritesAndEndsWell() throws Exception {
    start("--tp 2 --pp 2 --nproc 4");
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
    server.process().toHandle().destroy();

    assertThat(server.process().waitFor()).as(server.errors()).isZero();
  }

  /** With OpenAI's client for Node.js, as others here that load it for moments. */
  @EnabledIfSystemProperty(named = "load.seconds", matches = ".*")
  @ParameterizedTest
  @ValueSource(strings = {"--tp 2 --nproc 2", "--pp 2 --nproc 2"})
  void serve_sixteenClientsWithoutAPause_getWhatOneRankWrites(String mesh) throws Exception {
    NodeScripts scripts = NodeScripts.install(NodeScripts.class, "clients");
    start(mesh);
    JsonNode said = load(scripts, SECONDS);
    server.process().toHandle().destroy();

    assertThat(server.process().waitFor()).as(server.errors()).isZero();
    System.out.printf("%s: %s in %d s%n", mesh, said.path("outcomes"), SECONDS);
    assertThat(said.path("outcomes").size()).as(said.toString()).isEqualTo(1);
    assertThat(said.at("/outcomes/answered").asInt()).isGreaterThanOrEqualTo(OPENAI_CLIENTS);
    assertTexts(said);
  }

  private JsonNode load(NodeScripts scripts, int seconds) {
    return scripts.run(
        Duration.ofSeconds(seconds + 300),
        "load.js",
        server.address(),
        "" + OPENAI_CLIENTS,
        "" + seconds);
  }

  /** Each prompt had one answer, and that is one rank's. */
  private void assertTexts(JsonNode said) throws IOException {
    for (var texts : said.path("texts").properties()) {
      int number = Integer.parseInt(texts.getKey());
      assertThat(texts.getValue()).as("prompt %d", number).hasSize(1);
      assertThat(texts.getValue().get(0).asText()).isEqualTo(alone(number));
    }
  }

  /** Each rank of each mesh with {@code -Dload.seconds=120}, one for each signal without. */
  static List<Arguments> ends() {
    List<Arguments> ends = new ArrayList<>();
    for (String signal : List.of("KILL", "STOP")) {
      for (int rank = 0; rank < 4; rank++) {
        ends.add(Arguments.of("--tp 2 --pp 2 --nproc 4", signal, rank));
      }
      for (int rank = 0; rank < 2; rank++) {
        ends.add(Arguments.of("--tp 2 --nproc 2", signal, rank));
        ends.add(Arguments.of("--pp 2 --nproc 2", signal, rank));
      }
    }
    return SECONDS >= 60 ? ends : List.of(ends.get(6), ends.get(15));
  }

  @ParameterizedTest
  @MethodSource("ends")
  void serve_aRankEndsOrIsStopped_answersWith503AndNamesIt(String mesh, String signal, int rank)
      throws Exception {
    NodeScripts scripts = NodeScripts.install(NodeScripts.class, "clients");
    start(signal.equals("STOP") ? mesh + " --timeout 60" : mesh); // starting has to fit as well
    CompletableFuture<JsonNode> clients =
        CompletableFuture.supplyAsync(() -> load(scripts, 240), Thread.ofPlatform()::start);
    awaitTokens(20 * OPENAI_CLIENTS);
    long began = System.nanoTime();
    RankProcesses.signal(RankProcesses.rank(server.process(), rank), signal);

    int code = server.process().waitFor();
    System.out.printf(
        "%s, rank %d, %s: ended after %.1f s, %s%n",
        mesh, rank, signal, (System.nanoTime() - began) / 1e9, clients.get().path("outcomes"));
    String coordinates = "rank %d (tp ".formatted(rank);
    if (signal.equals("KILL")) {
      assertThat(code).as(server.errors()).isEqualTo(137);
      assertThat(server.errors()).contains("eellm: rank %d was ended by SIGKILL;".formatted(rank));
    } else {
      assertThat(code).as(server.errors()).isEqualTo(1);
      assertThat(server.errors()).contains("eellm: " + coordinates);
    }
    List<String> possible =
        rank == 0 // with which the server has gone
            ? List.of("answered", "503", "APIError", "APIConnectionError", "TypeError", "Error")
            : List.of("answered", "503", "APIError", "APIConnectionError"); // in a stream, refused
    assertThat(clients.get().path("outcomes").fieldNames())
        .toIterable()
        .isSubsetOf(possible)
        .contains(rank == 0 ? "APIConnectionError" : "503");
    assertTexts(clients.get());
  }

  /** Waits until so many tokens have been generated. */
  private void awaitTokens(double count) throws Exception {
    HttpRequest metrics = HttpRequest.newBuilder(URI.create(server.address() + "metrics")).build();
    try (HttpClient client = HttpClient.newHttpClient()) {
      double tokens = 0;
      while (tokens < count) {
        assertThat(server.process().isAlive()).as(server.errors()).isTrue();
        TimeUnit.MILLISECONDS.sleep(50);
        Matcher found = TOKENS.matcher(client.send(metrics, BodyHandlers.ofString()).body());
        tokens = found.find() ? Double.parseDouble(found.group(1)) : 0;
      }
    }
  }
}
