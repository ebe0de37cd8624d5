package org.eellm.decode.stages;

import java.util.ArrayList;
import java.util.List;
import org.eellm.config.SettingException;
import org.eellm.decode.Generator;
import org.eellm.decode.cache.PagePool;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.IndexedListener;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.strategy.GuessPolicy;
import org.eellm.decode.token.TokenListener;
import org.eellm.distributed.PeerChannel;
import org.eellm.distributed.World;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;

/**
 * Continues texts with a model whose parts are on the ranks of a world: pipeline-based early-exit
 * inference (EE-LLM, arXiv 2312.04916, section 4), tensor parallelism, or both.
 *
 * <p>A token leaves at an exit, on whatever stage that is, and the first stage begins the next one
 * at once; its hidden state goes on to later stages, which fill in keys and values behind it. The
 * text is that of {@link Generator} on one rank.
 */
public final class PipelineGenerator {
  private PipelineGenerator() {}

  /**
   * Continues all requests, as many at once as the limits say, on the calling thread. Every rank
   * calls this with its part of the model and the same limits and requests.
   *
   * @param model this rank's part
   * @param listener receives tokens on the ranks of the first stage, and has to say the same on
   *     each
   * @return a result for each request, in order, on the ranks of the first stage; elsewhere nothing
   * @throws GenerateException if a prompt does not fit the model; nothing is generated then
   * @throws SettingException if a decoding does not go with several stages
   * @throws org.eellm.distributed.DistributedException if another rank fails; the message names it
   */
  public static List<Result> generate(
      DecodingModel model,
      World world,
      Limits limits,
      List<Request> requests,
      TokenListener listener) {
    if (world.pp().size() == 1) {
      return Generator.generate(model, limits, requests, listener);
    }
    Limits needed = Generator.needed(limits, requests);
    boolean guesses = world.pp().rank() == 0 && Math.min(limits.batchSize(), requests.size()) == 1;
    List<IndexedListener> listeners = new ArrayList<>();
    List<Job> jobs = new ArrayList<>();
    for (int i = 0; i < requests.size(); i++) {
      policy(requests.get(i));
      Request request = guesses ? withGuesses(model, requests.get(i)) : requests.get(i);
      IndexedListener indexed = new IndexedListener(i, listener);
      listeners.add(indexed);
      String name = "prompt " + (i + 1);
      Job job = Job.of(model, limits.vocabulary(), request, name, indexed);
      job.requireRoom(name, PagePool.pages(needed.cacheTokens()));
      jobs.add(job);
    }
    try (PeerChannel channel = world.stageChannel()) {
      if (world.pp().rank() == 0) {
        try (FirstStageWorker stage = new FirstStageWorker(model, world, channel, needed, jobs)) {
          stage.run();
        }
      } else {
        try (LaterStageWorker stage = new LaterStageWorker(model, world, channel, needed, jobs)) {
          stage.run();
        }
      }
      channel.end();
    }
    return world.pp().rank() == 0
        ? listeners.stream().map(IndexedListener::result).toList()
        : List.of();
  }

  /**
   * The same request, with guesses of the last exit on this stage if its tokens all come from the
   * final head. Several texts at once do without: they keep the stages busy, and heads cost time.
   */
  private static Request withGuesses(DecodingModel model, Request request) {
    List<Head> all = model.allHeads();
    List<Head> here = model.headsHere();
    if (here.isEmpty() || !policy(request).heads(all).equals(List.of(all.getLast()))) {
      return request;
    }
    return request.withDecoding(
        new DecodingMethod.EarlyExit(new GuessPolicy(here.getLast().layer())));
  }

  /** Where a request's tokens leave. */
  static ExitPolicy policy(Request request) {
    if (request.decoding() instanceof DecodingMethod.EarlyExit(ExitPolicy policy)) {
      return policy;
    }
    throw new SettingException(
        "mode",
        "several pipeline stages fill in keys and values behind tokens that leave early, and know no %s; use early-exit or full, or tensor parallelism alone"
            .formatted(
                switch (request.decoding()) {
                  case DecodingMethod.Speculative _, DecodingMethod.AdaptiveDrafts _ -> "drafts";
                  case DecodingMethod.Recompute _ -> "recomputation";
                  case DecodingMethod.Propagate _ -> "propagation";
                  case DecodingMethod.Score _, DecodingMethod.EarlyExit _ -> "scores";
                }));
  }
}
