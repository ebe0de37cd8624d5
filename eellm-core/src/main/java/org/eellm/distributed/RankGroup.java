package org.eellm.distributed;

import java.util.List;

/**
 * Who belongs together.
 *
 * @param name such as {@code dp}, for messages
 * @param ranks the members' ranks in the world, in the group's order
 * @param rank this rank's place among them
 */
record RankGroup(String name, List<Integer> ranks, int rank) {

  static RankGroup of(String name, List<Integer> ranks, int worldRank) {
    return new RankGroup(name, ranks, ranks.indexOf(worldRank));
  }

  int size() {
    return ranks.size();
  }

  /** The same on all members and on no other group: where on the store they meet. */
  String key() {
    return name + ranks;
  }
}
