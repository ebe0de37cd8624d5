package org.eellm.train.objective;

import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;

/** What a neighbouring stage sent: the stream, or what comes back; at the ends there is nothing. */
public sealed interface Received {
  Received NOTHING = new Nothing();

  /** There is no such neighbour. */
  record Nothing() implements Received {}

  /**
   * Something came.
   *
   * @param tensor [rows, hidden]
   */
  record Message(Tensor tensor) implements Received {}

  /** What came, or what this stage has itself. */
  default Tensor orElseGet(Supplier<Tensor> own) {
    return switch (this) {
      case Message(Tensor tensor) -> tensor;
      case Nothing _ -> own.get();
    };
  }
}
