package org.eellm.model;

import java.util.List;
import org.eellm.config.StageLayout.Slice;

/**
 * A slice of the model that the stream goes through without leaving the rank: consecutive layers
 * and the heads that belong to them.
 *
 * @param index which virtual stage of the pipeline
 * @param trunk the layers' residual branches: attention and MLP in turn
 * @param heads the heads here, in order of depth
 */
public record Stage(int index, Slice slice, List<Branch> trunk, List<HeadLayers> heads) {
  public Stage {
    trunk = List.copyOf(trunk);
    heads = List.copyOf(heads);
  }

  /** The number of trunk branches before this stage, as {@link Head#tap} counts. */
  public int firstBranch() {
    return 2 * slice.firstLayer();
  }

  /** The number of trunk branches up to the end of this stage. */
  public int endBranch() {
    return firstBranch() + trunk.size();
  }
}
