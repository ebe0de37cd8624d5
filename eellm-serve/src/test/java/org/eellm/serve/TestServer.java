package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.eellm.chat.ChatTemplate;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.data.Progress;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.Engine;
import org.eellm.decode.Generator;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.SmallModel;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.sample.SamplingDefaults;
import org.eellm.decode.token.TokenListener;
import org.eellm.model.DecodingModel;

/** A real server with a small random model, at a free port of this machine's own. */
public final class TestServer implements AutoCloseable {
  static final String MODEL = "small";
  private static final ObjectMapper JSON = new ObjectMapper();

  final DecodingModel decoder;
  final Limits limits;
  final Tokenizer tokenizer;
  final Engine engine;
  final Server server;
  public final ServedModel served;
  final HttpClient client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();

  private TestServer(
      Path folder,
      DecodingModel model,
      UnaryOperator<Limits> change,
      ServerOptions options,
      DecodingSettings defaults,
      boolean serves) {
    decoder = model;
    tokenizer =
        Files.exists(folder.resolve("tokenizer.json")) ? Tokenizer.load(folder) : tokenizer(folder);
    limits = change.apply(Limits.of(decoder).withVocabulary(Vocabulary.of(tokenizer.vocabSize())));
    engine = Engine.start(decoder, limits);
    server = Server.start(options);
    served =
        new ServedModel(
            MODEL,
            new LoadedModel(
                new ModelFolder(folder, Optional.empty()),
                decoder,
                tokenizer,
                limits.vocabulary(),
                Calibration.stored(folder, decoder.architecture()),
                Set.of(tokenizer.endOfDocument())),
            engine,
            ChatTemplate.of(tokenizer),
            defaults,
            SamplingDefaults.read(folder));
    if (serves) {
      server.serve(served);
    }
  }

  public static TestServer start(Path folder) {
    return start(folder, limits -> limits, TestOptions.at(0));
  }

  public static TestServer start(Path folder, UnaryOperator<Limits> change, ServerOptions options) {
    return new TestServer(folder, SmallModel.plain(), change, options, DecodingSettings.NONE, true);
  }

  /** With other defaults for requests. */
  static TestServer start(Path folder, DecodingSettings defaults) {
    return new TestServer(
        folder, SmallModel.plain(), limits -> limits, TestOptions.at(0), defaults, true);
  }

  /** With another model, which is closed with the server. */
  public static TestServer start(Path folder, DecodingModel model) {
    return new TestServer(
        folder, model, limits -> limits, TestOptions.at(0), DecodingSettings.NONE, true);
  }

  /** The answer to a completion that is not refused. */
  JsonNode complete(String body) {
    return answered(post("/v1/completions", body));
  }

  /** The answer to a chat that is not refused. */
  JsonNode chat(String body) {
    return answered(post("/v1/chat/completions", body));
  }

  static JsonNode answered(HttpResponse<String> response) {
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    return json(response);
  }

  /** Without a model. */
  static TestServer loading(Path folder) {
    return new TestServer(
        folder,
        SmallModel.plain(),
        limits -> limits,
        TestOptions.at(0),
        DecodingSettings.NONE,
        false);
  }

  /** Tokens for every byte, and a few more. */
  public static Tokenizer tokenizer(Path folder) {
    try {
      Path corpus = folder.resolve("corpus.txt");
      Files.writeString(corpus, "the cat and the dog and the bird and the cat and the end\n");
      Tokenizer tokenizer =
          BpeTrainer.train(
              TextCorpus.of(List.of(corpus.toString()), TextCorpus.Format.DEFAULT),
              260,
              1,
              Progress.NONE);
      tokenizer.save(folder);
      return tokenizer;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public String base() {
    return "http://127.0.0.1:" + server.port();
  }

  HttpRequest.Builder request(String path) {
    return HttpRequest.newBuilder(URI.create(base() + path)).timeout(Duration.ofSeconds(60));
  }

  HttpResponse<String> send(HttpRequest request) {
    try {
      return client.send(request, BodyHandlers.ofString());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  HttpResponse<String> get(String path) {
    return send(request(path).build());
  }

  public HttpResponse<String> post(String path, String body) {
    return send(
        request(path)
            .header("Content-Type", "application/json")
            .POST(BodyPublishers.ofString(body))
            .build());
  }

  HttpResponse<String> put(String path, String body) {
    return send(
        request(path)
            .header("Content-Type", "application/json")
            .PUT(BodyPublishers.ofString(body))
            .build());
  }

  /** The data of a stream's events. */
  List<String> events(String path, String body) {
    HttpResponse<String> response = post(path, body);
    if (response.statusCode() != 200) {
      throw new AssertionError(response.statusCode() + " " + response.body());
    }
    return response
        .body()
        .lines()
        .filter(line -> !line.isEmpty())
        .map(line -> line.replaceFirst("^data: ", ""))
        .toList();
  }

  static JsonNode json(String text) {
    try {
      return JSON.readTree(text);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static JsonNode json(HttpResponse<String> response) {
    return json(response.body());
  }

  /** What the generator makes of a prompt by itself. */
  Result alone(String prompt, int maxTokens, DecodingMethod decoding, Sampler sampler) {
    return Generator.generate(
            decoder,
            limits,
            List.of(
                new Request(
                    served.prompt(prompt, "prompt"),
                    maxTokens,
                    served.endTokens(),
                    decoding,
                    sampler)),
            TokenListener.none())
        .getFirst();
  }

  /** What the full model says of a prompt most probably. */
  String greedy(String prompt, int maxTokens) {
    return text(
        alone(prompt, maxTokens, DecodingMethod.full(), new RandomSampler(0, 0, 1, 1, 0)).ids());
  }

  String text(List<Integer> ids) {
    return tokenizer.decode(ids.stream().mapToInt(Integer::intValue).toArray());
  }

  /** Waits until nothing is in work, which takes a moment after a client has gone. */
  public void awaitIdle() {
    long end = System.nanoTime() + Duration.ofMinutes(2).toNanos();
    while (System.nanoTime() < end) {
      Engine.Status status = engine.status();
      if (status.running() == 0 && status.queued() == 0 && status.cacheTokensInUse() == 0) {
        return;
      }
      Wire.sleep(10);
    }
    throw new AssertionError("still at work: " + engine.status());
  }

  @Override
  public void close() {
    server.close();
    engine.close();
    decoder.close();
    client.close();
  }
}
