package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.function.Consumer;
import org.eellm.decode.request.Request;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.serve.GenerationStream.Event;
import org.eellm.serve.json.ApiException;

/** Answers requests for texts. */
final class CompletionService {
  private final ServedModel model;
  private final Metrics metrics;

  /** Texts that become vectors at once: two of the largest requests. */
  private final Semaphore embedding = new Semaphore(2 * Embeddings.MAX_INPUTS);

  /** Where a stream's parts go. */
  interface Sink {
    void send(ObjectNode part);

    /** Nothing has happened for a while. */
    void idle();
  }

  CompletionService(ServedModel model, Metrics metrics) {
    this.model = model;
    this.metrics = metrics;
  }

  ServedModel model() {
    return model;
  }

  /** The whole answer. */
  Reply answer(CompletionRequest request, OpenAiFormat format, RequestContext exchange) {
    Reply reply = new Reply(format, request, exchange.start());
    List<List<GeneratedToken>> scores = scores(request, exchange);
    for (int i = 0; i < request.allChoices(); i++) {
      echo(request, reply, i, scores);
    }
    if (request.maxTokens() == 0) {
      return reply;
    }
    try (GenerationStream run =
        GenerationStream.continuations(request, metrics, exchange.start())) {
      while (run.isRunning()) {
        take(exchange.await(run::next, () -> {}), reply);
      }
    }
    return reply;
  }

  /**
   * Sends the answer as it comes.
   *
   * @param open called once, when the engine has taken the request; what goes wrong before can be
   *     answered with a status
   */
  void stream(
      CompletionRequest request,
      OpenAiFormat format,
      RequestContext exchange,
      Consumer<Consumer<Sink>> open) {
    Reply reply = new Reply(format, request, exchange.start());
    List<List<GeneratedToken>> scores = scores(request, exchange);
    if (request.maxTokens() == 0) {
      open.accept(
          sink -> {
            for (int i = 0; i < request.allChoices(); i++) {
              String piece = echo(request, reply, i, scores);
              sink.send(reply.part(i, piece, reply.text(i).logprobs(), List.of()));
              sink.send(reply.end(i, "", i == request.allChoices() - 1));
            }
            finish(request, reply, sink);
          });
      return;
    }
    try (GenerationStream run =
        GenerationStream.continuations(request, metrics, exchange.start())) {
      open.accept(
          sink -> {
            for (int i = 0; i < request.allChoices(); i++) {
              String piece = echo(request, reply, i, scores);
              if (request.echo()) {
                sink.send(reply.part(i, piece, List.copyOf(reply.text(i).logprobs()), List.of()));
              }
            }
            while (run.isRunning()) {
              send(exchange.await(run::next, sink::idle), request, reply, run, sink);
            }
            finish(request, reply, sink);
          });
    }
  }

  private static void finish(CompletionRequest request, Reply reply, Sink sink) {
    if (request.streamUsage()) {
      sink.send(reply.usagePart());
    }
  }

  private static void send(
      Event event, CompletionRequest request, Reply reply, GenerationStream run, Sink sink) {
    switch (event) {
      case Event.Token token -> {
        TokenLogprob logprob = reply.text(token.text()).add(token);
        if (!token.piece().isEmpty() || request.perToken() || request.logProbabilities()) {
          sink.send(reply.part(token.text(), token.piece(), List.of(logprob), List.of(token)));
        }
      }
      case Event.End end -> {
        take(end, reply);
        sink.send(reply.end(end.text(), end.piece(), !run.isRunning()));
      }
      case Event.Failure(RuntimeException cause) -> throw cause;
    }
  }

  private static void take(Event event, Reply reply) {
    switch (event) {
      case Event.Token token -> reply.text(token.text()).add(token);
      case Event.End end -> reply.text(end.text()).end(end);
      case Event.Failure(RuntimeException cause) -> throw cause;
    }
  }

  /** Every head's predictions for a text. */
  ObjectNode lens(Lens lens, RequestContext exchange) {
    for (Request request : lens.requests()) {
      try (GenerationStream run = GenerationStream.lens(lens, request, metrics, exchange.start())) {
        while (run.isRunning()) {
          exchange.await(run::next, () -> {});
        }
      }
    }
    return lens.json();
  }

  /**
   * Texts as vectors.
   *
   * @param send called with the answer
   * @throws ApiException if the vectors of others take the memory that there is for them
   */
  void embed(Embeddings texts, RequestContext exchange, Consumer<ObjectNode> send) {
    int count = texts.inputs().size();
    if (!embedding.tryAcquire(count)) {
      throw ApiException.busy(
          429, "queue_full", "as many texts wait as may; try again in a second", 1);
    }
    try {
      send.accept(texts.answer(exchange));
      metrics.embedded(texts.tokens());
    } finally {
      embedding.release(count); // not before: a client that reads slowly holds its vectors
    }
  }

  /** The full model's scores of each prompt's tokens but the first, where they are asked for. */
  private List<List<GeneratedToken>> scores(CompletionRequest request, RequestContext exchange) {
    List<List<GeneratedToken>> scores = new ArrayList<>();
    request.prompts().forEach(prompt -> scores.add(List.of()));
    if (request.scoresPrompts()) {
      try (GenerationStream run = GenerationStream.scores(request, metrics, exchange.start())) {
        while (run.isRunning()) {
          if (exchange.await(run::next, () -> {}) instanceof Event.End end) {
            scores.set(end.text(), end.result().tokens());
          }
        }
      }
    }
    return scores;
  }

  private static String echo(
      CompletionRequest request, Reply reply, int choice, List<List<GeneratedToken>> scores) {
    ReplyChoice text = reply.text(choice);
    if (request.maxTokens() == 0) {
      text.endWithoutContinuation();
    }
    return request.echo()
        ? text.echo(request.promptOf(choice), scores.get(choice / request.choices()))
        : "";
  }
}
