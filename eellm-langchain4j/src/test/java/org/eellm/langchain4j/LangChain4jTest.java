package org.eellm.langchain4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.langchain4j.data.embedding.Embedding;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.data.message.ImageContent;
import dev.langchain4j.data.message.SystemMessage;
import dev.langchain4j.data.message.TextContent;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.exception.UnsupportedFeatureException;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.PartialResponse;
import dev.langchain4j.model.chat.response.PartialResponseContext;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.output.FinishReason;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.eellm.Decoding;
import org.eellm.EarlyExitModel;
import org.eellm.EellmException;
import org.eellm.Pooling;
import org.eellm.SavedModel;
import org.eellm.chat.Overflow;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
final class LangChain4jTest {
  private static final Decoding SHORT = Decoding.lossless().withMaxTokens(12);

  @TempDir private static Path folder;
  private static EarlyExitModel model;

  @BeforeAll
  static void load() throws IOException {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, false, false);
    try (Decoder decoder = SmallModel.of(exits, DataType.FLOAT32)) {
      SavedModel.write(folder.resolve("model"), decoder);
    }
    model = EarlyExitModel.at(folder.resolve("model")).threads(1).load(); // the model is tiny
  }

  @AfterAll
  static void close() {
    model.close();
  }

  /** What a handler hears. */
  private static class Heard implements StreamingChatResponseHandler {
    final StringBuilder pieces = new StringBuilder();
    final CompletableFuture<ChatResponse> end = new CompletableFuture<>();

    @Override
    public void onPartialResponse(String piece) {
      pieces.append(piece);
    }

    @Override
    public void onCompleteResponse(ChatResponse response) {
      end.complete(response);
    }

    @Override
    public void onError(Throwable error) {
      end.completeExceptionally(error);
    }
  }

  @Test
  void chat_messages_areTheDialogueThatTheModelContinues() {
    ChatModel chat = new EarlyExitChatModel(model, SHORT);

    ChatResponse response =
        chat.chat(
            SystemMessage.from("Cats."),
            UserMessage.from("the cat"),
            AiMessage.from("the dog"),
            UserMessage.from("the bird"));

    String dialogue = "Cats.\n\nUser: the cat\nAssistant: the dog\nUser: the bird\nAssistant:";
    assertThat(response.aiMessage().text())
        .isEqualTo(model.complete(dialogue, SHORT.withStop("\nUser:", "\nAssistant:")));
    assertThat(response.finishReason()).isIn(FinishReason.LENGTH, FinishReason.STOP);
    assertThat(response.tokenUsage().outputTokenCount()).isBetween(1, 12);
    assertThat(response.tokenUsage().inputTokenCount())
        .isEqualTo(model.tokenizer().encode(dialogue).length);
  }

  @Test
  void chat_parametersOfTheRequest_goBeforeTheDecoding() {
    ChatModel chat = new EarlyExitChatModel(model, SHORT);
    ChatRequest request =
        ChatRequest.builder()
            .messages(UserMessage.from("the cat"))
            .temperature(1.5)
            .topK(50)
            .maxOutputTokens(3)
            .build();

    ChatResponse response = chat.chat(request);

    assertThat(response.tokenUsage().outputTokenCount()).isLessThanOrEqualTo(3);
    assertThat(response.aiMessage().text())
        .isEqualTo(
            model.complete(
                "User: the cat\nAssistant:",
                SHORT.withMaxTokens(3).withTemperature(1.5).withTopK(50)));
  }

  @Test
  void chat_whatIsNotOffered_isRefused() {
    ChatModel chat = new EarlyExitChatModel(model, SHORT);

    assertThatThrownBy(
            () ->
                chat.chat(
                    UserMessage.from(
                        TextContent.from("the cat"), ImageContent.from("http://127.0.0.1/cat"))))
        .isInstanceOf(UnsupportedFeatureException.class)
        .hasMessageContaining("messages of other contents than one text");
  }

  @Test
  void stream_pieces_areTheWholeAnswer() {
    StreamingChatModel chat = new EarlyExitStreamingChatModel(model, SHORT);
    Heard heard = new Heard();

    chat.chat("the cat", heard);

    String whole = heard.end.join().aiMessage().text();
    assertThat(heard.pieces).hasToString(whole);
    assertThat(whole).isEqualTo(new EarlyExitChatModel(model, SHORT).chat("the cat"));
  }

  @Test
  void stream_cancelled_isHeardOfNoMore() throws InterruptedException {
    StreamingChatModel chat = new EarlyExitStreamingChatModel(model, SHORT.withMaxTokens(60));
    CompletableFuture<Boolean> cancelled = new CompletableFuture<>();
    Heard heard =
        new Heard() {
          @Override
          public void onPartialResponse(PartialResponse piece, PartialResponseContext context) {
            assertThat(cancelled.isDone()).isFalse();
            context.streamingHandle().cancel();
            cancelled.complete(context.streamingHandle().isCancelled());
          }
        };

    chat.chat("the cat", heard);

    assertThat(cancelled.join()).isTrue();
    new EarlyExitChatModel(model, SHORT).chat("the cat"); // ends after the cancelled one
    assertThat(heard.end).isNotDone();
  }

  @Test
  void stream_handlerThrows_isToldSo() {
    StreamingChatModel chat = new EarlyExitStreamingChatModel(model, SHORT);
    Heard heard =
        new Heard() {
          @Override
          public void onPartialResponse(String piece) {
            throw new IllegalArgumentException("no");
          }
        };

    chat.chat("the cat", heard);

    assertThatThrownBy(heard.end::join).hasRootCauseMessage("no");
  }

  @Test
  void stream_promptIsTooLong_isAnError() {
    StreamingChatModel chat = new EarlyExitStreamingChatModel(model, SHORT);
    Heard heard = new Heard();

    chat.chat("x".repeat(500), heard);

    assertThatThrownBy(heard.end::join).hasMessageContaining("context is 96");
  }

  @Test
  void chat_pastTheContext_forgetsItsOldest() {
    List<ChatMessage> messages = new ArrayList<>(List.of(SystemMessage.from("Cats.")));
    for (int i = 0; i < 20; i++) {
      messages.addAll(List.of(UserMessage.from("the cat " + i), AiMessage.from("the dog")));
    }
    messages.add(UserMessage.from("the bird"));

    ChatResponse response = new EarlyExitChatModel(model, SHORT, Overflow.FORGET).chat(messages);

    assertThat(response.tokenUsage().inputTokenCount()).isBetween(48, 96 - 12);
    ChatModel refuses = new EarlyExitChatModel(model, SHORT);
    assertThatThrownBy(() -> refuses.chat(messages))
        .isInstanceOf(EellmException.class)
        .hasMessageContaining("the model's context is 96; send fewer");
  }

  @Test
  void embed_texts_areHiddenStatesOfLengthOne() {
    EmbeddingModel embeddings = new EarlyExitEmbeddingModel(model, 3, Pooling.MEAN);

    Embedding one = embeddings.embed("the cat").content();
    List<Embedding> all =
        embeddings
            .embedAll(List.of(TextSegment.from("the dog"), TextSegment.from("the cat")))
            .content();

    assertThat(embeddings.dimension()).isEqualTo(32).isEqualTo(one.dimension());
    assertThat(all.getLast().vector()).containsExactly(one.vector(), within(1e-5f));
    assertThat(all.getFirst()).isNotEqualTo(one);
    double length = 0;
    for (float value : one.vector()) {
      length += value * value;
    }
    assertThat(length).isEqualTo(1, within(1e-4));
    assertThatThrownBy(() -> new EarlyExitEmbeddingModel(model, 6, Pooling.MEAN))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("use 1 to 5");
  }
}
