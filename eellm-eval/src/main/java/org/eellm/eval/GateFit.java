package org.eellm.eval;

import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.token.Prediction;

/** Fits gates to what exits say of the full model's own texts. */
public final class GateFit {
  /** Beside the losses of all samples; the best one is found on texts that are left out. */
  private static final double[] RIDGES = {10, 100, 1000};

  /** One of so many texts is left out for that. */
  private static final int PART_LEFT_OUT = 5;

  /** A smaller deviation, as a share of the mean, is but rounding. */
  private static final double CONSTANT = 1e-6;

  /** Figures before the hidden state. */
  private static final int LIST_FIGURES = 2;

  /**
   * An exit's prediction of a token.
   *
   * @param text number of the text
   * @param figures log odds and gap of the short list, then the hidden state
   * @param agrees whether its token is the full model's
   */
  record Sample(int text, float[] figures, boolean agrees) {}

  private GateFit() {}

  /**
   * Fits each exit's gate.
   *
   * @param texts of the full model's, at least one token in all
   * @return by the exits' layers
   */
  public static SortedMap<Integer, Gate> fit(EvaluatedModel model, List<GreedyContinuation> texts) {
    SortedMap<Integer, List<Sample>> samples = new TreeMap<>();
    model.exits().forEach(layer -> samples.put(layer, new ArrayList<>()));
    GreedyContinuation.predictShortList(
        model,
        texts,
        (text, position, prediction) -> {
          boolean agrees = prediction.best() == texts.get(text).continuation().get(position);
          samples
              .getOrDefault(prediction.head().layer(), new ArrayList<>())
              .add(new Sample(text, figures(prediction), agrees));
        });
    SortedMap<Integer, Gate> gates = new TreeMap<>();
    samples.forEach((layer, some) -> gates.put(layer, fit(some)));
    return gates;
  }

  private static float[] figures(Prediction prediction) {
    float[] hidden = prediction.hidden();
    float[] figures = new float[LIST_FIGURES + hidden.length];
    figures[0] = (float) Gate.logOdds(prediction);
    figures[1] = (float) Gate.gap(prediction);
    System.arraycopy(hidden, 0, figures, LIST_FIGURES, hidden.length);
    return figures;
  }

  /** Fits a gate to what its exit says. */
  static Gate fit(List<Sample> samples) {
    if (samples.isEmpty()) {
      throw new EvalException(
          "the model's texts have no token to fit gates to; give other prompts");
    }
    Scale scale = Scale.of(samples);
    return scale.gate(fit(samples, ridge(samples, scale), scale));
  }

  private static LogisticRegression fit(List<Sample> samples, double ridge, Scale scale) {
    return LogisticRegression.fit(scale.apply(samples), outcomes(samples), ridge);
  }

  /** The ridge with which others than the samples that it was fitted to are told best. */
  private static double ridge(List<Sample> samples, Scale scale) {
    List<Sample> inside = new ArrayList<>();
    List<Sample> outside = new ArrayList<>();
    for (Sample sample : samples) {
      (sample.text() % PART_LEFT_OUT == 0 ? outside : inside).add(sample);
    }
    double best = RIDGES[RIDGES.length - 1];
    double least = Double.MAX_VALUE;
    for (double ridge : RIDGES) {
      if (inside.isEmpty() || outside.isEmpty()) {
        break; // too few to tell: the one that trusts them least
      }
      double loss = fit(inside, ridge, scale).loss(scale.apply(outside), outcomes(outside));
      if (loss < least) {
        least = loss;
        best = ridge;
      }
    }
    return best;
  }

  private static boolean[] outcomes(List<Sample> samples) {
    boolean[] outcomes = new boolean[samples.size()];
    IntStream.range(0, outcomes.length).forEach(i -> outcomes[i] = samples.get(i).agrees());
    return outcomes;
  }

  /** A scale on which figures are 0 on average, with a standard deviation of 1. */
  private record Scale(double[] means, double[] deviations) {
    static Scale of(List<Sample> samples) {
      int width = samples.getFirst().figures().length;
      double[] means = new double[width];
      double[] deviations = new double[width];
      for (Sample sample : samples) {
        for (int i = 0; i < width; i++) {
          means[i] += sample.figures()[i] / samples.size();
        }
      }
      for (Sample sample : samples) {
        for (int i = 0; i < width; i++) {
          double far = sample.figures()[i] - means[i];
          deviations[i] += far * far / samples.size();
        }
      }
      for (int i = 0; i < width; i++) {
        double deviation = Math.sqrt(deviations[i]);
        deviations[i] = deviation > CONSTANT * Math.abs(means[i]) ? deviation : 1;
      }
      return new Scale(means, deviations);
    }

    float[][] apply(List<Sample> samples) {
      float[][] scaled = new float[samples.size()][means.length];
      for (int row = 0; row < scaled.length; row++) {
        float[] figures = samples.get(row).figures();
        for (int i = 0; i < means.length; i++) {
          scaled[row][i] = (float) ((figures[i] - means[i]) / deviations[i]);
        }
      }
      return scaled;
    }

    /** The gate of figures as they are that a model of scaled figures is. */
    Gate gate(LogisticRegression scaled) {
      double bias = scaled.bias();
      double[] weights = scaled.weights().clone();
      for (int i = 0; i < weights.length; i++) {
        weights[i] /= deviations[i];
        bias -= weights[i] * means[i];
      }
      float[] hidden = new float[weights.length - LIST_FIGURES];
      for (int i = 0; i < hidden.length; i++) {
        hidden[i] = (float) weights[LIST_FIGURES + i];
      }
      return new Gate(bias, weights[0], weights[1], hidden);
    }
  }
}
