package org.eellm.model.parameter;

import org.bytedeco.pytorch.Tensor;

/** The part of a parameter that a tensor-parallel rank holds. */
public enum Sharding {
  /** All of it, as every other rank does. */
  REPLICATED,
  /** Consecutive rows (or entries of a vector). */
  ROWS,
  /** Consecutive columns. */
  COLUMNS;

  /** The shape of one of {@code ranks} equal parts of a parameter of {@code shape}. */
  public long[] shardShape(long[] shape, int ranks) {
    long[] part = shape.clone();
    switch (this) {
      case REPLICATED -> {}
      case ROWS -> part[0] /= ranks;
      case COLUMNS -> part[1] /= ranks;
    }
    return part;
  }

  /** Whether a parameter of {@code shape} can be cut into {@code ranks} equal parts. */
  public boolean divides(long[] shape, int ranks) {
    return switch (this) {
      case REPLICATED -> ranks == 1;
      case ROWS -> shape[0] % ranks == 0;
      case COLUMNS -> shape.length > 1 && shape[1] % ranks == 0;
    };
  }

  /** Rank {@code rank}'s part of a whole parameter, a view. */
  public Tensor shard(Tensor whole, int rank, int ranks) {
    return switch (this) {
      case REPLICATED -> whole;
      case ROWS -> part(whole, 0, rank, ranks);
      case COLUMNS -> part(whole, 1, rank, ranks);
    };
  }

  private static Tensor part(Tensor whole, int dimension, int rank, int ranks) {
    long length = whole.size(dimension) / ranks;
    return whole.narrow(dimension, rank * length, length);
  }
}
