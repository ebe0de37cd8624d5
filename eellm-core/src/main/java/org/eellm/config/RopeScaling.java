package org.eellm.config;

import static org.eellm.config.ConfigException.require;
import static org.eellm.config.ConfigException.requireAtLeast;
import static org.eellm.config.ConfigException.requireNotNegative;
import static org.eellm.config.ConfigException.requirePositive;

import com.fasterxml.jackson.annotation.JsonSubTypes;
import com.fasterxml.jackson.annotation.JsonTypeInfo;
import java.util.List;

/** Rotary frequencies for contexts longer than the model was made for. */
@JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = "type")
@JsonSubTypes({
  @JsonSubTypes.Type(value = RopeScaling.None.class, name = "none"),
  @JsonSubTypes.Type(value = RopeScaling.Linear.class, name = "linear"),
  @JsonSubTypes.Type(value = RopeScaling.Llama3.class, name = "llama3"),
  @JsonSubTypes.Type(value = RopeScaling.Yarn.class, name = "yarn"),
  @JsonSubTypes.Type(value = RopeScaling.LongRope.class, name = "longrope")
})
public sealed interface RopeScaling {
  /** What sines and cosines are multiplied by, so that scores keep their spread. */
  default double attentionFactor() {
    return 1;
  }

  /** Frequencies as they are. */
  record None() implements RopeScaling {}

  /**
   * Positions divided by {@code factor}.
   *
   * @param factor 1 or more
   */
  record Linear(double factor) implements RopeScaling {
    public Linear {
      requireAtLeast(1, factor, "model.rope_scaling.factor");
    }
  }

  /**
   * Llama 3's scaling: low frequencies divided by {@code factor}, high ones unchanged, smooth
   * between.
   *
   * @param factor 1 or more
   * @param lowFreqFactor where low frequencies end: the original context over the wavelength
   * @param highFreqFactor where high frequencies begin, likewise
   * @param originalMaxPositions context length before scaling
   */
  record Llama3(
      double factor, double lowFreqFactor, double highFreqFactor, int originalMaxPositions)
      implements RopeScaling {
    public Llama3 {
      requireAtLeast(1, factor, "model.rope_scaling.factor");
      require(
          highFreqFactor > lowFreqFactor && lowFreqFactor > 0,
          "model.rope_scaling.high_freq_factor",
          highFreqFactor
              + " must exceed low_freq_factor "
              + lowFreqFactor
              + ", which must be positive");
      requireOriginal(originalMaxPositions);
    }
  }

  /**
   * YaRN (arXiv 2309.00071): low frequencies are divided by {@code factor}, high ones unchanged,
   * with a ramp over the dimensions between.
   *
   * @param factor 1 or more
   * @param originalMaxPositions context length before scaling
   * @param betaFast turns in the original context from which frequencies are unchanged
   * @param betaSlow turns up to which they are divided
   * @param attentionFactor of sines and cosines; 0: {@code 0.1 ln(factor) + 1}
   * @param truncate whether the ramp begins and ends at whole dimensions
   */
  record Yarn(
      double factor,
      int originalMaxPositions,
      double betaFast,
      double betaSlow,
      double attentionFactor,
      boolean truncate)
      implements RopeScaling {
    public Yarn {
      requireAtLeast(1, factor, "model.rope_scaling.factor");
      requireOriginal(originalMaxPositions);
      require(
          betaFast > betaSlow && betaSlow > 0,
          "model.rope_scaling.beta_fast",
          betaFast + " must exceed beta_slow " + betaSlow + ", which must be positive");
      requireNotNegative(
          attentionFactor, "model.rope_scaling.attention_factor", "0 is 0.1 ln(factor) + 1");
      if (attentionFactor == 0) {
        attentionFactor = 0.1 * Math.log(factor) + 1;
      }
    }
  }

  /**
   * LongRoPE (arXiv 2402.13753): each frequency divided by a factor of its own. The short ones are
   * for models of up to {@code originalMaxPositions}, the long ones for all others.
   *
   * @param shortFactors one for each rotated pair
   * @param longFactors likewise
   * @param originalMaxPositions context length before scaling
   * @param attentionFactor of sines and cosines, which depends on the longest context that the
   *     model was made for
   */
  record LongRope(
      List<Double> shortFactors,
      List<Double> longFactors,
      int originalMaxPositions,
      double attentionFactor)
      implements RopeScaling {
    public LongRope {
      shortFactors = List.copyOf(shortFactors);
      longFactors = List.copyOf(longFactors);
      require(
          shortFactors.size() == longFactors.size()
              && shortFactors.stream().allMatch(factor -> factor > 0)
              && longFactors.stream().allMatch(factor -> factor > 0),
          "model.rope_scaling.short_factors",
          "%d factors beside %d long ones; give as many of each, all positive",
          shortFactors.size(),
          longFactors.size());
      requireOriginal(originalMaxPositions);
      requirePositive(
          attentionFactor, "model.rope_scaling.attention_factor", "1 leaves scores as they are");
    }
  }

  private static void requireOriginal(int positions) {
    requirePositive(
        positions,
        "model.rope_scaling.original_max_positions",
        "give the context length before scaling");
  }
}
