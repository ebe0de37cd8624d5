package org.eellm.config;

import static org.eellm.config.ConfigException.require;

import java.math.BigInteger;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.SequencedMap;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.eellm.config.StageLayout.Slice;

/** A model's shape: what a checkpoint's {@code config.json} says. */
public record Architecture(ModelConfig model, ExitLayout exits) {
  public Architecture {
    for (int layer : exits.layers()) {
      require(
          layer <= model.numLayers(),
          "exits.layers",
          layer
              + " is beyond the model's "
              + model.numLayers()
              + " layers; use 1.."
              + model.numLayers());
    }
  }

  /** This architecture computing in another number format. */
  public Architecture withDtype(DataType dtype) {
    return new Architecture(model.withDtype(dtype), exits);
  }

  /** Whether a slice multiplies with the model's output matrix, which may be the embedding. */
  public boolean usesOutputMatrix(Slice slice) {
    return slice.hasFinalHead() || (exits.tieOutput() && !slice.exits().isEmpty());
  }

  /** Whether a slice has the embedding: to look ids up, or as the output matrix tied to it. */
  public boolean holdsEmbedding(Slice slice) {
    return slice.hasEmbedding() || (model.tieEmbeddings() && usesOutputMatrix(slice));
  }

  /**
   * Refuses a number of ranks that cannot share every matrix in equal parts.
   *
   * @param key the setting that says how many, such as {@code parallel.tp}
   * @throws ConfigException naming numbers that can
   */
  public void requireSplits(String key, int ranks) {
    SequencedMap<String, Integer> counts = new LinkedHashMap<>();
    counts.put("model.num_heads", model.numHeads());
    counts.put("model.num_key_value_heads", model.numKeyValueHeads());
    counts.put("model.ffn_hidden_size", model.ffnHiddenSize());
    if (model.experts().count() > 0) {
      counts.put("model.experts.hidden_size", model.experts().hiddenSize());
    }
    if (model.vocabSize() > 0) {
      counts.put("model.vocab_size", model.vocabSize());
    } else {
      counts.put("model.vocab_multiple", model.vocabMultiple());
    }
    counts.forEach(
        (name, count) ->
            require(
                count % ranks == 0,
                key,
                "%d does not divide %s %d; use %s",
                ranks,
                name,
                count,
                divisors(ranks, counts.values())));
  }

  /** The least numbers below a limit that divide all counts. */
  private static String divisors(int limit, Collection<Integer> counts) {
    int common =
        counts.stream()
            .map(count -> BigInteger.valueOf(count))
            .reduce(BigInteger.ZERO, BigInteger::gcd)
            .intValueExact();
    SortedSet<Integer> divisors = new TreeSet<>();
    for (int small = 1; (long) small * small <= common; small++) {
      if (common % small == 0) {
        divisors.add(small);
        divisors.add(common / small);
      }
    }
    return divisors.headSet(limit).stream()
        .limit(20)
        .map(String::valueOf)
        .collect(Collectors.joining(", "));
  }
}
