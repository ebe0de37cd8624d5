package org.eellm.eval;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.eellm.eval.Subject.Work;
import org.eellm.generate.Decoding;
import org.eellm.generate.Prediction;
import org.eellm.generate.Request;
import org.eellm.generate.Result;
import org.eellm.generate.Sampler;
import org.eellm.generate.ThresholdKind;

/**
 * What the exits say of the full model's own texts: for each text and each of its tokens, a saying
 * of every exit, shallowest first. Keys and values are exact whatever leaves where, so that these
 * sayings tell what any threshold would have done.
 */
public record ExitTrace(List<Integer> exits, int layers, List<List<List<Saying>>> texts) {

  /**
   * What an exit says of a token.
   *
   * @param figure that thresholds are compared with
   * @param agrees whether its most probable token is the full model's
   */
  public record Saying(double figure, boolean agrees) {}

  /**
   * Lets the full model continue prompts greedily, and asks the exits.
   *
   * @param kind a figure that is higher the surer an exit is
   */
  public static ExitTrace of(
      Subject subject, List<List<Integer>> prompts, int maxTokens, ThresholdKind kind) {
    List<Result> results =
        subject.run(
            prompts.stream()
                .map(
                    prompt ->
                        Work.silent(
                            new Request(
                                prompt,
                                maxTokens,
                                subject.endTokens(),
                                Decoding.full(),
                                Sampler.greedy())))
                .toList());
    List<List<List<Saying>>> texts = new ArrayList<>();
    List<Work> works = new ArrayList<>();
    List<String> heads = Subject.heads(subject.exits()).subList(0, subject.exits().size());
    for (int i = 0; i < prompts.size(); i++) {
      List<Integer> prompt = prompts.get(i);
      List<Integer> text = new ArrayList<>(prompt);
      text.addAll(results.get(i).ids());
      List<List<Saying>> sayings = new ArrayList<>();
      results.get(i).ids().forEach(id -> sayings.add(new ArrayList<>()));
      texts.add(sayings);
      works.add(
          Work.silent(
              Request.score(
                  text,
                  prompt.size(),
                  heads,
                  (said, id) ->
                      sayings
                          .get(said.position() - prompt.size())
                          .add(new Saying(figure(said, kind), said.best() == id)))));
    }
    subject.run(works);
    return new ExitTrace(subject.exits(), subject.layers(), texts);
  }

  private static double figure(Prediction said, ThresholdKind kind) {
    return switch (kind) {
      case MAX_PROBABILITY -> said.maxProbability();
      case MARGIN -> said.margin();
      case ENTROPY -> throw new IllegalArgumentException("lower where an exit is surer");
    };
  }

  /** The exit that a token leaves at, as a place among the exits; none for the final head. */
  private static OptionalInt exit(List<Saying> token, double threshold) {
    for (int i = 0; i < token.size(); i++) {
      if (threshold < 1 && token.get(i).figure() >= threshold) {
        return OptionalInt.of(i);
      }
    }
    return OptionalInt.empty();
  }

  /** For each text the share of tokens that are not the full model's. */
  public double[] losses(double threshold) {
    return texts.stream()
        .mapToDouble(
            text ->
                text.stream()
                    .mapToInt(
                        token -> {
                          OptionalInt exit = exit(token, threshold);
                          return exit.isEmpty() || token.get(exit.getAsInt()).agrees() ? 0 : 1;
                        })
                    .average()
                    .orElse(0))
        .toArray();
  }

  /** Layers that a token passes on average. */
  public double meanLayer(double threshold) {
    return texts.stream()
        .flatMap(List::stream)
        .mapToInt(
            token -> {
              OptionalInt exit = exit(token, threshold);
              return exit.isEmpty() ? layers : exits.get(exit.getAsInt());
            })
        .average()
        .orElse(layers);
  }

  /**
   * Expected calibration error of an exit (Guo et al. 2017): how far its figure is from the share
   * of tokens on which it agrees with the full model, over ten equally wide bins.
   *
   * @param exit its place among the exits
   */
  public double calibrationError(int exit) {
    Map<Integer, List<Saying>> bins = new HashMap<>();
    int all = 0;
    for (List<List<Saying>> text : texts) {
      for (List<Saying> token : text) {
        Saying saying = token.get(exit);
        bins.computeIfAbsent(Math.min(9, (int) (10 * saying.figure())), bin -> new ArrayList<>())
            .add(saying);
        all++;
      }
    }
    double error = 0;
    for (List<Saying> bin : bins.values()) {
      double sure = bin.stream().mapToDouble(Saying::figure).sum();
      double right = bin.stream().filter(Saying::agrees).count();
      error += Math.abs(sure - right) / all;
    }
    return error;
  }
}
