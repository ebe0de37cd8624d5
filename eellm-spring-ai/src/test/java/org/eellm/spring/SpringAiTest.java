package org.eellm.spring;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.micrometer.observation.ObservationRegistry;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.eellm.Decoding;
import org.eellm.EarlyExitModel;
import org.eellm.Pooling;
import org.eellm.chat.ChatTemplateException;
import org.eellm.chat.Overflow;
import org.eellm.config.ConfigException;
import org.eellm.grammar.GrammarException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.springframework.ai.chat.client.AdvisorParams;
import org.springframework.ai.chat.client.ChatClient;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.messages.Message;
import org.springframework.ai.chat.messages.SystemMessage;
import org.springframework.ai.chat.messages.UserMessage;
import org.springframework.ai.chat.model.ChatResponse;
import org.springframework.ai.chat.model.Generation;
import org.springframework.ai.chat.prompt.ChatOptions;
import org.springframework.ai.chat.prompt.Prompt;
import org.springframework.ai.document.Document;
import org.springframework.ai.embedding.EmbeddingModel;
import org.springframework.ai.tool.ToolCallback;
import org.springframework.ai.tool.function.FunctionToolCallback;
import reactor.core.Disposable;

@Timeout(60)
final class SpringAiTest {
  private static final Decoding SHORT = Decoding.lossless().withMaxTokens(12);

  @TempDir private static Path folder;
  private static EarlyExitModel model;

  record Circle(int radius, List<Color> colors) {}

  enum Color {
    RED,
    GREEN
  }

  @BeforeAll
  static void load() throws IOException {
    model = EarlyExitModel.at(TinyModel.write(folder.resolve("tiny"))).threads(1).load();
  }

  @AfterAll
  static void close() {
    model.close();
  }

  private static EarlyExitChatModel chat(Overflow overflow) {
    return new EarlyExitChatModel(model, SHORT, overflow, ObservationRegistry.NOOP);
  }

  private static Generation result(ChatResponse response) {
    return Objects.requireNonNull(response.getResult());
  }

  private static String text(ChatResponse response) {
    return Objects.requireNonNull(result(response).getOutput().getText());
  }

  @Test
  void call_messages_areTheDialogueThatTheModelContinues() {
    EarlyExitChatModel chat = new EarlyExitChatModel(model, SHORT);

    ChatResponse response =
        chat.call(
            new Prompt(
                new SystemMessage("Cats."),
                new UserMessage("the cat"),
                new AssistantMessage("the dog"),
                new UserMessage("the bird")));

    String dialogue = "Cats.\n\nUser: the cat\nAssistant: the dog\nUser: the bird\nAssistant:";
    assertThat(text(response))
        .isEqualTo(model.complete(dialogue, SHORT.withStop("\nUser:", "\nAssistant:")));
    assertThat(result(response).getMetadata().getFinishReason()).isIn("LENGTH", "STOP");
    assertThat(response.getMetadata().getModel()).isEqualTo("tiny");
    assertThat(response.getMetadata().getUsage().getPromptTokens())
        .isEqualTo(model.tokenizer().encode(dialogue).length);
    assertThat(response.getMetadata().getUsage().getCompletionTokens()).isBetween(1, 12);
    Double meanLayer = response.getMetadata().get("meanLayer");
    assertThat(meanLayer).isBetween(1.0, 6.0);
  }

  @Test
  void call_optionsOfThePrompt_goBeforeTheDecoding() {
    EarlyExitChatModel chat = new EarlyExitChatModel(model, SHORT);
    ChatOptions options = ChatOptions.builder().temperature(1.5).topK(50).maxTokens(3).build();

    assertThat(text(chat.call(new Prompt("the cat", options))))
        .isEqualTo(
            model.complete(
                "User: the cat\nAssistant:",
                SHORT.withMaxTokens(3).withTemperature(1.5).withTopK(50)));
    ChatOptions adapter = EarlyExitChatOptions.builder().model("other").build();
    assertThatThrownBy(() -> chat.call(new Prompt("the cat", adapter)))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("other");
  }

  @Test
  void call_whatIsNotOffered_isRefused() {
    ToolCallback clock =
        FunctionToolCallback.builder("clock", (Function<String, String>) _ -> "noon")
            .inputType(String.class)
            .build();
    ChatClient client = ChatClient.create(new EarlyExitChatModel(model, SHORT));

    assertThatThrownBy(() -> client.prompt("the cat").tools(clock).call().content())
        .isInstanceOf(UnsupportedOperationException.class)
        .hasMessage("eellm does not support tools; leave them out of the prompt");
  }

