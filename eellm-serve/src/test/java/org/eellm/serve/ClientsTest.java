package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import dev.langchain4j.data.embedding.Embedding;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.exception.InvalidRequestException;
import dev.langchain4j.exception.ModelNotFoundException;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.openai.OpenAiChatModel;
import dev.langchain4j.model.openai.OpenAiChatModel.OpenAiChatModelBuilder;
import dev.langchain4j.model.openai.OpenAiEmbeddingModel;
import dev.langchain4j.model.openai.OpenAiLanguageModel;
import dev.langchain4j.model.openai.OpenAiStreamingChatModel;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.eellm.serve.json.HttpJson;
import org.junit.jupiter.api.Test;

/** Clients that were written for OpenAI's own server. */
final class ClientsTest extends WithServer {
  private static final Map<String, Object> FULL = Map.of("early_exit", Map.of("mode", "full"));
  private static final String DIALOGUE = "User: the cat\nAssistant:";

  private static OpenAiChatModelBuilder chatModel() {
    return OpenAiChatModel.builder()
        .baseUrl(server.base() + "/v1")
        .apiKey("none")
        .modelName("small")
        .temperature(0.0)
        .maxTokens(6)
        .maxRetries(0)
        .customParameters(FULL);
  }

  @Test
  void langchain4j_chat_isTheGeneratorsText() {
    assertThat(chatModel().build().chat("the cat")).isEqualTo(server.greedy(DIALOGUE, 6));
  }

  @Test
  void langchain4j_refusal_isItsException() {
    assertThatThrownBy(() -> chatModel().temperature(3.0).build().chat("the cat"))
        .isInstanceOf(InvalidRequestException.class)
        .hasMessageContaining("temperature: 3.0 is not a number in 0..2");
    assertThatThrownBy(() -> chatModel().modelName("gpt-4").build().chat("the cat"))
        .isInstanceOf(ModelNotFoundException.class)
        .hasMessageContaining("use 'small'");
  }

  @Test
  void langchain4j_streamOfChat_isTheWholeTextInPieces() throws Exception {
    OpenAiStreamingChatModel model =
        OpenAiStreamingChatModel.builder()
            .baseUrl(server.base() + "/v1")
            .apiKey("none")
            .modelName("small")
            .temperature(0.0)
            .maxTokens(6)
            .customParameters(FULL)
            .build();
    StringBuffer pieces = new StringBuffer();
    CompletableFuture<ChatResponse> whole = new CompletableFuture<>();

    model.chat(
        "the cat",
        new StreamingChatResponseHandler() {
          @Override
          public void onPartialResponse(String piece) {
            pieces.append(piece);
          }

          @Override
          public void onCompleteResponse(ChatResponse response) {
            whole.complete(response);
          }

          @Override
          public void onError(Throwable error) {
            whole.completeExceptionally(error);
          }
        });

    ChatResponse response = whole.get(60, TimeUnit.SECONDS);
    assertThat(pieces.toString()).isEqualTo(server.greedy(DIALOGUE, 6));
    assertThat(response.aiMessage().text()).isEqualTo(pieces.toString());
    assertThat(response.tokenUsage().outputTokenCount()).isEqualTo(6);
  }

  @Test
  void langchain4j_completion_isTheGeneratorsText() {
    // This one sends nothing of ours, so the threshold is the server's: no random model reaches it.
    OpenAiLanguageModel model =
        OpenAiLanguageModel.builder()
            .baseUrl(server.base() + "/v1")
            .apiKey("none")
            .modelName("small")
            .temperature(0.0)
            .maxRetries(0)
            .build();

    assertThat(model.generate("the cat").content()).isEqualTo(server.greedy("the cat", 16));
  }

  @Test
  void langchain4j_embeddings_areTheServersVectors() {
    OpenAiEmbeddingModel model =
        OpenAiEmbeddingModel.builder()
            .baseUrl(server.base() + "/v1")
            .apiKey("none")
            .modelName("small")
            .maxRetries(0)
            .build();

    List<Embedding> vectors =
        model.embedAll(List.of(TextSegment.from("the cat"), TextSegment.from("the dog"))).content();

    assertThat(vectors).hasSize(2);
    assertThat(vectors.getFirst().dimension())
        .isEqualTo(server.decoder.architecture().model().hiddenSize());
    assertThat(vectors.getFirst()).isEqualTo(model.embed("the cat").content());
    assertThat(vectors.getFirst()).isNotEqualTo(vectors.getLast());
  }

  @Test
  void openai_clientForNode_understandsAllAnswers() {
    NodeScripts scripts = NodeScripts.install(ClientsTest.class, "clients");

    JsonNode outcome = scripts.run("openai.js", server.base(), "small");

    assertThat(outcome.path("models").toString()).isEqualTo("[\"small\"]");
    assertThat(outcome.path("retrieved").asText()).isEqualTo("small");
    String text = server.greedy("the cat", 12);
    assertThat(outcome.path("completion").asText()).isEqualTo(text);
    assertThat(outcome.path("completionTokens").asInt()).isEqualTo(12);
    assertThat(outcome.path("logprobs").asInt()).isEqualTo(12);
    assertThat(outcome.path("meanLayer").asDouble()).isEqualTo(5);
    assertThat(outcome.path("completionStream").asText()).isEqualTo(text);
    assertThat(outcome.path("streamedTokens").asInt()).isEqualTo(12);
    String answer = server.greedy(DIALOGUE, 6);
    assertThat(outcome.path("chat").asText()).isEqualTo(answer);
    assertThat(outcome.path("role").asText()).isEqualTo("assistant");
    assertThat(outcome.path("chatStream").asText()).isEqualTo(answer);
    assertThat(outcome.path("badField"))
        .isEqualTo(refusal("BadRequestError", 400, "temperature", ""));
    assertThat(outcome.path("unknownModel"))
        .isEqualTo(refusal("NotFoundError", 404, "model", "model_not_found"));
    assertThat(outcome.path("tooLong"))
        .isEqualTo(refusal("BadRequestError", 400, "prompt", "context_length_exceeded"));
    assertThat(outcome.path("badStream"))
        .isEqualTo(refusal("BadRequestError", 400, "messages", ""));
    assertThat(outcome.path("embedding")).hasSize(2);
    assertThat(outcome.path("embedding").path(0).path(0).asDouble())
        .isCloseTo(outcome.path("floats").path(0).asDouble(), within(1e-6));
    assertThat(outcome.path("embedding").path(0)).hasSameSizeAs(outcome.path("floats"));
    assertThat(outcome.path("responses").path("status").asInt()).isEqualTo(404);
    assertThat(outcome.path("responses").path("requestID").asText()).matches("[0-9a-f-]{36}");
    server.awaitIdle(); // it left amid a stream
  }

  private static JsonNode refusal(String name, int status, String param, String code) {
    return code.isEmpty()
        ? HttpJson.object()
            .put("name", name)
            .put("status", status)
            .put("param", param)
            .putNull("code")
        : HttpJson.object()
            .put("name", name)
            .put("status", status)
            .put("param", param)
            .put("code", code);
  }
}
