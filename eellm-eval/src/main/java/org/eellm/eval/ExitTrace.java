package org.eellm.eval;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.ToDoubleFunction;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.token.Prediction;
import org.eellm.model.Head;

/**
 * The exits' predictions on the full model's own texts. Keys and values are exact whatever leaves
 * where, so that these predictions tell what any threshold would have done.
 *
 * @param exits their layers, from 1, ascending
 * @param layers of the model
 */
public record ExitTrace(List<Integer> exits, int layers, List<Text> texts) {

  /**
   * A text.
   *
   * @param written by the full model
   * @param tokens for each token after the prompt what each exit says of it, shallowest first
   */
  public record Text(GreedyContinuation written, List<List<ExitPrediction>> tokens) {}

  /**
   * An exit's prediction of a token.
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
    Recorder recorder = Recorder.of(all, model.exits(), rule.confidence());
    switch (rule) {
      case Calibration.OfPolicy _ -> GreedyContinuation.predict(model, all, recorder);
      case Calibration.OfGates _ -> GreedyContinuation.predictShortList(model, all, recorder);
    }
    return recorder.trace(model);
  }

  /**
   * Asks all exits for a figure of their predictions in place of a confidence.
   *
   * @param all texts of the full model's
   * @param figure which grows as an exit becomes surer
   */
  public static ExitTrace ofFigure(
      EvaluatedModel model, List<GreedyContinuation> all, ToDoubleFunction<Prediction> figure) {
    Recorder recorder = Recorder.of(all, model.exits(), figure);
    GreedyContinuation.predict(model, all, recorder);
    return recorder.trace(model);
  }

  /**
   * Asks the exits that a policy asks. Their confidence is 1 where the policy lets a token leave,
   * and else 0.
   *
   * @param all texts of the full model's
   */
  public static ExitTrace ofDecisions(
      EvaluatedModel model, List<GreedyContinuation> all, ExitPolicy policy) {
    List<Integer> asked =
        policy.heads(model.model().decoder().allHeads()).stream()
            .filter(Head::isExit)
            .map(Head::layer)
            .toList();
    Recorder recorder = Recorder.of(all, asked, prediction -> policy.leaves(prediction) ? 1 : 0);
    if (policy.gates().isEmpty()) {
      GreedyContinuation.predict(model, all, recorder);
    } else {
      GreedyContinuation.predictShortList(model, all, recorder);
    }
    return recorder.trace(model);
  }

  /** Takes what some exits predict of texts. */
  private record Recorder(
      List<Integer> exits, ToDoubleFunction<Prediction> confidence, List<Text> texts)
      implements GreedyContinuation.Listener {
    static Recorder of(
        List<GreedyContinuation> all,
        List<Integer> exits,
        ToDoubleFunction<Prediction> confidence) {
      return new Recorder(exits, confidence, all.stream().map(Recorder::empty).toList());
    }

    private static Text empty(GreedyContinuation written) {
      List<List<ExitPrediction>> tokens = new ArrayList<>();
      written.continuation().forEach(id -> tokens.add(new ArrayList<>()));
      return new Text(written, tokens);
    }

    @Override
    public void onPrediction(int text, int position, Prediction prediction) {
      if (exits.contains(prediction.head().layer())) {
        Text of = texts.get(text);
        boolean agrees = prediction.best() == of.written().continuation().get(position);
        of.tokens()
            .get(position)
            .add(new ExitPrediction(confidence.applyAsDouble(prediction), agrees));
      }
    }

    ExitTrace trace(EvaluatedModel model) {
      return new ExitTrace(exits, model.layers(), texts);
    }
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

  /**
   * The trace as if the model had one exit only.
   *
   * @param layer of the exit
   */
  public ExitTrace only(int layer) {
    int place = exits.indexOf(layer);
    return new ExitTrace(
        List.of(layer),
        layers,
        texts.stream()
            .map(
                text ->
                    new Text(
                        text.written(),
                        text.tokens().stream().map(token -> List.of(token.get(place))).toList()))
            .toList());
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
