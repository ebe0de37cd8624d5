package org.eellm.eval.sweep;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.eellm.decode.request.Limits;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftPlan;
import org.eellm.decode.speculate.DraftPlanner;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.decode.token.Tokens;
import org.eellm.eval.ExitTrace;
import org.eellm.eval.ExitTrace.ExitPrediction;
import org.eellm.eval.ExitTrace.Text;

/**
 * How long ways to decode would take for the texts of a trace, one at a time, by going through the
 * motions of each: what waits where, and which layers pass blocks of how many rows. From all of
 * them the time is left out that the full model takes to the first tokens.
 */
record DecodingSimulation(ExitTrace trace, DecodingCostModel costs) {

  /** Seconds of the full model. */
  double full() {
    double seconds = 0;
    for (Text text : trace.texts()) {
      seconds += (text.tokens().size() - 1) * fullToken(1);
    }
    return positive(seconds);
  }

  /** Never 0, which texts of a single token would take. */
  private static double positive(double seconds) {
    return Math.max(1e-9, seconds);
  }

  /** Seconds beyond those that the full model takes to the first tokens. */
  private double beyondPrompts(double seconds) {
    double prompts = trace.texts().stream().mapToDouble(text -> fullToken(prompt(text))).sum();
    return positive(seconds - prompts);
  }

  private static int prompt(Text text) {
    return text.written().prompt().size();
  }

  private double fullToken(int rows) {
    return costs.step() + trace.layers() * costs.layer(rows) + costs.head();
  }

  /** Seconds of early exits at a threshold. */
  double earlyExit(double threshold) {
    double seconds = 0;
    for (Text text : trace.texts()) {
      int[] waiting = new int[trace.exits().size()];
      for (int i = 0; i < text.tokens().size(); i++) {
        seconds += step(i == 0 ? prompt(text) : 1, text.tokens().get(i), threshold, waiting);
      }
    }
    return beyondPrompts(seconds);
  }

  /**
   * A step in which a token comes out.
   *
   * @param fresh rows that go in
   * @param waiting rows at each exit, before and after
   */
  private double step(int fresh, List<ExitPrediction> token, double threshold, int[] waiting) {
    double seconds = costs.step();
    int rows = fresh;
    int below = 0;
    boolean left = false;
    for (int exit = 0; exit < waiting.length && threshold < 1; exit++) {
      int layer = trace.exits().get(exit);
      seconds += (layer - below) * costs.layer(rows);
      below = layer;
      if (!left) {
        seconds += costs.exit(layer);
        left = token.get(exit).confidence() >= threshold;
      }
      rows += waiting[exit];
      waiting[exit] = 0;
      if (left && rows < Limits.MAX_PENDING) {
        waiting[exit] = rows;
        return seconds;
      }
    }
    return seconds + (trace.layers() - below) * costs.layer(rows) + (left ? 0 : costs.head());
  }

  /** Seconds of early exits whose missing keys and values are recomputed from layer 1. */
  double recompute(double threshold) {
    double seconds = 0;
    for (Text text : trace.texts()) {
      int complete = 0;
      for (int i = 0; i < text.tokens().size(); i++) {
        int rows = prompt(text) + i - complete;
        OptionalInt exit = ExitTrace.exit(text.tokens().get(i), threshold);
        int asked = threshold < 1 ? exit.orElse(trace.exits().size() - 1) + 1 : 0;
        boolean stops = exit.isPresent() && rows < Limits.MAX_PENDING;
        int layers = stops ? trace.exits().get(exit.getAsInt()) : trace.layers();
        seconds += costs.step() + layers * costs.layer(rows);
        for (int place = 0; place < asked; place++) {
          seconds += costs.exit(trace.exits().get(place));
        }
        seconds += exit.isPresent() ? 0 : costs.head();
        complete = stops ? complete : prompt(text) + i;
      }
    }
    return beyondPrompts(seconds);
  }

  /**
   * Seconds of drafts of an exit. For a trace of drafts.
   *
   * @param exit its place among the exits
   * @param length of the drafts
   */
  double speculative(int exit, DraftLength length) {
    return drafts(List.of(exit), () -> {}, () -> new DraftPlan.Fixed(length));
  }

  /**
   * Seconds of drafts whose exit and length adapt, with the time that their planner takes here. For
   * a trace of drafts.
   *
   * @param planner that has planned nothing yet, for exits as those of the trace
   * @param clock nanoseconds
   */
  double adaptive(DraftPlanner planner, DraftSource source, LongSupplier clock) {
    List<Integer> asked =
        source == DraftSource.TEXT
            ? List.of()
            : IntStream.range(0, trace.exits().size()).boxed().toList();
    long start = clock.getAsLong();
    double seconds = drafts(asked, () -> planner.begin(1), () -> planner.plan(source));
    return seconds + (clock.getAsLong() - start) / 1e9;
  }

