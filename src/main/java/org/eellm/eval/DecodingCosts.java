package org.eellm.eval;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import org.eellm.generate.Decoding;
import org.eellm.generate.ExitPolicies;
import org.eellm.generate.Request;
import org.eellm.generate.Result;
import org.eellm.generate.Sampler;

/**
 * Seconds that the parts of a decoding step take, of one text at a time.
 *
 * @param step whatever happens once in a step
 * @param layers a layer's, of as many rows as {@link #ROWS} has
 * @param head asking a head of one row
 */
public record DecodingCosts(double step, List<Double> layers, double head) {
  /** Rows of a block that layers are measured with. */
  static final List<Integer> ROWS = List.of(1, 2, 4, 8, 16, 32, 64);

  private static final int ROUNDS = 5;
  private static final int TOKENS = 24;

  public DecodingCosts {
    layers = List.copyOf(layers);
  }

  /**
   * Measures a model with exits, on the calling thread.
   *
   * @param generator continues texts one at a time
   * @param exits layers of the model's exits
   * @param numLayers of the model
   * @param id any token
   */
  public static DecodingCosts measure(
      Function<List<Request>, List<Result>> generator, List<Integer> exits, int numLayers, int id) {
    List<Integer> depths = new ArrayList<>(exits);
    List<Request> requests = new ArrayList<>();
    for (int layer : exits) {
      requests.add(request(1, id, TOKENS, new Decoding.EarlyExit(ExitPolicies.fixed(layer))));
    }
    depths.add(numLayers);
    requests.add(request(1, id, TOKENS, Decoding.full()));
    requests.add(request(1, id, TOKENS, new Decoding.EarlyExit(said -> false))); // asks all
    ROWS.forEach(rows -> requests.add(request(rows, id, 1, Decoding.full())));
    double[] seconds = fastest(generator, requests);

    double[] perToken = Arrays.copyOf(seconds, depths.size());
    double layer = slope(depths, perToken);
    double full = perToken[depths.size() - 1];
    double head = Math.max(0, seconds[depths.size()] - full) / exits.size();
    double[] prompts = Arrays.copyOfRange(seconds, depths.size() + 1, seconds.length);
    List<Double> layers = new ArrayList<>();
    for (double prompt : prompts) {
      layers.add(layer + Math.max(0, prompt - prompts[0]) / numLayers);
    }
    double mean = depths.stream().mapToInt(depth -> depth).average().orElseThrow();
    double step = Arrays.stream(perToken).average().orElseThrow() - layer * mean - head;
    return new DecodingCosts(Math.max(0, step), layers, head);
  }

  private static Request request(int rows, int id, int tokens, Decoding decoding) {
    return new Request(Collections.nCopies(rows, id), tokens, Set.of(), decoding, Sampler.greedy());
  }

  /** Of rounds in which all take turns: seconds per token, of a single token with its prompt. */
  private static double[] fastest(
      Function<List<Request>, List<Result>> generator, List<Request> requests) {
    double[] fastest = new double[requests.size()];
    Arrays.fill(fastest, Double.MAX_VALUE);
    for (int round = 0; round <= ROUNDS; round++) {
      for (int i = 0; i < fastest.length; i++) {
        Result result = generator.apply(List.of(requests.get(i))).getFirst();
        int further = result.tokens().size() - 1;
        double seconds =
            further == 0
                ? result.firstTokenSeconds()
                : (result.seconds() - result.firstTokenSeconds()) / further;
        fastest[i] = Math.min(fastest[i], seconds);
      }
    }
    return fastest;
  }

  /** Of the straight line with the least squares. */
  private static double slope(List<Integer> x, double[] y) {
    double meanX = x.stream().mapToInt(value -> value).average().orElseThrow();
    double meanY = Arrays.stream(y).average().orElseThrow();
    double products = 0;
    double squares = 0;
    for (int i = 0; i < y.length; i++) {
      products += (x.get(i) - meanX) * (y[i] - meanY);
      squares += (x.get(i) - meanX) * (x.get(i) - meanX);
    }
    return Math.max(0, products / squares);
  }

  /** Of a layer and a block of rows; between and beyond those measured on straight lines. */
  double layer(int rows) {
    int above = 1;
    while (above < ROWS.size() - 1 && ROWS.get(above) < rows) {
      above++;
    }
    double share = (double) (rows - ROWS.get(above - 1)) / (ROWS.get(above) - ROWS.get(above - 1));
    return layers.get(above - 1) + share * (layers.get(above) - layers.get(above - 1));
  }

  /** Of a head that is asked of several rows, which grows as a layer does. */
  double head(int rows) {
    return head * layer(rows) / layer(1);
  }
}
