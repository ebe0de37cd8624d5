package org.eellm.bench;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.eellm.bench.Turns.Figure;
import org.eellm.config.HeadId;
import org.eellm.decode.Generator;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener;
import org.eellm.distributed.World;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;

/**
 * Times generation on the stages of a pipeline beside one rank that fills in keys and values by
 * itself: the same texts, one after the other, in turns, so that their ratio holds where the
 * machine's speed drifts.
 */
public final class PipelineBenchmark {
  /**
   * Measurements of one policy; seconds are of a token after each text's first, medians of the
   * rounds.
   *
   * @param left share of the tokens that left at each head of the model, in order
   * @param alone seconds on one rank
   * @param staged seconds on the pipeline
   * @param ratio of the two, median of the rounds' ratios: above 1 where the pipeline is faster
   * @param same whether both said the same ids
   */
  public record Measured(
      List<Double> left, double alone, double staged, double ratio, boolean same) {}

  private PipelineBenchmark() {}

  /**
   * Measures requests of one policy; rank 0 calls this while the others {@link #takePart}.
   *
   * @param whole the model
   * @param part this rank's part of it
   * @param warmUp how long both take turns before, one round at least: while Java compiles, it
   *     takes a core that the pipeline needs and one rank does not
   * @param rounds of both
   */
  public static Measured measure(
      DecodingModel whole,
      DecodingModel part,
      World world,
      List<Request> requests,
      Duration warmUp,
      int rounds) {
    Limits limits = limits(part);
    List<List<Result>> last = new ArrayList<>();
    Turns turns = new Turns();
    Figure alone =
        turns.add(
            () -> {
              last.clear();
              last.add(Generator.generate(whole, limits, requests, TokenListener.none()));
              return seconds(last.getLast());
            });
    Figure staged =
        turns.add(
            () -> {
              announce(world, true);
              last.add(generate(part, world, requests));
              return seconds(last.getLast());
            });
    long warm = System.nanoTime() + warmUp.toNanos();
    do {
      turns.take(1, 0);
    } while (System.nanoTime() < warm);
    turns.take(0, rounds);
    announce(world, false);
    return new Measured(
        left(part, last.getFirst()),
        alone.median(),
        staged.median(),
        alone.over(staged),
        ids(last.getFirst()).equals(ids(last.getLast())));
  }

  /** Takes part in what rank 0 measures. */
  public static void takePart(DecodingModel part, World world, List<Request> requests) {
    while (announce(world, false)) {
      generate(part, world, requests);
    }
  }

  /**
   * Waits for all ranks.
   *
   * @param more whether another round follows; counts on rank 0 alone
   * @return what rank 0 says of that
   */
  private static boolean announce(World world, boolean more) {
    byte[] word = {(byte) (more ? 1 : 0)};
    return world.all().gatherBytes(word).getFirst()[0] == 1;
  }

  /** Texts of all ranks, none of which computes anything else meanwhile. */
  private static List<Result> generate(DecodingModel part, World world, List<Request> requests) {
    List<Result> results =
        Generator.generate(part, world, limits(part), requests, TokenListener.none());
    world.all().barrier();
    return results;
  }

  private static Limits limits(DecodingModel part) {
    return Limits.of(part).withBatchSize(1);
  }

  private static List<List<Integer>> ids(List<Result> results) {
    return results.stream().map(Result::ids).toList();
  }

  private static double seconds(List<Result> results) {
    double seconds = 0;
    int tokens = 0;
    for (Result result : results) {
      seconds += result.seconds() - result.firstTokenSeconds();
      tokens += result.tokens().size() - 1;
    }
    return seconds / tokens;
  }

  private static List<Double> left(DecodingModel model, List<Result> results) {
    List<HeadId> heads =
        results.stream()
            .flatMap(result -> result.tokens().stream())
            .map(GeneratedToken::head)
            .toList();
    List<Double> shares = new ArrayList<>();
    for (Head head : model.allHeads()) {
      long here = heads.stream().filter(head.id()::equals).count();
      shares.add((double) here / heads.size());
    }
    return shares;
  }
}