  @Test
  void entity_held_isARecordWhateverTheModelKnows() {
    ChatClient client =
        ChatClient.builder(new EarlyExitChatModel(model, SHORT.withMaxTokens(80)))
            .defaultAdvisors(AdvisorParams.ENABLE_NATIVE_STRUCTURED_OUTPUT)
            .build();

    for (double temperature : new double[] {0, 1, 3}) {
      Circle circle =
          client
              .prompt("the cat")
              .options(EarlyExitChatOptions.builder().temperature(temperature))
              .call()
              .entity(Circle.class);
      assertThat(circle).extracting(Circle::colors).isNotNull();
    }
  }

  @Test
  void call_schemaThatIsNone_isRefused() {
    EarlyExitChatModel chat = new EarlyExitChatModel(model, SHORT);
    ChatOptions options = EarlyExitChatOptions.builder().outputSchema("{\"type\":1}").build();

    assertThatThrownBy(() -> chat.call(new Prompt("the cat", options)))
        .isInstanceOf(GrammarException.class)
        .hasMessageContaining("schema/type");
  }

  @Test
  void options_mutatedAndCombined_keepWhatIsSaid() {
    EarlyExitChatOptions options =
        EarlyExitChatOptions.builder().outputSchema("{}").temperature(0.5).build();

    EarlyExitChatOptions both =
        options.mutate().combineWith(ChatOptions.builder().maxTokens(3)).build();

    assertThat(options.mutate().build()).isEqualTo(options).hasSameHashCodeAs(options);
    assertThat(both.getOutputSchema()).isEqualTo("{}");
    assertThat(both.getTemperature()).isEqualTo(0.5);
    assertThat(both.getMaxTokens()).isEqualTo(3);
    assertThat(both).isNotEqualTo(options);
  }

  @Test
  void stream_pieces_areTheWholeAnswer() {
    EarlyExitChatModel chat = new EarlyExitChatModel(model, SHORT);

    List<ChatResponse> pieces =
        Objects.requireNonNull(chat.stream(new Prompt("the cat")).collectList().block());

    assertThat(pieces.stream().map(SpringAiTest::text).collect(Collectors.joining()))
        .isEqualTo(text(chat.call(new Prompt("the cat"))));
    assertThat(result(pieces.getLast()).getMetadata().getFinishReason()).isIn("LENGTH", "STOP");
    assertThat(pieces.getLast().getMetadata().getUsage().getCompletionTokens()).isPositive();
  }

  @Test
  void stream_cancelled_endsTheText() throws InterruptedException {
    EarlyExitChatModel chat = new EarlyExitChatModel(model, SHORT.withMaxTokens(60));

    Disposable reading = chat.stream(new Prompt("the cat")).subscribe();
    reading.dispose();

    while (model.inUse().running() + model.inUse().waiting() > 0) {
      Thread.sleep(1);
    }
    assertThat(chat.stream(new Prompt("the cat")).take(1).collectList().block()).hasSize(1);
  }

  @Test
  void stream_promptIsTooLong_isAnError() {
    EarlyExitChatModel chat = new EarlyExitChatModel(model, SHORT);

    assertThatThrownBy(() -> chat.stream(new Prompt("x".repeat(500))).blockLast())
        .isInstanceOf(ChatTemplateException.class)
        .hasMessageContaining("the model's context is 96; send fewer");
  }

  @Test
  void call_chatPastTheContext_isRefusedOrForgetsItsOldest() {
    List<Message> messages = new ArrayList<>(List.of(new SystemMessage("Cats.")));
    for (int i = 0; i < 20; i++) {
      messages.add(new UserMessage("the cat " + i));
      messages.add(new AssistantMessage("the dog"));
    }
    messages.add(new UserMessage("the bird"));
    Prompt prompt = new Prompt(messages);

    assertThatThrownBy(() -> chat(Overflow.REFUSE).call(prompt))
        .isInstanceOf(ChatTemplateException.class);
    ChatResponse response = chat(Overflow.FORGET).call(prompt);
    assertThat(response.getMetadata().getUsage().getPromptTokens()).isBetween(48, 96 - 12);
    assertThat(response.getMetadata().getUsage().getCompletionTokens()).isPositive();
  }

  @Test
  void embed_texts_areHiddenStatesOfLengthOne() {
    EmbeddingModel embeddings = new EarlyExitEmbeddingModel(model, 3, Pooling.MEAN);

    float[] one = embeddings.embed("the cat");
    List<float[]> all = embeddings.embed(List.of("the dog", "the cat"));

    assertThat(embeddings.dimensions()).isEqualTo(32).isEqualTo(one.length);
    assertThat(all.getLast()).containsExactly(one, within(1e-5f));
    assertThat(all.getFirst()).isNotEqualTo(one);
    assertThat(embeddings.embed(new Document("the cat"))).containsExactly(one, within(1e-5f));
    double length = 0;
    for (float value : one) {
      length += value * value;
    }
    assertThat(length).isEqualTo(1, within(1e-4));
    assertThatThrownBy(() -> new EarlyExitEmbeddingModel(model, 6, Pooling.MEAN))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("use 1 to 5");
  }
}
