package org.eellm.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.net.http.HttpResponse;
import java.util.List;
import org.eellm.bench.LoadBenchmark.Outcome;
import org.eellm.bench.ServerClient.Answer;
import org.eellm.serve.ServeException;
import org.eellm.serve.json.HttpJson;

/**
 * Requests for texts of equal length, greedy, which any server with OpenAI's API understands. Every
 * tenth prompt may be a long one.
 *
 * @param model the server's name for it
 */
record EqualTexts(ServerClient client, LoadBenchmark.Options options, String model)
    implements LoadBenchmark.Requests {
  private static final List<String> WORDS =
      List.of("the", "house", "by", "sea", "and", "a", "captain", "who", "had", "seen", "many");

  /**
   * Asks for a first text.
   *
   * @throws ServeException if the server does not answer
   */
  static EqualTexts of(ServerClient client, LoadBenchmark.Options options) {
    EqualTexts texts = new EqualTexts(client, options, client.model().path("id").asText());
    try {
      texts.ask(0, System.nanoTime());
      return texts;
    } catch (IOException e) {
      throw new ServeException(
          "%s answers a single client with %s".formatted(client.url(), e.getMessage()), e);
    } catch (InterruptedException e) {
      throw ServerClient.interrupted(e);
    }
  }

  @Override
  public Answer ask(int number, long start) throws IOException, InterruptedException {
    boolean isLong = options.longWords() > 0 && number % 10 == 5;
    ObjectNode body = body(number, isLong ? options.longWords() : options.words());
    HttpResponse<InputStream> response;
    try {
      response = client.begin(body);
    } catch (IOException closed) { // by the server, as nobody used the connection for a while
      response = client.begin(body);
    }
    return ServerClient.read(response, start, isLong ? Outcome.LONG_TEXT : Outcome.TEXT);
  }

  /** No two prompts begin alike, so that no server can reuse what it has of another. */
  private ObjectNode body(int number, int words) {
    StringBuilder prompt = new StringBuilder().append(number);
    for (int i = 1; i < words; i++) {
      prompt.append(' ').append(WORDS.get((i * (number % 7 + 1) + number) % WORDS.size()));
    }
    return HttpJson.object()
        .put("model", model)
        .put("prompt", prompt.toString())
        .put("max_tokens", options.maxTokens())
        .put("temperature", 0)
        .put("ignore_eos", true);
  }
}
