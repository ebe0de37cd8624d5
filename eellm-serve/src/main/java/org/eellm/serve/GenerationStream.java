package org.eellm.serve;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.eellm.config.HeadId;
import org.eellm.config.SettingException;
import org.eellm.decode.request.Draft;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestHandle;
import org.eellm.decode.request.RequestListener;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TextStream;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.serve.json.ApiException;

/**
 * The texts of one request in the engine, reported as events in the order in which they come.
 * Closing cancels what has not ended.
 */
final class GenerationStream implements AutoCloseable {
  private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();
  private final List<RequestHandle> handles = new ArrayList<>();
  private final Metrics metrics;
  private final long start;
  private int running;

  /** An event of a text: a token, its end or its failure. */
  sealed interface Event {

    /**
     * A token came.
     *
     * @param piece text that is certain now; often empty
     * @param seconds from the request
     */
    record Token(int text, GeneratedToken token, String piece, double seconds) implements Event {}

    /**
     * The text is complete.
     *
     * @param piece the rest of it
     * @param reason in OpenAI's words
     * @param drafts that the full model verified
     */
    record End(int text, String piece, String reason, Result result, List<Draft> drafts)
        implements Event {
      public End {
        drafts = List.copyOf(drafts);
      }
    }

    /** The text will not be completed. */
    record Failure(RuntimeException cause) implements Event {}
  }

  private GenerationStream(Metrics metrics, long start) {
    this.metrics = metrics;
    this.start = start;
  }

  /**
   * Continues a request's prompts.
   *
   * @param start {@link System#nanoTime} of the request
   * @throws ApiException if the engine takes no more, or the request does not fit
   */
  static GenerationStream continuations(CompletionRequest request, Metrics metrics, long start) {
    ServedModel model = request.model();
    int most = model.engine().maxQueued();
    if (request.allChoices() > most) { // else it would be told for ever to come back later
      throw ApiException.badField(
          request.promptParam(),
          "%d texts at once are more than the %d that may wait here; send several requests"
              .formatted(request.allChoices(), most));
    }
    GenerationStream run = new GenerationStream(metrics, start);
    for (int i = 0; i < request.allChoices(); i++) {
      List<Integer> prompt = request.promptOf(i);
      long seed = request.seed() + i % request.choices();
      run.submit(
          model,
          new Request(
                  prompt,
                  request.maxTokens(),
                  request.stopping().tokens(),
                  request.decoding(),
                  sampler(request, seed))
              .withAlternatives(request.alternatives()),
          request.promptParam(),
          run
          .new Continuation(
              i,
              new TextStream(
                  request.detokenizer(prompt),
                  request.stopping().texts(),
                  request.stopping().least())));
    }
    return run;
  }

  /** Log probabilities are among all ids, at exits too that a short list would be enough for. */
  private static Sampler sampler(CompletionRequest request, long seed) {
    Sampler sampler = request.sampler().apply(seed);
    return request.logProbabilities() ? Sampler.ofAllIds(sampler) : sampler;
  }

  /** Asks the full model about the prompts' own tokens; the texts are the prompts. */
  static GenerationStream scores(CompletionRequest request, Metrics metrics, long start) {
    GenerationStream run = new GenerationStream(metrics, start);
    for (int i = 0; i < request.prompts().size(); i++) {
      List<Integer> prompt = request.prompts().get(i);
      if (prompt.size() > 1) {
        run.submit(
            request.model(),
            Request.score(prompt, HeadId.FINAL, request.alternatives()),
            request.promptParam(),
            run.new Scoring(i));
      }
    }
    return run;
  }

  /** Asks every head about the tokens of a text. */
  static GenerationStream lens(Lens lens, Request request, Metrics metrics, long start) {
    GenerationStream run = new GenerationStream(metrics, start);
    run.submit(lens.model(), request, lens.param(), run.new Scoring(0));
    return run;
  }

  private void submit(
      ServedModel model, Request request, String promptParam, RequestListener listener) {
    Optional<RequestHandle> handle;
    try {
      handle = model.engine().submit(request.withAdapter(model.adapter()), listener);
    } catch (GenerateException e) {
      close();
      throw ApiException.badField(promptParam, String.valueOf(e.getMessage()));
    } catch (SettingException e) {
      close();
      throw ApiException.badField(RequestReader.param(e.setting()), e.problem());
    } catch (RuntimeException e) {
      close();
      throw e;
    }
    if (handle.isEmpty()) {
      close();
      throw ApiException.busy(
          429, "queue_full", "as many texts wait as may; try again in a second", 1);
    }
    handles.add(handle.get());
    running++;
  }

  /** Whether texts are in work. */
  boolean isRunning() {
    return running > 0;
  }

  /**
   * The next event, or nothing within a time.
   *
   * @throws RuntimeException what a text failed by
   */
  Optional<Event> next(long millis) throws InterruptedException {
    Optional<Event> event = Optional.ofNullable(events.poll(millis, TimeUnit.MILLISECONDS));
    if (event.isPresent() && event.get() instanceof Event.Failure(RuntimeException cause)) {
      throw cause;
    }
    if (event.isPresent() && event.get() instanceof Event.End) {
      running--;
    }
    return event;
  }

  @Override
  public void close() {
    handles.forEach(RequestHandle::cancel);
  }

  /** Receives a continuation, on the engine's thread. */
  private final class Continuation implements RequestListener {
    private final int index;
    private final TextStream stream;
    private final List<Event> ofStep = new ArrayList<>();
    private final List<Draft> drafts = new ArrayList<>();
    private long last;

    Continuation(int index, TextStream stream) {
      this.index = index;
      this.stream = stream;
    }

    @Override
    public Reaction onToken(GeneratedToken token) {
      long now = System.nanoTime();
      double seconds = (now - start) / 1e9;
      if (last == 0) {
        metrics.firstToken(token, seconds);
      } else {
        metrics.nextToken(token, (now - last) / 1e9);
      }
      last = now;
      ofStep.add(new Event.Token(index, token, stream.append(token.id()), seconds));
      return stream.stopped() ? Reaction.STOP : Reaction.CONTINUE;
    }

    @Override
    public void onDraft(Draft draft) {
      drafts.add(draft);
    }

    @Override
    public void onStep() {
      events.addAll(ofStep);
      ofStep.clear();
    }

    @Override
    public void onEnd(Result result) {
      onStep();
      metrics.ended(result.usage(), result.queuedSeconds());
      String piece = stream.finish();
      String reason =
          stream.stopped() || result.reason() == FinishReason.END_TOKEN ? "stop" : "length";
      events.add(
          result.reason() == FinishReason.CANCELLED
              ? new Event.Failure(
                  ApiException.failed(503, "cancelled", "the server stops; try another"))
              : new Event.End(index, piece, reason, result, drafts));
    }

    @Override
    public void onFailure(RuntimeException cause) {
      onStep();
      events.add(new Event.Failure(cause));
    }
  }

  /** Receives a prompt's own tokens. */
  private final class Scoring implements RequestListener {
    private final int index;

    Scoring(int index) {
      this.index = index;
    }

    @Override
    public Reaction onToken(GeneratedToken token) {
      return Reaction.CONTINUE;
    }

    @Override
    public void onEnd(Result result) {
      metrics.ended(result.usage(), result.queuedSeconds());
      events.add(
          result.reason() == FinishReason.CANCELLED
              ? new Event.Failure(
                  ApiException.failed(503, "cancelled", "the server stops; try another"))
              : new Event.End(index, "", "length", result, List.of()));
    }

    @Override
    public void onFailure(RuntimeException cause) {
      events.add(new Event.Failure(cause));
    }
  }
}
