package org.eellm.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.eellm.bench.Turns.Figure;
import org.eellm.decode.Generator;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftMemory;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.decode.token.TokenListener;

/**
 * Times a model's texts without drafts, with drafts of each request's own, and with drafts across
 * requests. All take turns, and each has a new engine in each round: what an engine knows of
 * requests is of those before in the same round.
 */
public final class DraftBenchmark {
  private static final int WARM_UP_ROUNDS = 1;

  /**
   * What to write.
   *
   * @param prompts in the order in which they come
   * @param tokens of each text, at most
   * @param temperature 0 for the most probable tokens
   * @param batch texts at once
   */
  public record Plan(
      List<List<Integer>> prompts, int tokens, double temperature, int batch, int rounds) {
    public Plan {
      prompts = List.copyOf(prompts);
    }
  }

  /**
   * A way to write.
   *
   * @param tokensPerSecond behind the texts' first tokens, median of the rounds
   * @param speedup over no drafts, median of the rounds
   * @param drafted tokens for each token of the texts
   * @param accepted share of these that held
   * @param sameTexts share of texts that are those without drafts
   */
  public record Way(
      String drafts,
      double tokensPerSecond,
      double speedup,
      double leastSpeedup,
      double mostSpeedup,
      double drafted,
      double accepted,
      double sameTexts) {}

  /** Measurements of all ways, without drafts first. */
  public record Report(int texts, int tokens, int rounds, List<Way> ways) {}

  private final LoadedModel model;
  private final Plan plan;
  private final Turns turns = new Turns();

  /** A way, and what it wrote last. */
  private final class Measured {
    private final String name;
    private final DecodingMethod method;
    private final Figure speed = turns.add(this::tokensPerSecond);
    private List<Result> results = List.of();

    Measured(String name, DecodingMethod method) {
      this.name = name;
      this.method = method;
    }

    private double tokensPerSecond() {
      Limits limits = model.limits().withBatchSize(plan.batch());
      results = Generator.generate(model.decoder(), limits, requests(method), TokenListener.none());
      double seconds =
          results.stream().mapToDouble(text -> text.seconds() - text.firstTokenSeconds()).sum();
      return (tokens() - results.size()) * plan.batch() / seconds;
    }

    int tokens() {
      return results.stream().mapToInt(text -> text.ids().size()).sum();
    }

    Way beside(Measured none) {
      int drafted = results.stream().mapToInt(text -> text.usage().draftedTokens()).sum();
      int accepted = results.stream().mapToInt(text -> text.usage().acceptedTokens()).sum();
      long same =
          IntStream.range(0, results.size())
              .filter(i -> results.get(i).ids().equals(none.results.get(i).ids()))
              .count();
      List<Double> ratios = speed.ratios(none.speed);
      return new Way(
          name,
          speed.median(),
          speed.over(none.speed),
          ratios.stream().min(Double::compare).orElseThrow(),
          ratios.stream().max(Double::compare).orElseThrow(),
          (double) drafted / tokens(),
          drafted == 0 ? 0 : (double) accepted / drafted,
          (double) same / results.size());
    }
  }

  private DraftBenchmark(LoadedModel model, Plan plan) {
    this.model = model;
    this.plan = plan;
  }

  /** Measures a model. */
  public static Report run(LoadedModel model, Plan plan) {
    return new DraftBenchmark(model, plan).measure();
  }

  private Report measure() {
    Measured none = new Measured("none", DecodingMethod.full());
    List<Measured> all = new ArrayList<>(List.of(none));
    for (DraftMemory memory : List.of(DraftMemory.OWN, DraftMemory.SHARED)) {
      all.add(
          new Measured(
              memory.toString(), new DecodingMethod.AdaptiveDrafts(DraftSource.BOTH, memory)));
    }
    turns.take(WARM_UP_ROUNDS, plan.rounds());
    return new Report(
        plan.prompts().size(),
        none.tokens(),
        plan.rounds(),
        all.stream().map(each -> each.beside(none)).toList());
  }

  private List<Request> requests(DecodingMethod method) {
    return IntStream.range(0, plan.prompts().size())
        .mapToObj(
            i ->
                new Request(
                    plan.prompts().get(i), plan.tokens(), model.endTokens(), method, sampler(i)))
        .toList();
  }

  private Sampler sampler(int text) {
    return plan.temperature() == 0
        ? Sampler.greedy()
        : new RandomSampler(plan.temperature(), 0, 1, 1, text);
  }
}
