package org.eellm.generate;

import java.util.Optional;
import org.eellm.generate.Block.Part;

/**
 * A sequence whose tokens leave where a policy says, and whose positions start anew from layer 1
 * until a token passes all layers.
 */
final class RecomputingSequence extends ExitingSequence {

  RecomputingSequence(Job job, SequenceCache cache, int reused, ExitPolicy policy) {
    super(job, cache, reused, policy);
  }

  @Override
  Optional<Part> goOn(int tap, Part part, int maxPending) {
    if (hasLeft() && part.span().count() < maxPending) {
      startAnew();
      return Optional.empty();
    }
    return Optional.of(part);
  }
}
