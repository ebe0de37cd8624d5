package org.eellm;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.eellm.config.HeadId;
import org.eellm.decode.request.RequestHandle;
import org.eellm.decode.request.RequestListener;
import org.eellm.decode.request.Result;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TextStream;
import org.eellm.decode.token.TokenListener.Reaction;

/**
 * A text on its way, whose tokens can be read as they come: once, by {@link #iterator}, {@link
 * #stream} or {@link #listen}, or all together by {@link #completion}.
 *
 * <p><b>Back-pressure.</b> The model never waits for a reader: a text that nobody reads is written
 * to its end and frees its memory, so a slow reader holds up neither other texts nor the model.
 * Tokens that have not been read wait here, at most {@link Decoding#maxTokens} of them.
 *
 * <p><b>Cancelling.</b> {@link #close}, from any thread, ends the text before the model's next
 * step, and the iteration at once. A reader that is interrupted while it waits does the same, and
 * gets a {@link CancellationException}. Leaving a loop early cancels nothing: close the generation,
 * or let it come to its end unread.
 *
 * <p><b>Failures.</b> The text's failure is thrown where its next token would be read. Where the
 * model is closed first, that is an {@link IllegalStateException}, after the tokens that had come:
 * a text that is not complete never looks complete.
 */
public final class Generation implements Iterable<Token>, AutoCloseable {
  private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();
  private final TextStream text;
  private final Set<Integer> endTokens;
  private final int maxTokens;
  private final ReentrantLock reading = new ReentrantLock();
  private final List<Token> tokens = new ArrayList<>(); // read so far, with the lock
  private Optional<Event> end = Optional.empty(); // with the lock
  private boolean iterates; // with the lock
  private volatile boolean closed;
  private volatile Runnable cancel = () -> {};

  private sealed interface Event {
    record Next(Token token) implements Event {}

    record End(Result result) implements Event {}

    record Failure(RuntimeException cause) implements Event {}
  }

  /**
   * @param text makes pieces of tokens, up to a stop text
   * @param endTokens ids that end the text
   * @param maxTokens most tokens that come
   */
  Generation(TextStream text, Set<Integer> endTokens, int maxTokens) {
    this.text = text;
    this.endTokens = endTokens;
    this.maxTokens = maxTokens;
  }

  /** The listener that the engine tells of tokens and the end. */
  RequestListener listener() {
    return new Writer();
  }

  void startedAs(RequestHandle handle) {
    cancel = handle::cancel;
  }

  /** Receives the text on the engine's thread. */
  private final class Writer implements RequestListener {
    private final List<Event> ofStep = new ArrayList<>();
    private int count;

    @Override
    public Reaction onToken(GeneratedToken token) {
      count++;
      String piece = text.append(token.id());
      boolean isLast = text.stopped() || endTokens.contains(token.id()) || count == maxTokens;
      ofStep.add(
          new Event.Next(
              new Token(
                  token.id(),
                  isLast ? piece + text.finish() : piece,
                  token.layer(),
                  token.head().equals(HeadId.FINAL),
                  token.confidence(),
                  token.drafted())));
      return text.stopped() ? Reaction.STOP : Reaction.CONTINUE;
    }

    @Override
    public void onStep() {
      events.addAll(ofStep);
      ofStep.clear();
    }

    @Override
    public void onEnd(Result result) {
      onStep();
      events.add(new Event.End(result));
    }

    @Override
    public void onFailure(RuntimeException cause) {
      onStep();
      events.add(new Event.Failure(cause));
    }
  }

