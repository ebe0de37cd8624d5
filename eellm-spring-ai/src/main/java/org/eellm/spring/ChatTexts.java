package org.eellm.spring;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.Completion;
import org.eellm.Decoding;
import org.eellm.Decoding.Sampling;
import org.eellm.EarlyExitModel;
import org.eellm.Generation;
import org.eellm.Token;
import org.eellm.chat.ChatMessage;
import org.eellm.chat.ChatTemplate;
import org.eellm.chat.Overflow;
import org.eellm.grammar.GrammarSource;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.messages.Message;
import org.springframework.ai.chat.messages.SystemMessage;
import org.springframework.ai.chat.messages.UserMessage;
import org.springframework.ai.chat.metadata.ChatGenerationMetadata;
import org.springframework.ai.chat.metadata.ChatResponseMetadata;
import org.springframework.ai.chat.metadata.DefaultUsage;
import org.springframework.ai.chat.model.ChatResponse;
import org.springframework.ai.chat.prompt.ChatOptions;
import org.springframework.ai.chat.prompt.Prompt;
import org.springframework.ai.model.tool.StructuredOutputChatOptions;
import org.springframework.ai.model.tool.ToolCallingChatOptions;

/** Prompts of Spring AI as texts of a model, and what they come to. */
final class ChatTexts {
  private final EarlyExitModel model;
  private final ChatTemplate template;
  private final Decoding usual;
  private final Overflow overflow;

  /**
   * @param usual where a prompt says nothing else
   */
  ChatTexts(EarlyExitModel model, Decoding usual, Overflow overflow) {
    this.model = model;
    this.usual = usual;
    this.overflow = overflow;
    template = ChatTemplate.of(model.tokenizer());
  }

  /** Begins to write an answer. */
  Generation answer(Prompt prompt) {
    ChatOptions options =
        prompt.getOptions() == null ? EarlyExitChatOptions.builder().build() : prompt.getOptions();
    refuse(
        options instanceof ToolCallingChatOptions tools
            && !or(tools.getToolCallbacks(), List.of()).isEmpty(),
        "tools");
    List<ChatMessage> messages = prompt.getInstructions().stream().map(ChatTexts::message).toList();
    Decoding decoding = decoding(options);
    return model.generate(
        overflow.encode(
            messages,
            kept -> template.encode(kept, model.tokenizer()),
            model.contextLength(),
            decoding.maxTokens()),
        decoding);
  }

  private static ChatMessage message(Message message) {
    String text = or(message.getText(), "");
    return switch (message) {
      case SystemMessage _ -> new ChatMessage("system", text, Optional.empty());
      case UserMessage user -> {
        refuse(!user.getMedia().isEmpty(), "messages of other contents than a text");
        yield new ChatMessage("user", text, Optional.empty());
      }
      case AssistantMessage answer -> {
        refuse(answer.hasToolCalls(), "tools");
        yield new ChatMessage("assistant", text, Optional.empty());
      }
      default -> throw unsupported("messages of the type " + message.getMessageType());
    };
  }

  private Decoding decoding(ChatOptions options) {
    Sampling sampling = usual.sampling();
    List<String> stop = new ArrayList<>(usual.stop());
    stop.addAll(template.stops());
    stop.addAll(or(options.getStopSequences(), List.of()));
    Decoding asked =
        usual
            .withAdapter(or(options.getModel(), usual.adapter()))
            .withMaxTokens(or(options.getMaxTokens(), usual.maxTokens()))
            .withStop(stop)
            .withSampling(
                new Sampling(
                    or(options.getTemperature(), sampling.temperature()),
                    or(options.getTopK(), sampling.topK()),
                    or(options.getTopP(), sampling.topP()),
                    or(options.getPresencePenalty(), sampling.presencePenalty()),
                    or(options.getFrequencyPenalty(), sampling.frequencyPenalty()),
                    sampling.seed()));
    return options instanceof StructuredOutputChatOptions output && output.getOutputSchema() != null
        ? asked.withGrammar(new GrammarSource.Schema(output.getOutputSchema()))
        : asked;
  }

  private static <T> T or(@Nullable T asked, T usual) {
    return asked == null ? usual : asked;
  }

  private static void refuse(boolean asked, String what) {
    if (asked) {
      throw unsupported(what);
    }
  }

  private static UnsupportedOperationException unsupported(String what) {
    return new UnsupportedOperationException(
        "eellm does not support " + what + "; leave them out of the prompt");
  }

  /** A piece of an answer that goes on. */
  static ChatResponse piece(String text) {
    return new ChatResponse(
        List.of(new org.springframework.ai.chat.model.Generation(new AssistantMessage(text))));
  }

  /**
   * An answer at its end, with what it took.
   *
   * @param text of it, or what is left to tell
   */
  ChatResponse response(Completion answer, String text) {
    ChatGenerationMetadata reason =
        ChatGenerationMetadata.builder()
            .finishReason(
                switch (answer.reason()) {
                  case LENGTH -> "LENGTH";
                  case END_TOKEN, STOP_TEXT -> "STOP";
                  case CANCELLED -> "CANCELLED";
                })
            .build();
    Completion.Usage usage = answer.usage();
    return new ChatResponse(
        List.of(
            new org.springframework.ai.chat.model.Generation(new AssistantMessage(text), reason)),
        ChatResponseMetadata.builder()
            .model(model.path().getFileName().toString())
            .usage(new DefaultUsage(usage.promptTokens(), answer.tokens().size()))
            .keyValue(
                "meanLayer",
                answer.tokens().stream().mapToInt(Token::layer).average().orElse(model.layers()))
            .keyValue("draftedTokens", usage.draftedTokens())
            .keyValue("acceptedTokens", usage.acceptedTokens())
            .build());
  }
}
