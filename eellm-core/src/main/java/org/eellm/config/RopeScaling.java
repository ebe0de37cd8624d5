package org.eellm.config;

import static org.eellm.config.ConfigException.require;

import com.fasterxml.jackson.annotation.JsonSubTypes;
import com.fasterxml.jackson.annotation.JsonTypeInfo;

/** Rotary frequencies for contexts longer than the model was made for. */
@JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = "type")
@JsonSubTypes({
  @JsonSubTypes.Type(value = RopeScaling.None.class, name = "none"),
  @JsonSubTypes.Type(value = RopeScaling.Linear.class, name = "linear"),
  @JsonSubTypes.Type(value = RopeScaling.Llama3.class, name = "llama3")
})
public sealed interface RopeScaling {
  /** Frequencies as they are. */
  record None() implements RopeScaling {}

  /**
   * Positions divided by {@code factor}.
   *
   * @param factor 1 or more
   */
  record Linear(double factor) implements RopeScaling {
    public Linear {
      require(factor >= 1, "model.rope_scaling.factor", factor + " is below 1; use 1 or more");
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
      require(factor >= 1, "model.rope_scaling.factor", factor + " is below 1; use 1 or more");
      require(
          highFreqFactor > lowFreqFactor && lowFreqFactor > 0,
          "model.rope_scaling.high_freq_factor",
          highFreqFactor
              + " must exceed low_freq_factor "
              + lowFreqFactor
              + ", which must be positive");
      require(
          originalMaxPositions > 0,
          "model.rope_scaling.original_max_positions",
          originalMaxPositions + " is not positive; give the context length before scaling");
    }
  }
}
