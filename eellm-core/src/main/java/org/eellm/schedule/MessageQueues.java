package org.eellm.schedule;

import org.eellm.schedule.StageMessages.Channel;

/**
 * Which messages between two stages wait for one another. Within a queue, sends and receives happen
 * in the order in which each stage starts them, and a send ends with its receive. So does NCCL with
 * what a group carries between two ranks.
 */
public enum MessageQueues {
  /** A queue for each direction between two stages, as with a group for each. */
  PER_DIRECTION,
  /** One queue for both directions, as with one group. */
  PER_PAIR;

  Channel of(Channel channel) {
    return this == PER_PAIR && channel.from() > channel.to()
        ? new Channel(channel.to(), channel.from())
        : channel;
  }
}
