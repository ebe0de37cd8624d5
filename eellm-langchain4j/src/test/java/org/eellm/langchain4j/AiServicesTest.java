package org.eellm.langchain4j;

import static org.assertj.core.api.Assertions.assertThat;

import dev.langchain4j.agent.tool.P;
import dev.langchain4j.agent.tool.Tool;
import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.agent.tool.ToolSpecification;
import dev.langchain4j.data.message.ToolExecutionResultMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import dev.langchain4j.model.chat.request.ResponseFormat;
import dev.langchain4j.model.chat.request.ToolChoice;
import dev.langchain4j.model.chat.request.json.JsonObjectSchema;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.CompleteToolCall;
import dev.langchain4j.model.chat.response.PartialToolCall;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.output.FinishReason;
import dev.langchain4j.service.AiServices;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.eellm.Decoding;
import org.eellm.EarlyExitModel;
import org.eellm.SavedModel;
import org.eellm.config.ExitLayout;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** LangChain4j's services, whose records and tools' arguments a random model has to get right. */
@Timeout(120)
final class AiServicesTest {
  private static final Decoding DRAWN =
      Decoding.lossless().withMaxTokens(600).withTemperature(1).withSeed(3);

  @TempDir private static Path folder;
  private static EarlyExitModel model;

  @BeforeAll
  static void load() throws IOException {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, false, false);
    try (Decoder decoder = SmallModel.withContext(exits, 8192)) {
      SavedModel.write(folder.resolve("model"), decoder);
    }
    model = EarlyExitModel.at(folder.resolve("model")).threads(1).load(); // the model is tiny
  }

  @AfterAll
  static void close() {
    model.close();
  }

  private enum Sky {
    CLEAR,
    CLOUDY
  }

  private record Weather(long degrees, boolean windy, Sky sky) {}

  private interface Reporter {
    Weather report(String question);
  }

  /** What was called. */
  @SuppressWarnings("UnusedMethod") // LangChain4j calls them
  private static final class Instruments {
    final List<String> called = new ArrayList<>();

    @Tool("Degrees of a place")
    int thermometer(@P("the place") Sky place, @P("days from today") long days) {
      called.add("thermometer " + place + " " + days);
      return 20;
    }

    @Tool("Whether there is wind")
    boolean windSock() {
      called.add("windSock");
      return true;
    }
  }

  @Test
  void service_thatReturnsARecord_getsOne() {
    Reporter reporter = AiServices.create(Reporter.class, new EarlyExitChatModel(model, DRAWN));

    assertThat(reporter.report("How is the weather?")).isNotNull();
  }

  /** A random model never stops to call, and never begins; so each turn says what it has to do. */
  @Test
  void service_withTools_callsThemUntilItAnswersWithARecord() {
    Instruments instruments = new Instruments();
    Reporter reporter =
        AiServices.builder(Reporter.class)
            .chatModel(new EarlyExitChatModel(model, DRAWN))
            .tools(instruments)
            .chatRequestTransformer(AiServicesTest::twoTurnsOfCalls)
            .build();

    Weather weather = reporter.report("How is the weather?");

    assertThat(weather).isNotNull();
    assertThat(instruments.called)
        .hasSizeGreaterThanOrEqualTo(2)
        .allMatch(call -> call.matches("thermometer (CLEAR|CLOUDY) -?[0-9]+|windSock"));
  }

  private static ChatRequest twoTurnsOfCalls(ChatRequest request) {
    boolean called =
        request.messages().stream()
                .filter(message -> message instanceof ToolExecutionResultMessage)
                .count()
            >= 2;
    ChatRequestParameters turn =
        ChatRequestParameters.builder()
            .toolChoice(called ? ToolChoice.NONE : ToolChoice.REQUIRED)
            .build();
    return request.toBuilder().parameters(request.parameters().overrideWith(turn)).build();
  }

  @Test
  void chat_json_isAnObject() {
    ChatResponse response =
        new EarlyExitChatModel(model, DRAWN.withMaxTokens(30))
            .chat(
                ChatRequest.builder()
                    .messages(UserMessage.from("x"))
                    .responseFormat(ResponseFormat.JSON)
                    .build());

    assertThat(response.aiMessage().text()).startsWith("{");
  }

  @Test
  void stream_calls_areToldInPiecesAndWhole() {
    List<PartialToolCall> pieces = new ArrayList<>();
    List<CompleteToolCall> calls = new ArrayList<>();
    CompletableFuture<ChatResponse> end = new CompletableFuture<>();
    ChatRequest request =
        ChatRequest.builder()
            .messages(UserMessage.from("x"))
            .toolSpecifications(
                ToolSpecification.builder()
                    .name("clock")
                    .parameters(
                        JsonObjectSchema.builder()
                            .addIntegerProperty("zone")
                            .required("zone")
                            .build())
                    .build())
            .toolChoice(ToolChoice.REQUIRED)
            .build();

    new EarlyExitStreamingChatModel(model, DRAWN)
        .chat(
            request,
            new StreamingChatResponseHandler() {
              @Override
              public void onPartialToolCall(PartialToolCall piece) {
                pieces.add(piece);
              }

              @Override
              public void onCompleteToolCall(CompleteToolCall call) {
                calls.add(call);
              }

              @Override
              public void onCompleteResponse(ChatResponse response) {
                end.complete(response);
              }

              @Override
              public void onError(Throwable error) {
                end.completeExceptionally(error);
              }
            });

    ChatResponse response = end.join();
    List<ToolExecutionRequest> asked = response.aiMessage().toolExecutionRequests();
    assertThat(response.finishReason()).isEqualTo(FinishReason.TOOL_EXECUTION);
    assertThat(asked).isNotEmpty();
    assertThat(asked)
        .allMatch(call -> call.arguments().matches("\\{\"zone\":-?[0-9]+}"))
        .allMatch(call -> call.name().equals("clock"));
    assertThat(calls.stream().map(CompleteToolCall::toolExecutionRequest))
        .containsExactlyElementsOf(asked);
    for (int i = 0; i < asked.size(); i++) {
      StringBuilder arguments = new StringBuilder();
      for (PartialToolCall piece : pieces) {
        arguments.append(piece.index() == i ? piece.partialArguments() : "");
      }
      assertThat(arguments).hasToString(asked.get(i).arguments());
    }
  }
}
