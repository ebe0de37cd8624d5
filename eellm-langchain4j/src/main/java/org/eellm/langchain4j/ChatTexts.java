package org.eellm.langchain4j;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.agent.tool.ToolSpecification;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.SystemMessage;
import dev.langchain4j.data.message.ToolExecutionResultMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.exception.UnsupportedFeatureException;
import dev.langchain4j.internal.JsonSchemaElementUtils;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.request.ResponseFormat;
import dev.langchain4j.model.chat.request.ResponseFormatType;
import dev.langchain4j.model.chat.request.ToolChoice;
import dev.langchain4j.model.chat.request.json.JsonSchemaElement;
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
import org.eellm.chat.tool.Tool;
import org.eellm.chat.tool.ToolCall;
import org.eellm.chat.tool.ToolReader;
import org.eellm.chat.tool.ToolReader.Part;
import org.eellm.grammar.GrammarSource;
import org.jspecify.annotations.Nullable;

/** Requests of LangChain4j as texts of a model, and what they come to. */
final class ChatTexts {
  private static final ObjectMapper JSON = new ObjectMapper();

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

  /**
   * An answer on its way.
   *
   * @param reader finds calls of tools in it; none if it may have none
   */
  record Answer(Generation text, Optional<ToolReader> reader) {
    /** What is certain with a further piece of it. */
    List<Part> parts(String piece) {
      return reader.isPresent()
          ? reader.get().append(piece)
          : piece.isEmpty() ? List.of() : List.of(new Part.Text(piece));
    }

    /** The rest, when nothing follows. */
    List<Part> rest() {
      return reader.isPresent() ? reader.get().finish() : List.of();
    }
  }

  /** Begins to write an answer. */
  Answer answer(ChatRequest request) {
    List<ChatMessage> messages = request.messages().stream().map(ChatTexts::message).toList();
    boolean offered = request.toolChoice() != ToolChoice.NONE;
    List<Tool> tools =
        offered
            ? orEmpty(request.toolSpecifications()).stream().map(ChatTexts::tool).toList()
            : List.of();
    List<GrammarSource> json = json(request.responseFormat());
    Decoding decoding = decoding(request);
    if (!tools.isEmpty()) {
      boolean required = request.toolChoice() == ToolChoice.REQUIRED;
      var choice = new org.eellm.chat.tool.ToolChoice(tools, required, true);
      decoding = decoding.withGrammar(template.answers(choice, json));
    } else if (!json.isEmpty()) {
      decoding = decoding.withGrammar(json.getFirst());
    }
    return new Answer(
        model.generate(
            overflow.encode(
                messages,
                kept -> template.encode(kept, tools, model.tokenizer()),
                model.contextLength(),
                decoding.maxTokens()),
            decoding),
        tools.isEmpty() ? Optional.empty() : Optional.of(new ToolReader(template.toolForm())));
  }

  private static Tool tool(ToolSpecification tool) {
    return new Tool(
        tool.name(),
        or(tool.description(), ""),
        tool.parameters() == null ? Tool.noParameters() : schema(tool.parameters()));
  }

  private static ObjectNode schema(JsonSchemaElement element) {
    return JSON.valueToTree(JsonSchemaElementUtils.toMap(element));
  }

  /** What an answer in JSON is held to; none for a text. */
  private static List<GrammarSource> json(@Nullable ResponseFormat format) {
    if (format == null || format.type() == ResponseFormatType.TEXT) {
      return List.of();
    }
    return List.of(
        format.jsonSchema() == null
            ? new GrammarSource.JsonObjects()
            : new GrammarSource.Schema(schema(format.jsonSchema().rootElement()).toString()));
  }

  private static ChatMessage message(dev.langchain4j.data.message.ChatMessage message) {
    return switch (message) {
      case SystemMessage system -> new ChatMessage("system", system.text(), Optional.empty());
      case UserMessage user -> {
        refuse(!user.hasSingleText(), "messages of other contents than one text");
        yield new ChatMessage("user", user.singleText(), Optional.ofNullable(user.name()));
      }
      case AiMessage answer ->
          ChatMessage.calling(
              or(answer.text(), ""),
              answer.toolExecutionRequests().stream()
                  .map(call -> new ToolCall(or(call.id(), ""), call.name(), call.arguments()))
                  .toList());
      case ToolExecutionResultMessage result ->
          new ChatMessage(
              "tool",
              result.text(),
              Optional.of(result.toolName()),
              List.of(),
              or(result.id(), ""));
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

  /**
   * An answer, as far as it has come; of one that was cut, the text alone.
   *
   * @param parts of the whole text
   */
  static ChatResponse response(Completion answer, List<Part> parts) {
    ToolReader.Answer read = ToolReader.Answer.of(parts);
    boolean cut = answer.reason() == Completion.Reason.LENGTH;
    List<ToolExecutionRequest> calls =
        cut ? List.of() : read.calls().stream().map(ChatTexts::request).toList();
    return ChatResponse.builder()
        .aiMessage(AiMessage.builder().text(read.text()).toolExecutionRequests(calls).build())
        .finishReason(
            switch (answer.reason()) {
              case LENGTH -> FinishReason.LENGTH;
              case END_TOKEN, STOP_TEXT ->
                  calls.isEmpty() ? FinishReason.STOP : FinishReason.TOOL_EXECUTION;
              case CANCELLED -> FinishReason.OTHER;
            })
        .tokenUsage(new TokenUsage(answer.usage().promptTokens(), answer.tokens().size()))
        .build();
  }

  private static ToolExecutionRequest request(ToolCall call) {
    return ToolExecutionRequest.builder()
        .id(call.id())
        .name(call.name())
        .arguments(call.arguments())
        .build();
  }
}
