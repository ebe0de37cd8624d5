package org.eellm.langchain4j;

import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.PartialResponse;
import dev.langchain4j.model.chat.response.PartialResponseContext;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.chat.response.StreamingHandle;
import java.util.concurrent.CompletionException;
import org.eellm.Completion;
import org.eellm.Decoding;
import org.eellm.EarlyExitModel;
import org.eellm.Generation;
import org.eellm.chat.Overflow;
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
    Generation answer;
    try {
      answer = texts.answer(request);
    } catch (RuntimeException e) {
      handler.onError(e);
      return;
    }
    Handle handle = new Handle(answer);
    PartialResponseContext context = new PartialResponseContext(handle);
    answer
        .listen(
            token -> {
              if (!token.text().isEmpty() && !handle.isCancelled()) {
                handler.onPartialResponse(new PartialResponse(token.text()), context);
              }
            })
        .whenComplete((whole, failure) -> end(handler, handle, whole, failure));
  }

  private static void end(
      StreamingChatResponseHandler handler,
      Handle handle,
      @Nullable Completion whole,
      @Nullable Throwable failure) {
    if (failure != null) {
      handler.onError(
          failure instanceof CompletionException && failure.getCause() != null
              ? failure.getCause()
              : failure);
    } else if (whole != null && !handle.isCancelled()) {
      handler.onCompleteResponse(ChatTexts.response(whole));
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
