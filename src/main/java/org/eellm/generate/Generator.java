package org.eellm.generate;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import org.eellm.generate.TokenListener.Reaction;
import org.eellm.model.Decoder;

/**
 * Continues texts with early exits (EE-LLM, arXiv 2312.04916, section 4).
 *
 * <pre>{@code
 * Request request =
 *     new Request(
 *         ids, 64, Set.of(end), ExitPolicies.maxProbability(Threshold.of(0.9)), Sampler.greedy());
 * List<Result> results =
 *     Generator.generate(model, Limits.of(model), List.of(request), TokenListener.none());
 * }</pre>
 *
 * <p>A request's text depends on the request alone: not on the others, nor on the limits. (In exact
 * arithmetic; a block of other size may round differently.)
 */
public final class Generator {
  private Generator() {}

  /**
   * Continues all requests, as many at once as the limits say, on the calling thread.
   *
   * @return a result for each request, in order
   * @throws GenerateException if a prompt does not fit the model; nothing is generated then
   */
  public static List<Result> generate(
      Decoder model, Limits limits, List<Request> requests, TokenListener listener) {
    int needed = Math.min(limits.cacheTokens(), cacheTokens(requests, limits.batchSize()));
    try (Batch batch = new Batch(model, limits.withCacheTokens(needed))) {
      List<Hearing> hearings = new ArrayList<>();
      List<Job> jobs = new ArrayList<>();
      for (int i = 0; i < requests.size(); i++) {
        Hearing hearing = new Hearing(i, listener);
        hearings.add(hearing);
        jobs.add(batch.job(requests.get(i), "prompt " + (i + 1), hearing));
      }
      jobs.forEach(batch::add);
      while (!batch.isIdle()) {
        batch.step();
      }
      return hearings.stream().map(hearing -> hearing.result.orElseThrow()).toList();
    }
  }

  /** Room for the longest requests that may be in work together. */
  private static int cacheTokens(List<Request> requests, int batchSize) {
    int tokens =
        requests.stream()
            .map(request -> PagePool.pages(request.prompt().size() + request.maxTokens()))
            .sorted(Comparator.reverseOrder())
            .limit(batchSize)
            .mapToInt(pages -> pages * PagePool.PAGE)
            .sum();
    return Math.max(1, tokens);
  }

  /** Hands on what is heard of one request. */
  private static final class Hearing implements RequestListener {
    private final int index;
    private final TokenListener listener;
    private Optional<Result> result = Optional.empty();

    Hearing(int index, TokenListener listener) {
      this.index = index;
      this.listener = listener;
    }

    @Override
    public Reaction onToken(GeneratedToken token) {
      return listener.onToken(index, token);
    }

    @Override
    public void onEnd(Result ended) {
      result = Optional.of(ended);
    }

    @Override
    public void onFailure(RuntimeException cause) {
      throw cause;
    }
  }
}
