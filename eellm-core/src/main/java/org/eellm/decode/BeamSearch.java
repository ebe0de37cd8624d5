package org.eellm.decode;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import org.eellm.config.SettingException;
import org.eellm.decode.backend.Backends;
import org.eellm.decode.cache.PagePool;
import org.eellm.decode.cache.PageTable;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.strategy.BeamStrategy;
import org.eellm.decode.strategy.Sequence;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.GeneratedToken.Alternative;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;

/**
 * The most probable texts instead of the most probable tokens: several beginnings go on side by
 * side, and the best of all their continuations stay. Beginnings share the pages of keys and values
 * that they have in common.
 *
 * <p>Always with the full model: probabilities of exits and of the final head are not comparable,
 * so a sum over both would rank texts by where their tokens left.
 *
 * @param beams beginnings that go on, and texts that result, at least 1
 * @param lengthPenalty a text's score is its log probability over its length to this power: 0
 *     prefers short texts, 1 counts the mean, more prefers long ones
 */
public record BeamSearch(int beams, double lengthPenalty) {

  public BeamSearch {
    if (beams < 1) {
      throw new SettingException("beams", beams + " is below 1; use 1 or more");
    }
    if (!Double.isFinite(lengthPenalty)) {
      throw new SettingException("length-penalty", lengthPenalty + " is no finite number; use 1");
    }
  }

  /**
   * A text that was found.
   *
   * @param score what the texts are ranked by
   */
  public record Hypothesis(List<GeneratedToken> tokens, double score, FinishReason reason) {
    public Hypothesis {
      tokens = List.copyOf(tokens);
    }

    public List<Integer> ids() {
      return tokens.stream().map(GeneratedToken::id).toList();
    }
  }

  /** A beginning: what has been chosen, and the sequence that is to go on. */
  private record Beam(
      Sequence sequence,
      BeamStrategy strategy,
      List<GeneratedToken> tokens,
      double logProbability) {}

  /** A way in which a beginning may go on. */
  private record Step(Beam beam, Alternative token, double logProbability) {}

  /**
   * The best continuations, best first.
   *
   * @param prompt ids, at least one
   * @param maxTokens most tokens of a continuation
   * @param endTokens ids that end one, and are its last
   * @return as many as there are beams, or fewer where the vocabulary is smaller
   * @throws GenerateException if the prompt does not fit the model
   */
  public List<Hypothesis> search(
      DecodingModel model,
      Limits limits,
      List<Integer> prompt,
      int maxTokens,
      Set<Integer> endTokens) {
    Request request =
        new Request(prompt, maxTokens, endTokens, DecodingMethod.full(), Sampler.greedy());
    Job job = Job.of(model, limits.vocabulary(), request, "the prompt", token -> Reaction.CONTINUE);
    int pages = PagePool.pages(job.positions());
    PagePool pool = new PagePool(2 * beams * pages); // of two generations
    try (ModelRunner runner = Backends.runner(model, limits.vocabulary(), pool.size())) {
      BeamStrategy strategy = new BeamStrategy(2 * beams);
      PageTable pageTable = new PageTable(pool, pool.allocate(pages));
      Sequence sequence = new Sequence(job, runner, pageTable, 0, strategy);
      return new Search(runner, job, limits.maxPending())
          .from(new Beam(sequence, strategy, List.of(), 0));
    }
  }

  private final class Search {
    private final ModelRunner runner;
    private final DecodeStep step;
    private final Job job;
    private final List<Hypothesis> found = new ArrayList<>();
    private List<Beam> going = List.of();

    Search(ModelRunner runner, Job job, int maxPending) {
      this.runner = runner;
      step = new DecodeStep(runner, maxPending);
      this.job = job;
    }

    List<Hypothesis> from(Beam first) {
      going = List.of(first);
      try {
        while (!going.isEmpty()) {
          advance();
          goOnWith(bestSteps());
        }
      } finally {
        going.forEach(beam -> beam.sequence().close());
      }
      return found.stream()
          .sorted(Comparator.comparingDouble(Hypothesis::score).reversed())
          .limit(beams)
          .toList();
    }

