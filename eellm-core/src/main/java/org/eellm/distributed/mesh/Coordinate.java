package org.eellm.distributed.mesh;

/**
 * A rank's place on the axes of a {@link Mesh}.
 *
 * @param tp place among the ranks that share a layer's matrices
 * @param cp place among the ranks that share sequences
 * @param dp place among the replicas of the pipeline
 * @param pp pipeline stage
 */
public record Coordinate(int tp, int cp, int dp, int pp) {}
