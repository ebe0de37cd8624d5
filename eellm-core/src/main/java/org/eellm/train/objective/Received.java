package org.eellm.train.objective;

import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;

/** A neighbouring stage's message: the stream, or what comes back; at the ends there is nothing. */
public sealed interface Received {
  Received NOTHING = new Nothing();

  /** There is no such neighbour. */
  record Nothing() implements Received {}

  /**
   * Something came.
   *
   * @param tensor [local rows, hidden]; on the way back [2 local rows, hidden] where the objective
   *     distills: the gradient of the stream, and below it what the final head multiplies with its
   *     matrix
   */
  record Message(Tensor tensor) implements Received {}

  /** The tensor that came, or this stage's own. */
  default Tensor orElseGet(Supplier<Tensor> own) {
    return switch (this) {
      case Message(Tensor tensor) -> tensor;
      case Nothing _ -> own.get();
    };
  }
}
