package org.eellm.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.eellm.bench.LoadBenchmark.Outcome;
import org.eellm.bench.ServerClient.Answer;
import org.eellm.serve.ServeException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.HttpJson;

/**
 * Requests of many kinds to a server of eellm: most want texts of mixed lengths, one in ten leaves
 * amid its text, one in ten is bad. Each text is compared with what the server answered to the same
 * request when it had nothing else to do.
 *
 * @param answers to the good requests, one by one
 */
record MixedRequests(
    ServerClient client,
    long seed,
    List<ObjectNode> good,
    List<String> answers,
    List<BadRequest> bad)
    implements LoadBenchmark.Requests {
  private static final int DIFFERENT_REQUESTS = 24;
  private static final String WORDS =
      "Once upon a time there was an old house by the sea, and in it lived a captain who had seen"
          + " many lands, a cook who had seen none, and a cat that thought little of either. ";

  /**
   * A request that is to be refused.
   *
   * @param body in ISO 8859-1, so that bytes may be no UTF-8
   * @param statuses of which it is to get one
   */
  private record BadRequest(String name, String body, List<Integer> statuses) {
    BadRequest(String name, String body, Integer... statuses) {
      this(name, body, List.of(statuses));
    }
  }

  /**
   * Asks for each text once.
   *
   * @throws ServeException if the server does not answer
   */
  static MixedRequests of(ServerClient client, int maxTokens, long seed) {
    JsonNode served = client.model();
    int context = served.path("max_model_len").asInt();
    SplittableRandom random = new SplittableRandom(seed);
    List<ObjectNode> good = new ArrayList<>();
    List<String> answers = new ArrayList<>();
    for (int i = 0; i < DIFFERENT_REQUESTS; i++) {
      ObjectNode body = request(random, i, served, Math.min(maxTokens, context / 3));
      HttpResponse<String> response = client.complete(HttpJson.bytes(body));
      if (response.statusCode() != 200) {
        throw new ServeException(
            "%s answers %d to a single client: %s"
                .formatted(client.url(), response.statusCode(), Fields.line(response.body())));
      }
      good.add(body);
      answers.add(ServerClient.json(response.body()).path("choices").path(0).path("text").asText());
    }
    return new MixedRequests(client, seed, good, answers, badRequests(context));
  }

  /** A text of some length from a prompt of some length; a token is a byte at least. */
  private static ObjectNode request(
      SplittableRandom random, int number, JsonNode served, int maxTokens) {
    int begin = random.nextInt(WORDS.length() / 2);
    int length = random.nextInt(4, Math.max(5, served.path("max_model_len").asInt() / 2));
    String prompt = WORDS.repeat(1 + length / WORDS.length() + 1).substring(begin, begin + length);
    ObjectNode body = HttpJson.object();
    body.put("model", served.path("id").asText());
    body.put("prompt", prompt);
    body.put("max_tokens", random.nextInt(1, Math.max(2, maxTokens) + 1));
    body.put("temperature", number % 2 == 0 ? 0 : 0.8);
    body.put("seed", number);
    body.put("logprobs", 0); // an event for each token
    boolean exits = !served.path("early_exit").path("exits").isEmpty();
    if (exits && number % 3 == 1) {
      body.putObject("early_exit").put("mode", "full");
    } else if (exits && number % 3 == 2) {
      body.putObject("early_exit").put("policy", "max-probability").put("threshold", 0.5);
    }
    return body;
  }

  private static List<BadRequest> badRequests(int context) {
    String field = "{\"prompt\": \"a\", \"%s\": %s}";
    String prompt = "word ".repeat(Math.max(context, 200_000));
    String body = "a".repeat(6 << 20);
    return List.of(
        new BadRequest("no JSON", "{\"prompt\": \"a", 400),
        new BadRequest("bytes that are no text", "{\"\u00FF\":1}", 400),
        new BadRequest("a prompt that is a number", "{\"prompt\": 5}", 400),
        new BadRequest("a temperature of text", field.formatted("temperature", "\"hot\""), 400),
        new BadRequest("a temperature of 99", field.formatted("temperature", "99"), 400),
        new BadRequest("more tokens than fit", field.formatted("max_tokens", "1000000000"), 400),
        new BadRequest("an unknown field", field.formatted("temprature", "1"), 400),
        new BadRequest("an unknown exit", field.formatted("early_exit", "{\"exits\": [999]}"), 400),
        new BadRequest("an unknown model", field.formatted("model", "\"no-such-model\""), 404),
        new BadRequest("a prompt of 1 MB", "{\"prompt\": \"%s\"}".formatted(prompt), 400, 413),
        new BadRequest("a body of 6 MB", "{\"prompt\": \"%s\"}".formatted(body), 400, 413));
  }

  @Override
  public Answer ask(int number, long start) throws IOException, InterruptedException {
    SplittableRandom random = new SplittableRandom(seed + 1 + number);
    int choice = random.nextInt(10);
    if (choice == 0) {
      return sendBad(bad.get(random.nextInt(bad.size())));
    }
    int which = random.nextInt(good.size());
    Answer answer =
        ServerClient.read(
            client.begin(good.get(which).deepCopy()),
            start,
            choice == 1 ? Outcome.LEFT : Outcome.TEXT);
    String alone = answers.get(which);
    return answer.outcome() != Outcome.TEXT || answer.text().equals(alone)
        ? answer
        : answer.wrong(
            "request %d: '%s' alone, '%s' among others"
                .formatted(which, Fields.line(alone), Fields.line(answer.text())));
  }

  private Answer sendBad(BadRequest request) {
    HttpResponse<String> response =
        client.complete(request.body().getBytes(StandardCharsets.ISO_8859_1));
    int status = response.statusCode();
    return request.statuses().contains(status)
            && ServerClient.json(response.body()).path("error").path("message").isTextual()
        ? Answer.without(Outcome.REFUSED)
        : Answer.failure(
            Outcome.WRONG_STATUS,
            "%s: status %d, not %s".formatted(request.name(), status, request.statuses()));
  }
}
