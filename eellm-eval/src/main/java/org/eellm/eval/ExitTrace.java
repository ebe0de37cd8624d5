package org.eellm.eval;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.ToDoubleFunction;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.token.Prediction;

/**
 * What the exits say of the full model's own texts. Keys and values are exact whatever leaves
 * where, so that these predictions tell what any threshold would have done.
 *
 * @param exits their layers, from 1, ascending
 * @param layers of the model
 */
public record ExitTrace(List<Integer> exits, int layers, List<Text> texts) {

  /**
   * A text.
   *
   * @param prompt number of the prompt's tokens
   * @param tokens for each further token what each exit says of it, shallowest first
   */
  public record Text(int prompt, List<List<ExitPrediction>> tokens) {}

  /**
   * What an exit says of a token.
   *
   * @param confidence that thresholds are compared with
   * @param agrees whether its most probable token is the full model's
   */
  public record ExitPrediction(double confidence, boolean agrees) {}

  /**
   * Some tokens that an exit is about equally confident of.
   *
   * @param confidence mean
   * @param agreement share of them that are the full model's
   */
  public record Bin(int tokens, double confidence, double agreement) {}

  /**
   * Asks the exits.
   *
   * @param all texts of the full model's
   * @param rule one that compares a confidence with a threshold
   */
  public static ExitTrace of(
      EvaluatedModel model, List<GreedyContinuation> all, Calibration.Rule rule) {
    ToDoubleFunction<Prediction> figure = rule.confidence();
    List<Text> texts = new ArrayList<>();
    for (GreedyContinuation text : all) {
      List<List<ExitPrediction>> tokens = new ArrayList<>();
      text.continuation().forEach(id -> tokens.add(new ArrayList<>()));
      texts.add(new Text(text.prompt().size(), tokens));
    }
    GreedyContinuation.Listener listener =
        (text, position, prediction) ->
            texts
                .get(text)
                .tokens()
                .get(position)
                .add(
                    new ExitPrediction(
                        figure.applyAsDouble(prediction),
                        prediction.best() == all.get(text).continuation().get(position)));
    switch (rule) {
      case Calibration.OfPolicy _ -> GreedyContinuation.predict(model, all, listener);
      case Calibration.OfGates _ -> GreedyContinuation.predictShortList(model, all, listener);
    }
    return new ExitTrace(model.exits(), model.layers(), texts);
  }

  /** The exit that a token leaves at, as a place among the exits; none for the final head. */
  public static OptionalInt exit(List<ExitPrediction> token, double threshold) {
    for (int i = 0; i < token.size(); i++) {
      if (threshold < 1 && token.get(i).confidence() >= threshold) {
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
                text.tokens().stream()
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
        .flatMap(text -> text.tokens().stream())
        .mapToInt(
            token -> {
              OptionalInt exit = exit(token, threshold);
              return exit.isEmpty() ? layers : exits.get(exit.getAsInt());
            })
        .average()
        .orElse(layers);
  }

  /** Number of tokens, prompts not counted. */
  public int tokens() {
    return texts.stream().mapToInt(text -> text.tokens().size()).sum();
  }

  /**
   * Share of the tokens on which an exit agrees with the full model.
   *
   * @param exit its place among the exits
   */
  public double agreement(int exit) {
    return texts.stream()
        .flatMap(text -> text.tokens().stream())
        .mapToInt(token -> token.get(exit).agrees() ? 1 : 0)
        .average()
        .orElse(0);
  }

  /**
   * An exit's tokens by its confidence, in ten equally wide bins from 0 to 1; empty ones are left
   * out.
   *
   * @param exit its place among the exits
   */
  public List<Bin> reliability(int exit) {
    SortedMap<Integer, List<ExitPrediction>> bins = new TreeMap<>();
    for (Text text : texts) {
      for (List<ExitPrediction> token : text.tokens()) {
        ExitPrediction prediction = token.get(exit);
        bins.computeIfAbsent(
                Math.min(9, (int) (10 * prediction.confidence())), bin -> new ArrayList<>())
            .add(prediction);
      }
    }
    return bins.values().stream()
        .map(
            bin ->
                new Bin(
                    bin.size(),
                    bin.stream().mapToDouble(ExitPrediction::confidence).average().orElseThrow(),
                    (double) bin.stream().filter(ExitPrediction::agrees).count() / bin.size()))
        .toList();
  }

  /**
   * Expected calibration error of an exit (Guo et al. 2017): how far its confidence is from the
   * share of tokens on which it agrees with the full model, over the bins of {@link #reliability}.
   *
   * @param exit its place among the exits
   */
  public double calibrationError(int exit) {
    return reliability(exit).stream()
            .mapToDouble(bin -> bin.tokens() * Math.abs(bin.confidence() - bin.agreement()))
            .sum()
        / tokens();
  }
}
