package org.eellm.generate;

import java.util.List;
import org.eellm.generate.Result.FinishReason;
import org.eellm.generate.Result.Usage;
import org.eellm.model.Head;

/** A request on its way: waiting, or in work as a {@link Sequence}. */
final class Job implements Ticket {
  private final Request request;
  private final List<Head> heads;
  private final RequestListener listener;
  private final long submitted = System.nanoTime();
  private volatile boolean cancelled;

  /**
   * @param heads those that the request asks, in order of depth
   */
  Job(Request request, List<Head> heads, RequestListener listener) {
    this.request = request;
    this.heads = List.copyOf(heads);
    this.listener = listener;
  }

  Request request() {
    return request;
  }

  List<Head> heads() {
    return heads;
  }

  RequestListener listener() {
    return listener;
  }

  /** {@link System#nanoTime} of the request. */
  long submitted() {
    return submitted;
  }

  /** Positions whose keys and values it may need: all but that of the last token. */
  int positions() {
    return request.prompt().size() + request.maxTokens() - 1;
  }

  @Override
  public void cancel() {
    cancelled = true;
  }

  boolean cancelled() {
    return cancelled;
  }

  /** What a request that was cancelled before its turn comes to. */
  Result withoutWork() {
    return new Result(
        List.of(),
        FinishReason.CANCELLED,
        new Usage(request.prompt().size(), 0, 0, 0),
        (System.nanoTime() - submitted) / 1e9,
        0,
        0);
  }
}
