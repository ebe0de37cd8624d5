package org.eellm.eval;

import java.util.Arrays;

/**
 * A logistic model of some figures.
 *
 * @param weights of the figures
 */
record LogisticRegression(double bias, double[] weights) {
  private static final int MOST_STEPS = 50;
  private static final int MOST_PRODUCTS = 200; // of a step
  private static final double TOLERANCE = 1e-6; // of the gradient, beside the first one
  private static final double LEAST_STEP = 1e-6;

  /** Beside that of weights: where all outcomes are the same, the bias ends somewhere. */
  private static final double BIAS_RIDGE = 1e-2;

  /**
   * Fits a model: the lowest sum of {@code -log p(outcome)} and {@code ridge / 2 |weights|^2}, by
   * Newton's method, whose steps are found by conjugate gradients.
   *
   * @param x figures, [samples, figures]; best of about the same scale
   * @param outcomes of the samples
   * @param ridge above 0
   */
  static LogisticRegression fit(float[][] x, boolean[] outcomes, double ridge) {
    Problem problem = new Problem(x, outcomes, ridge);
    double[] at = new double[x[0].length + 1]; // the bias last
    double[] gradient = problem.gradient(at);
    double enough = TOLERANCE * Math.max(1, norm(gradient));
    for (int step = 0; step < MOST_STEPS && norm(gradient) > enough; step++) {
      double[] direction = problem.newtonStep(gradient);
      double before = problem.loss(at);
      double slope = dot(gradient, direction);
      double length = 1;
      double[] next = moved(at, length, direction);
      while (problem.loss(next) > before + 1e-4 * length * slope && length > LEAST_STEP) {
        length /= 2;
        next = moved(at, length, direction);
      }
      at = next;
      gradient = problem.gradient(at); // which leaves the curvature there for the next step
    }
    return new LogisticRegression(at[at.length - 1], Arrays.copyOf(at, at.length - 1));
  }

  /** The mean of {@code -log p(outcome)}. */
  double loss(float[][] x, boolean[] outcomes) {
    double sum = 0;
    for (int i = 0; i < x.length; i++) {
      sum += loss(Problem.score(x[i], weights, bias), outcomes[i]);
    }
    return sum / x.length;
  }

  /** {@code log(1 + exp(-z))} of a score, or of its negative. */
  private static double loss(double score, boolean outcome) {
    double z = outcome ? score : -score;
    return Math.max(-z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
  }

  private static double norm(double[] v) {
    return Math.sqrt(dot(v, v));
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  private static double[] moved(double[] from, double by, double[] direction) {
    double[] to = from.clone();
    for (int i = 0; i < to.length; i++) {
      to[i] += by * direction[i];
    }
    return to;
  }

  /** The loss that is to be lowest, at points that are the weights and the bias. */
  private static final class Problem {
    private final float[][] x;
    private final boolean[] outcomes;
    private final double ridge;
    private final int width;
    private final double[] curvatures; // of the samples' losses, where the gradient was asked last

    Problem(float[][] x, boolean[] outcomes, double ridge) {
      this.x = x;
      this.outcomes = outcomes;
      this.ridge = ridge;
      width = x[0].length;
      curvatures = new double[x.length];
    }

    static double score(float[] x, double[] weights, double bias) {
      double even = 0; // two sums, for each addition waits for the one before
      double odd = 0;
      int i = 0;
      for (; i + 1 < x.length; i += 2) {
        even += x[i] * weights[i];
        odd += x[i + 1] * weights[i + 1];
      }
      return bias + even + odd + (i < x.length ? x[i] * weights[i] : 0);
    }

    double loss(double[] at) {
      double sum = 0;
      for (int i = 0; i < x.length; i++) {
        sum += LogisticRegression.loss(score(x[i], at, at[width]), outcomes[i]);
      }
      return sum + penalty(at, at) / 2;
    }

    private double penalty(double[] a, double[] b) {
      double bias = a[width] * b[width];
      return ridge * (dot(a, b) - bias) + BIAS_RIDGE * bias;
    }

    double[] gradient(double[] at) {
      double[] sum = penalised(at);
      for (int i = 0; i < x.length; i++) {
        double p = 1 / (1 + Math.exp(-score(x[i], at, at[width])));
        curvatures[i] = p * (1 - p);
        add(p - (outcomes[i] ? 1 : 0), x[i], sum);
      }
      return sum;
    }

    private double[] penalised(double[] v) {
      double[] all = new double[width + 1];
      for (int i = 0; i < width; i++) {
        all[i] = ridge * v[i];
      }
      all[width] = BIAS_RIDGE * v[width];
      return all;
    }

    private void add(double factor, float[] sample, double[] sum) {
      for (int i = 0; i < width; i++) {
        sum[i] += factor * sample[i];
      }
      sum[width] += factor;
    }

    /** The matrix of second derivatives times a vector. */
    private double[] curvature(double[] v) {
      double[] sum = penalised(v);
      for (int i = 0; i < x.length; i++) {
        add(curvatures[i] * score(x[i], v, v[width]), x[i], sum);
      }
      return sum;
    }

    /** About where a quadratic function with this gradient and these curvatures is lowest. */
    double[] newtonStep(double[] gradient) {
      double[] step = new double[width + 1];
      double[] rest = moved(step, -1, gradient);
      double[] direction = rest.clone();
      double square = dot(rest, rest);
      double enough = square * Math.min(0.01, square); // closer and closer near the end
      for (int product = 0; product < MOST_PRODUCTS && square > enough; product++) {
        double[] curved = curvature(direction);
        double length = square / dot(direction, curved);
        step = moved(step, length, direction);
        rest = moved(rest, -length, curved);
        double next = dot(rest, rest);
        direction = moved(rest, next / square, direction);
        square = next;
      }
      return step;
    }
  }
}
