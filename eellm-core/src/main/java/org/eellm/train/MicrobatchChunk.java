package org.eellm.train;

import org.eellm.schedule.MicrobatchId;

/**
 * A microbatch in a chunk of the model.
 *
 * @param microbatch its index in the schedule
 */
record MicrobatchChunk(int microbatch, int chunk) {

  static MicrobatchChunk of(MicrobatchId microbatch, int chunk) {
    return new MicrobatchChunk(microbatch.index(), chunk);
  }
}