    /** Lets each beginning's newest token go in; at first the prompt, in parts. */
    private void advance() {
      while (going.getFirst().sequence().uncomputed() > 0) {
        for (Beam beam : going) {
          Sequence sequence = beam.sequence();
          sequence.next(Math.min(Batch.PROMPT_ROWS, sequence.uncomputed()));
        }
        step.run(going.stream().map(Beam::sequence).toList());
        for (Beam beam : going) {
          beam.sequence().output().failure().ifPresent(Search::rethrow);
        }
      }
    }

    private static void rethrow(RuntimeException cause) {
      throw cause;
    }

    /** The most probable continuations of all beginnings, best first; enough, even if many end. */
    private List<Step> bestSteps() {
      return going.stream()
          .flatMap(
              beam ->
                  beam.strategy().next().stream()
                      .map(
                          token ->
                              new Step(
                                  beam, token, beam.logProbability() + token.logProbability())))
          .sorted(Comparator.comparingDouble(Step::logProbability).reversed())
          .limit(2L * beams)
          .toList();
    }

    private void goOnWith(List<Step> steps) {
      List<Step> further = new ArrayList<>();
      for (int rank = 0; rank < steps.size() && further.size() < beams; rank++) {
        Step step = steps.get(rank);
        boolean ends = job.request().endTokens().contains(step.token().id());
        boolean full = step.beam().tokens().size() + 1 == job.request().maxTokens();
        if (ends && rank < beams) {
          add(step, FinishReason.END_TOKEN);
        } else if (!ends && full) {
          add(step, FinishReason.LENGTH);
        } else if (!ends) {
          further.add(step);
        }
      }
      List<Beam> next = isDecided(further) ? List.of() : further.stream().map(this::fork).toList();
      going.forEach(beam -> beam.sequence().close());
      going = next;
    }

    private void add(Step step, FinishReason reason) {
      List<GeneratedToken> tokens = tokens(step);
      found.add(new Hypothesis(tokens, score(step.logProbability(), tokens.size()), reason));
    }

    private double score(double logProbability, int length) {
      return logProbability / Math.pow(length, lengthPenalty);
    }

    /** Whether no beginning can still become better than the texts there are. */
    private boolean isDecided(List<Step> further) {
      if (found.size() < beams || further.isEmpty()) {
        return further.isEmpty();
      }
      Step best = further.getFirst();
      // The longest text has the best score if length is rewarded, the shortest one otherwise.
      int length = lengthPenalty > 0 ? job.request().maxTokens() : best.beam().tokens().size() + 1;
      double worst =
          found.stream()
              .map(Hypothesis::score)
              .sorted(Comparator.reverseOrder())
              .skip(beams - 1L)
              .findFirst()
              .orElseThrow();
      return worst >= score(best.logProbability(), length);
    }

    private List<GeneratedToken> tokens(Step step) {
      List<GeneratedToken> tokens = new ArrayList<>(step.beam().tokens());
      Head head = job.heads().getLast();
      tokens.add(
          new GeneratedToken(
              step.token().id(),
              head.id(),
              head.layer(),
              step.beam().strategy().confidence(),
              step.token().logProbability(),
              false,
              List.of()));
      return tokens;
    }

    private Beam fork(Step step) {
      Sequence parent = step.beam().sequence();
      int length = parent.tokens().size();
      List<Integer> ids = new ArrayList<>(parent.tokens().range(0, length));
      ids.add(step.token().id());
      Job later = job.after(ids, job.request().maxTokens() - step.beam().tokens().size() - 1);
      BeamStrategy strategy = new BeamStrategy(2 * beams);
      PageTable pageTable = parent.pageTable().fork(length, runner);
      return new Beam(
          new Sequence(later, runner, pageTable, length, strategy),
          strategy,
          tokens(step),
          step.logProbability());
    }
  }
}
