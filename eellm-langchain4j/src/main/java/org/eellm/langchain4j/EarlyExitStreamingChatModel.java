package org.eellm.langchain4j;

import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.model.chat.Capability;
import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.CompleteToolCall;
import dev.langchain4j.model.chat.response.PartialResponse;
import dev.langchain4j.model.chat.response.PartialResponseContext;
import dev.langchain4j.model.chat.response.PartialToolCall;
import dev.langchain4j.model.chat.response.PartialToolCallContext;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.chat.response.StreamingHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletionException;
import org.eellm.Completion;
import org.eellm.Decoding;
import org.eellm.EarlyExitModel;
import org.eellm.Generation;
import org.eellm.chat.Overflow;
import org.eellm.chat.tool.ToolReader.Part;
import org.jspecify.annotations.Nullable;

/**
 * {@link EarlyExitChatModel} with answers as they come. A handler is called on a thread of its own,
 * and may take its time. After {@link StreamingHandle#cancel} it receives nothing more; what it
 * throws ends the answer, and is the error that it is told.
 */
public final class EarlyExitStreamingChatModel implements StreamingChatModel {
  private final ChatTexts texts;

  /** One that refuses chats that do not fit the model's context. */
  public EarlyExitStreamingChatModel(EarlyExitModel model, Decoding decoding) {
    this(model, decoding, Overflow.REFUSE);
  }

  /**
   * @param model borrowed; nothing here closes it
   * @param decoding where a request says nothing else
   * @param overflow what becomes of chats that do not fit the model's context
   */
  public EarlyExitStreamingChatModel(EarlyExitModel model, Decoding decoding, Overflow overflow) {
    texts = new ChatTexts(model, decoding, overflow);
  }

  @Override
  public void doChat(ChatRequest request, StreamingChatResponseHandler handler) {
    ChatTexts.Answer answer;
    try {
      answer = texts.answer(request);
    } catch (RuntimeException e) {
      handler.onError(e);
      return;
    }
    Telling telling = new Telling(handler, answer, new Handle(answer.text()), new ArrayList<>());
    answer
        .text()
        .listen(token -> telling.tell(answer.parts(token.text())))
        .whenComplete(telling::end);
  }

  @Override
  public Set<Capability> supportedCapabilities() {
    return Set.of(Capability.RESPONSE_FORMAT_JSON_SCHEMA);
  }

  /**
   * What a handler is told.
   *
   * @param told parts of the answer
   */
  private record Telling(
      StreamingChatResponseHandler handler,
      ChatTexts.Answer answer,
      Handle handle,
      List<Part> told) {
    void tell(List<Part> parts) {
      for (Part part : parts) {
        told.add(part);
        if (handle.isCancelled()) {
          continue;
        }
        switch (part) {
          case Part.Text(String piece) ->
              handler.onPartialResponse(
                  new PartialResponse(piece), new PartialResponseContext(handle));
          case Part.Call _ -> {} // its arguments follow, and its name with them
          case Part.Arguments(int index, String piece) -> {
            Part.Call call = call(index);
            handler.onPartialToolCall(
                PartialToolCall.builder()
                    .index(index)
                    .id(call.id())
                    .name(call.name())
                    .partialArguments(piece)
                    .build(),
                new PartialToolCallContext(handle));
          }
        }
      }
    }

    private Part.Call call(int index) {
      return told.stream()
          .filter(Part.Call.class::isInstance)
          .map(Part.Call.class::cast)
          .skip(index)
          .findFirst()
          .orElseThrow();
    }

    void end(@Nullable Completion whole, @Nullable Throwable failure) {
      if (failure != null) {
        handler.onError(
            failure instanceof CompletionException && failure.getCause() != null
                ? failure.getCause()
                : failure);
      } else if (whole != null && !handle.isCancelled()) {
        tell(answer.rest());
        ChatResponse response = ChatTexts.response(whole, told);
        List<ToolExecutionRequest> calls = response.aiMessage().toolExecutionRequests();
        for (int i = 0; i < calls.size(); i++) {
          handler.onCompleteToolCall(new CompleteToolCall(i, calls.get(i)));
        }
        handler.onCompleteResponse(response);
      }
    }
  }

  /** Ends an answer. */
  private static final class Handle implements StreamingHandle {
    private final Generation answer;
    private volatile boolean cancelled;

    Handle(Generation answer) {
      this.answer = answer;
    }

    @Override
    public void cancel() {
      cancelled = true;
      answer.close();
    }

    @Override
    public boolean isCancelled() {
      return cancelled;
    }
  }
}
