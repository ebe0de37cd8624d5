package org.eellm.distributed.mesh;

import java.util.List;

/**
 * Ranks that belong together.
 *
 * @param name such as {@code dp}, for messages
 * @param mesh of all ranks
 * @param ranks the members' ranks in the world, in the group's order
 * @param rank this rank's place among them
 */
public record RankGroup(String name, Mesh mesh, List<Integer> ranks, int rank) {

  /** How many members there are. */
  public int size() {
    return ranks.size();
  }

  /** A member's name in messages: see {@link Mesh#name}. */
  public String name(int member) {
    return mesh.name(ranks.get(member));
  }

  /** A text that all members share and no other group has: where on the store they meet. */
  public String key() {
    return name + ranks;
  }
}
