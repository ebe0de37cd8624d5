package org.eellm.spring;

import io.micrometer.observation.Observation;
import io.micrometer.observation.ObservationRegistry;
import io.micrometer.observation.contextpropagation.ObservationThreadLocalAccessor;
import java.util.concurrent.CompletionException;
import org.eellm.Completion;
import org.eellm.Decoding;
import org.eellm.EarlyExitModel;
import org.eellm.Generation;
import org.eellm.chat.Overflow;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.chat.model.ChatModel;
import org.springframework.ai.chat.model.ChatResponse;
import org.springframework.ai.chat.observation.ChatModelObservationContext;
import org.springframework.ai.chat.observation.ChatModelObservationDocumentation;
import org.springframework.ai.chat.observation.DefaultChatModelObservationConvention;
import org.springframework.ai.chat.prompt.Prompt;
import reactor.core.publisher.Flux;
import reactor.core.publisher.FluxSink;

/**
 * A chat model that computes in this process. Threads may share it. The metadata of its answers
 * have {@code meanLayer}, the layer at which tokens left, on average, and {@code draftedTokens} and
 * {@code acceptedTokens}.
 */
public final class EarlyExitChatModel implements ChatModel {
  /** Its name among the providers of models. */
  static final String PROVIDER = "eellm";

  private final ChatTexts texts;
  private final ObservationRegistry observations;

  /**
   * A model that is not observed, and refuses chats that do not fit its context.
   *
   * @param model borrowed; nothing here closes it
   * @param decoding where a prompt says nothing else
   */
  public EarlyExitChatModel(EarlyExitModel model, Decoding decoding) {
    this(model, decoding, Overflow.REFUSE, ObservationRegistry.NOOP);
  }

  /**
   * @param model borrowed; nothing here closes it
   * @param decoding where a prompt says nothing else
   * @param overflow what becomes of chats that do not fit the model's context
   */
  public EarlyExitChatModel(
      EarlyExitModel model,
      Decoding decoding,
      Overflow overflow,
      ObservationRegistry observations) {
    texts = new ChatTexts(model, decoding, overflow);
    this.observations = observations;
  }

  @Override
  public EarlyExitChatOptions getOptions() {
    return EarlyExitChatOptions.builder().build();
  }

  @Override
  public ChatResponse call(Prompt prompt) {
    ChatModelObservationContext context = context(prompt, false);
    return observation(context)
        .observe(
            () -> {
              try (Generation answer = texts.answer(prompt)) {
                Completion whole = answer.completion();
                ChatResponse response = texts.response(whole, whole.text());
                context.setResponse(response);
                return response;
              }
            });
  }

  /** The answer in pieces as they come, the last of which has the metadata; cancelled, it ends. */
  @Override
  public Flux<ChatResponse> stream(Prompt prompt) {
    return Flux.create(sink -> stream(prompt, sink));
  }

  private void stream(Prompt prompt, FluxSink<ChatResponse> sink) {
    ChatModelObservationContext context = context(prompt, true);
    Observation observation =
        observation(context)
            .parentObservation(
                sink.contextView().getOrDefault(ObservationThreadLocalAccessor.KEY, null))
            .start();
    sink.onDispose(observation::stop);
    try {
      Generation answer = texts.answer(prompt);
      sink.onCancel(answer::close);
      answer
          .listen(
              token -> {
                if (!token.text().isEmpty()) {
                  sink.next(ChatTexts.piece(token.text()));
                }
              })
          .whenComplete(
              (whole, failure) -> {
                if (failure != null) {
                  fail(failure, observation, sink);
                } else {
                  context.setResponse(texts.response(whole, whole.text()));
                  sink.next(texts.response(whole, ""));
                  sink.complete();
                }
              });
    } catch (RuntimeException e) {
      fail(e, observation, sink);
    }
  }

  private static void fail(
      Throwable failure, Observation observation, FluxSink<ChatResponse> sink) {
    @Nullable Throwable cause = failure instanceof CompletionException ? failure.getCause() : null;
    observation.error(cause == null ? failure : cause);
    sink.error(cause == null ? failure : cause);
  }

  private static ChatModelObservationContext context(Prompt prompt, boolean streaming) {
    return ChatModelObservationContext.builder()
        .prompt(prompt)
        .provider(PROVIDER)
        .streaming(streaming)
        .build();
  }

  private Observation observation(ChatModelObservationContext context) {
    return ChatModelObservationDocumentation.CHAT_MODEL_OPERATION.observation(
        null, new DefaultChatModelObservationConvention(), () -> context, observations);
  }
}
