package org.eellm.model;

import java.util.List;
import org.eellm.kernel.vector.SplitMix;
import org.eellm.tensor.kernel.KeyedDropout;

/** Whether a microbatch drops anything, and by which masks. */
public sealed interface Dropout {
  /** Nothing is dropped: in evaluation, and where no probability is above 0. */
  Dropout NONE = new None();

  /** Nothing is dropped: {@link Dropout#NONE}. */
  record None() implements Dropout {}

  /**
   * Dropout whose masks depend only on a key and the place they are used at, so that a recomputed
   * forward pass drops the same entries.
   *
   * @param key of the microbatch
   * @param layers each layer's probability of being skipped by a sequence; of all layers of the
   *     model, or empty where none is
   */
  record Keyed(long key, List<Double> layers) implements Dropout {
    public Keyed {
      layers = List.copyOf(layers);
    }

    /** No layer is skipped. */
    public Keyed(long key) {
      this(key, List.of());
    }

    /** A layer's probability of being skipped by a sequence. */
    public double ofLayer(int layer) {
      return layers.isEmpty() ? 0 : layers.get(layer);
    }

    /**
     * Dropout of a matrix.
     *
     * @param site tells the uses within a microbatch apart
     * @param place of what is here in what all ranks have
     */
    KeyedDropout of(double probability, long site, KeyedDropout.Place place) {
      return new KeyedDropout(mix(key, site), probability, place);
    }

    /** A number in [0, 1) that depends on the key and {@code site} alone. */
    public double uniform(long site) {
      return (mix(key, site) >>> 10) * 0x1.0p-53;
    }
  }

  /** The site of the dropout in front of a linear map's change, apart from all others. */
  static long siteOfChange(long map) {
    return Long.MIN_VALUE + map;
  }

  /** A well-spread 63-bit hash of a pair (SplitMix64's finalizer over their combination). */
  static long mix(long key, long site) {
    return SplitMix.mixed(key * SplitMix.GOLDEN + site + 0x632BE59BD9B4E019L) >>> 1;
  }
}
