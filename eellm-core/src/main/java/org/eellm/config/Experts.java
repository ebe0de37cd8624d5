package org.eellm.config;

import static org.eellm.config.ConfigException.require;
import static org.eellm.config.ConfigException.requireNotNegative;

import java.util.List;
import java.util.stream.IntStream;

/**
 * MLPs beside each other, of which a router chooses some for each token: {@code sum p_e mlp_e(x)}
 * over the {@code perToken} largest of {@code p = softmax(router x)}.
 *
 * @param count how many a layer has; 0: none, but one MLP
 * @param perToken how many a token goes through
 * @param hiddenSize inner width of each
 * @param normWeights whether the weights of the chosen ones are divided by their sum
 * @param denseLayers the layers, from 1, with one MLP of {@code model.ffn_hidden_size} instead
 */
public record Experts(
    int count, int perToken, int hiddenSize, boolean normWeights, List<Integer> denseLayers) {
  /** More than any model has in all its layers. */
  static final int MAX_IN_ALL = 1 << 17;

  private static final Experts NONE = new Experts(0, 0, 0, false, List.of());

  public Experts {
    requireNotNegative(count, "model.experts.count", "0 is one MLP a layer");
    require(
        count > 0 || (perToken == 0 && hiddenSize == 0 && !normWeights && denseLayers.isEmpty()),
        "model.experts.count",
        "0 leaves what stands beside it without effect; leave that out");
    require(
        count == 0 || (perToken >= 1 && perToken <= count),
        "model.experts.per_token",
        "%d is not from 1 to model.experts.count %d",
        perToken,
        count);
    require(
        count == 0 || hiddenSize >= 1,
        "model.experts.hidden_size",
        hiddenSize + " is below 1; use the inner width of an expert");
    denseLayers = denseLayers.stream().sorted().distinct().toList();
  }

  /** One MLP in every layer. */
  public static Experts none() {
    return NONE;
  }

  /** Those of so many layers that have experts; from 0. */
  long layers(int firstLayer, int endLayer) {
    return IntStream.range(firstLayer, endLayer).filter(this::isIn).count();
  }

  /**
   * Whether a layer has experts.
   *
   * @param layer from 0
   */
  boolean isIn(int layer) {
    return count > 0 && !denseLayers.contains(layer + 1);
  }

  /** The part of one of {@code ranks} tensor-parallel ranks: each expert is split. */
  Experts shard(int ranks) {
    return new Experts(count, perToken, hiddenSize / ranks, normWeights, denseLayers);
  }
}
