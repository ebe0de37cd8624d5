package org.eellm.decode;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.eellm.decode.cache.PagePool;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.pipeline.PipelineSession;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.IndexedListener;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.token.TokenListener;
import org.eellm.distributed.World;
import org.eellm.model.DecodingModel;

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

  /** Texts, and where the time went. */
  public record Measured(List<Result> results, DecodeStats stats) {}

  /**
   * Continues all requests, as many at once as the limits say, on the calling thread.
   *
   * @return a result for each request, in order
   * @throws GenerateException if a prompt does not fit the model; nothing is generated then
   */
  public static List<Result> generate(
      DecodingModel model, Limits limits, List<Request> requests, TokenListener listener) {
    if (requests.isEmpty()) {
      return List.of();
    }
    try (Batch batch = new Batch(model, needed(limits, requests))) {
      return generate(batch, requests, listener);
    }
  }

  /**
   * Continues so many at a time as the limits say, and only when all of these are done the next
   * ones, on the calling thread.
   *
   * @return a result for each request, in order
   */
  static List<Result> generateInGroups(DecodingModel model, Limits limits, List<Request> requests) {
    try (Batch batch = new Batch(model, needed(limits, requests))) {
      List<Result> results = new ArrayList<>();
      for (int from = 0; from < requests.size(); from += limits.batchSize()) {
        int end = Math.min(from + limits.batchSize(), requests.size());
        results.addAll(generate(batch, requests.subList(from, end), TokenListener.none()));
      }
      return results;
    }
  }

  /**
   * Continues all requests on the ranks of a world, each of which calls this with its part of the
   * model, and the same limits and requests.
   *
   * @param model this rank's part
   * @param listener receives tokens on the ranks of the first pipeline stage, and has to say the
   *     same on each
   * @return a result for each request, in order, on the ranks of the first stage; elsewhere nothing
   * @throws org.eellm.distributed.DistributedException if another rank fails; the message names it
   */
  public static List<Result> generate(
      DecodingModel model,
      World world,
      Limits limits,
      List<Request> requests,
      TokenListener listener) {
    if (world.pp().size() == 1 || requests.isEmpty()) {
      return generate(model, limits, requests, listener);
    }
    Limits needed = needed(limits, requests);
    for (int i = 0; i < requests.size(); i++) { // so that all ranks refuse alike
      Job job =
          Job.of(
              model,
              needed.vocabulary(),
              requests.get(i),
              name(i),
              new IndexedListener(i, listener));
      job.requireRoom(
          name(i), Batch.neededPages(model, needed, job), PagePool.pages(needed.cacheTokens()));
    }
    return PipelineSession.run(
            world,
            model,
            links -> {
              try (Batch batch = Batch.over(model, needed, links.orElseThrow())) {
                return generate(batch, requests, listener);
              }
            })
        .orElse(List.of());
  }

  /** Continues all requests and times the parts; measures the weights' read rate afterwards. */
  public static Measured measure(
      DecodingModel model, Limits limits, List<Request> requests, TokenListener listener) {
    try (Batch batch = new Batch(model, needed(limits, requests))) {
      DecodeMeter meter = batch.meter();
      List<Result> results = generate(batch, requests, listener);
      return new Measured(results, meter.stats(results));
    }
  }

  private static List<Result> generate(
      Batch batch, List<Request> requests, TokenListener listener) {
    List<IndexedListener> listeners = new ArrayList<>();
    List<Job> jobs = new ArrayList<>();
    for (int i = 0; i < requests.size(); i++) {
      IndexedListener indexed = new IndexedListener(i, listener);
      listeners.add(indexed);
      jobs.add(batch.job(requests.get(i), name(i), indexed));
    }
    jobs.forEach(batch::add);
    while (!batch.isIdle()) {
      batch.step();
    }
    return listeners.stream().map(IndexedListener::result).toList();
  }

  private static String name(int request) {
    return "prompt " + (request + 1);
  }

  /** A copy of limits with no more room than these requests need. */
  public static Limits needed(Limits limits, List<Request> requests) {
    return limits.withCacheTokens(
        Math.min(limits.cacheTokens(), cacheTokens(requests, limits.batchSize())));
  }

  /** Room for the longest requests that may be in work together. */
  private static int cacheTokens(List<Request> requests, int batchSize) {
    int tokens =
        requests.stream()
            .map(request -> PagePool.pages(request.prompt().size() + request.maxTokens()))
            .sorted(Comparator.reverseOrder())
            .limit(batchSize)
            .mapToInt(pages -> pages * ModelRunner.PAGE)
            .sum();
    return Math.max(1, tokens);
  }
}
