package org.eellm.langchain4j;

import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.SystemMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.exception.UnsupportedFeatureException;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.request.ResponseFormat;
import dev.langchain4j.model.chat.request.ResponseFormatType;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.output.FinishReason;
import dev.langchain4j.model.output.TokenUsage;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.Completion;
import org.eellm.Decoding;
import org.eellm.Decoding.Sampling;
import org.eellm.EarlyExitModel;
import org.eellm.Generation;
import org.eellm.chat.ChatMessage;
import org.eellm.chat.ChatTemplate;
import org.eellm.chat.Overflow;
import org.jspecify.annotations.Nullable;

/** Requests of LangChain4j as texts of a model, and what they come to. */
final class ChatTexts {
  private final EarlyExitModel model;
  private final ChatTemplate template;
  private final Decoding usual;
  private final Overflow overflow;

  /**
   * @param usual where a request says nothing else
   */
  ChatTexts(EarlyExitModel model, Decoding usual, Overflow overflow) {
    this.model = model;
    this.usual = usual;
    this.overflow = overflow;
    template = ChatTemplate.of(model.tokenizer());
  }

  /** Begins to write an answer. */
  Generation answer(ChatRequest request) {
    refuse(!orEmpty(request.toolSpecifications()).isEmpty(), "tools");
    refuse(isJson(request.responseFormat()), "answers in JSON");
    List<ChatMessage> messages = request.messages().stream().map(ChatTexts::message).toList();
    Decoding decoding = decoding(request);
    return model.generate(
        overflow.encode(
            messages,
            kept -> template.encode(kept, model.tokenizer()),
            model.contextLength(),
            decoding.maxTokens()),
        decoding);
  }

  private static boolean isJson(@Nullable ResponseFormat format) {
    return format != null && format.type() != ResponseFormatType.TEXT;
  }

  private static ChatMessage message(dev.langchain4j.data.message.ChatMessage message) {
    return switch (message) {
      case SystemMessage system -> new ChatMessage("system", system.text(), Optional.empty());
      case UserMessage user -> {
        refuse(!user.hasSingleText(), "messages of other contents than one text");
        yield new ChatMessage("user", user.singleText(), Optional.ofNullable(user.name()));
      }
      case AiMessage answer -> {
        refuse(answer.hasToolExecutionRequests() || answer.text() == null, "tools");
        yield new ChatMessage("assistant", answer.text(), Optional.empty());
      }
      default -> throw unsupported("messages of the type " + message.type());
    };
  }

  private Decoding decoding(ChatRequest request) {
    Sampling sampling = usual.sampling();
    List<String> stop = new ArrayList<>(usual.stop());
    stop.addAll(template.stops());
    stop.addAll(orEmpty(request.stopSequences()));
    return usual
        .withMaxTokens(or(request.maxOutputTokens(), usual.maxTokens()))
        .withStop(stop)
        .withSampling(
            new Sampling(
                or(request.temperature(), sampling.temperature()),
                or(request.topK(), sampling.topK()),
                or(request.topP(), sampling.topP()),
                or(request.presencePenalty(), sampling.presencePenalty()),
                or(request.frequencyPenalty(), sampling.frequencyPenalty()),
                sampling.seed()));
  }

  private static <T> T or(@Nullable T asked, T usual) {
    return asked == null ? usual : asked;
  }

  private static <T> List<T> orEmpty(@Nullable List<T> asked) {
    return or(asked, List.of());
  }

  private static void refuse(boolean asked, String what) {
    if (asked) {
      throw unsupported(what);
    }
  }

  private static UnsupportedFeatureException unsupported(String what) {
    return new UnsupportedFeatureException(
        "eellm does not support " + what + "; leave them out of the request");
  }

  /** An answer, as far as it has come. */
  static ChatResponse response(Completion answer) {
    return ChatResponse.builder()
        .aiMessage(AiMessage.from(answer.text()))
        .finishReason(
            switch (answer.reason()) {
              case LENGTH -> FinishReason.LENGTH;
              case END_TOKEN, STOP_TEXT -> FinishReason.STOP;
              case CANCELLED -> FinishReason.OTHER;
            })
        .tokenUsage(new TokenUsage(answer.usage().promptTokens(), answer.tokens().size()))
        .build();
  }
}
