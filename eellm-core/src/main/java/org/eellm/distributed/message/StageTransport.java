package org.eellm.distributed.message;

import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.collective.WorkHandle;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Tensors between the stages of a pipeline.
 *
 * <p>NCCL does what a group carries between two ranks in the order in which each of them starts it,
 * sends and receives alike. Two neighbours that send to each other at one time would wait for ever.
 * So what goes up to later stages and what comes down to earlier ones have a group each.
 *
 * @param up messages to a stage with a higher number
 * @param down messages to a stage with a lower number
 */
public record StageTransport(Communicator up, Communicator down) implements AutoCloseable {

  /** This stage. */
  public int stage() {
    return up.rank();
  }

  /** Sends to another stage: see {@link Communicator#send}. */
  public WorkHandle send(Tensor tensor, int stage, int tag) {
    return (stage > stage() ? up : down).send(tensor, stage, tag);
  }

  /** Receives what another stage sends: see {@link Communicator#receive}. */
  public WorkHandle receive(Tensor into, int stage, int tag) {
    return (stage < stage() ? up : down).receive(into, stage, tag);
  }

  /**
   * Connects all neighbours, the last and the first stage among them. NCCL connects two ranks with
   * their first message, for which both have to come: within a schedule, a stage would wait there
   * with a receive which the other stage answers only after it has heard more of this one.
   */
  public void connect(Device device) {
    int stages = up.size();
    try (Scope scope = Scope.open()) {
      Tensor nothing = Tensors.zeros(ScalarType.Byte, device, 1);
      // From pair to pair: each stage has its two in the same order as its neighbours.
      for (int pair = 0; pair < (stages == 2 ? 1 : stages); pair++) {
        int next = (pair + 1) % stages;
        if (stage() == pair || stage() == next) {
          int low = Math.min(pair, next);
          int high = Math.max(pair, next);
          (stage() == low ? send(nothing, high, 0) : receive(nothing, low, 0)).await();
          (stage() == low ? receive(nothing, high, 0) : send(nothing, low, 0)).await();
        }
      }
    }
  }

  @Override
  public void close() {
    up.close();
    down.close();
  }
}