  /**
   * Seconds of drafts that the full model verifies. What an exit says behind a wrong token of its
   * own is taken to be as sure as what it says of the full model's text.
   *
   * @param asked exits that may draft, as places among the exits
   * @param cycles told of each before it begins
   * @param plans one for each text
   */
  private double drafts(List<Integer> asked, Runnable cycles, Supplier<DraftPlan> plans) {
    double seconds = 0;
    for (Text text : trace.texts()) {
      List<Integer> prompt = text.written().prompt();
      List<Integer> ids = text.written().continuation();
      Tokens tokens = new Tokens(prompt, prompt.size() + ids.size());
      DraftPlan plan = plans.get();
      tokens.append(ids.getFirst());
      for (int next = 1; next < ids.size(); ) {
        cycles.run();
        Cycle cycle = cycle(text, tokens, asked, plan);
        plan.onVerified(cycle.drafts(), cycle.accepted());
        seconds += cycle.seconds();
        ids.subList(next, next + cycle.accepted() + 1).forEach(tokens::append);
        next += cycle.accepted() + 1;
      }
    }
    return seconds;
  }

  /**
   * A draft and what the full model makes of it.
   *
   * @param drafts tokens that are drafted
   */
  private record Cycle(double seconds, int drafts, int accepted) {}

  private Cycle cycle(Text text, Tokens tokens, List<Integer> asked, DraftPlan plan) {
    int next = tokens.size() - prompt(text);
    List<Integer> ids = text.written().continuation().subList(next, text.tokens().size());
    int room = ids.size() - 1; // the full model adds a token of its own
    int drafts = plan.begin(tokens, room);
    int accepted = 0;
    while (accepted < drafts && plan.lookUp(accepted) == ids.get(accepted)) {
      accepted++;
    }
    OptionalInt exit =
        drafts > 0 || room == 0
            ? OptionalInt.empty()
            : asked.stream()
                .mapToInt(place -> place)
                .filter(place -> plan.asks(place, 0))
                .findFirst();
    int layer = exit.isEmpty() ? 0 : trace.exits().get(exit.getAsInt());
    double seconds = costs.step() + layer * costs.layer(1);
    while (exit.isPresent() && drafts < room && plan.asks(exit.getAsInt(), drafts)) {
      ExitPrediction prediction = text.tokens().get(next + drafts).get(exit.getAsInt());
      seconds += costs.draft(layer);
      if (!plan.keepsDrafting(prediction.confidence())) {
        break;
      }
      accepted += accepted == drafts && prediction.agrees() ? 1 : 0;
      drafts++;
      seconds += costs.step() + costs.repeatedBelow(layer);
    }
    seconds += (trace.layers() - layer) * costs.layer(drafts + 1) + costs.head(drafts + 1);
    return new Cycle(seconds, drafts, accepted);
  }

  /**
   * Seconds of an oracle that knows at which layer a token is settled, leaves there, and asks that
   * head alone; what it leaves out is filled in by large blocks. For a trace with an exit after
   * every layer but the last.
   */
  double oracle() {
    double seconds = 0;
    double filling = costs.layer(Limits.MAX_PENDING) / Limits.MAX_PENDING;
    for (Text text : trace.texts()) {
      for (List<ExitPrediction> token : text.tokens().subList(1, text.tokens().size())) {
        int depth = settled(token);
        seconds += costs.step() + depth * costs.layer(1);
        seconds += depth == trace.layers() ? costs.head() : costs.exit(depth);
        seconds += (trace.layers() - depth) * filling;
      }
    }
    return seconds;
  }

  /** The lowest layer from which on all heads say the token that the final head says. */
  private int settled(List<ExitPrediction> token) {
    int from = token.size();
    while (from > 0 && token.get(from - 1).agrees()) {
      from--;
    }
    return from == token.size() ? trace.layers() : trace.exits().get(from);
  }

  /** Share of tokens that are settled at each layer, from 1 to the last. */
  List<Double> settledShares() {
    double[] counts = new double[trace.layers()];
    trace.texts().stream()
        .flatMap(text -> text.tokens().stream())
        .forEach(token -> counts[settled(token) - 1]++);
    List<Double> shares = new ArrayList<>();
    for (double count : counts) {
      shares.add(count / trace.tokens());
    }
    return shares;
  }
}