  /**
   * The tokens as they come. For one thread.
   *
   * @throws IllegalStateException if it has been called before
   */
  @Override
  public Iterator<Token> iterator() {
    reading.lock();
    try {
      if (iterates) {
        throw new IllegalStateException("the tokens can be read once; use completion() afterwards");
      }
      iterates = true;
    } finally {
      reading.unlock();
    }
    return new Iterator<>() {
      private Optional<Token> next = Optional.empty();

      @Override
      public boolean hasNext() {
        if (next.isEmpty() && !closed) {
          next = read();
        }
        return next.isPresent();
      }

      @Override
      public Token next() {
        if (!hasNext()) {
          throw new NoSuchElementException("the text has no further token");
        }
        Token token = next.orElseThrow();
        next = Optional.empty();
        return token;
      }
    };
  }

  /** The tokens as they come; closing the stream closes this. */
  public Stream<Token> stream() {
    return StreamSupport.stream(spliterator(), false).onClose(this::close);
  }

  /**
   * Has a listener called with each token, on a thread of its own: it may take its time.
   *
   * @return the whole text, as soon as it is there, or what it failed by. What the listener throws
   *     cancels the text and is its failure; cancelling the future cancels the text, too
   */
  public CompletableFuture<Completion> listen(Consumer<Token> listener) {
    CompletableFuture<Completion> result = new CompletableFuture<>();
    Iterator<Token> all = iterator();
    Thread.ofVirtual()
        .name("eellm-listener")
        .start(
            () -> {
              try {
                all.forEachRemaining(listener);
                result.complete(completion());
              } catch (RuntimeException | Error e) {
                close();
                result.completeExceptionally(e);
              }
            });
    result.whenComplete(
        (_, _) -> {
          if (result.isCancelled()) {
            close();
          }
        });
    return result;
  }

  /** The whole text, for which this waits; the tokens that were read before are part of it. */
  public String text() {
    return completion().text();
  }

  /**
   * The whole text with its tokens, for which this waits. May be called at any time, and again.
   *
   * @throws CancellationException if the thread is interrupted, which cancels the text
   */
  public Completion completion() {
    boolean goesOn = true;
    while (goesOn) {
      goesOn = read().isPresent(); // which keeps what it reads
    }
    reading.lock();
    try {
      StringBuilder whole = new StringBuilder();
      tokens.forEach(token -> whole.append(token.text()));
      Result result = ((Event.End) end.orElseThrow()).result();
      return new Completion(
          whole.toString(),
          tokens,
          reason(result.reason()),
          new Completion.Usage(
              result.usage().promptTokens(),
              result.usage().reusedTokens(),
              result.usage().draftedTokens(),
              result.usage().acceptedTokens(),
              result.queuedSeconds(),
              result.seconds()));
    } finally {
      reading.unlock();
    }
  }

  private static Completion.Reason reason(Result.FinishReason reason) {
    return switch (reason) {
      case LENGTH -> Completion.Reason.LENGTH;
      case END_TOKEN -> Completion.Reason.END_TOKEN;
      case STOPPED -> Completion.Reason.STOP_TEXT;
      case CANCELLED -> Completion.Reason.CANCELLED;
    };
  }

  /** Waits for the next token; nothing at the end. */
  private Optional<Token> read() {
    reading.lock();
    try {
      Event event = end.isPresent() ? end.get() : events.take();
      return switch (event) {
        case Event.Next(Token token) -> {
          tokens.add(token);
          yield Optional.of(token);
        }
        case Event.End(Result result) -> {
          end = Optional.of(event);
          if (result.reason() == Result.FinishReason.CANCELLED && !closed) {
            throw new IllegalStateException("the model was closed before this text was complete");
          }
          yield Optional.empty();
        }
        case Event.Failure(RuntimeException cause) -> {
          end = Optional.of(event);
          throw cause;
        }
      };
    } catch (InterruptedException e) {
      close();
      Thread.currentThread().interrupt();
      throw new CancellationException(
          "interrupted while waiting for the next token; the text is cancelled");
    } finally {
      reading.unlock();
    }
  }

  /** Cancels the text, unless it has come to its end; from any thread, at any time. */
  @Override
  public void close() {
    closed = true;
    cancel.run();
  }
}
