package org.eellm.train;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.RunConfig;
import org.eellm.distributed.collective.WorkHandle;
import org.eellm.distributed.message.StageTransport;
import org.eellm.model.Decoder;
import org.eellm.schedule.Action;
import org.eellm.schedule.Action.Receive;
import org.eellm.schedule.Action.Send;
import org.eellm.schedule.CompletedSends;
import org.eellm.schedule.MicrobatchId;
import org.eellm.schedule.Schedule;
import org.eellm.tensor.OwnedTensor;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.metrics.Trace;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.Received;

/**
 * Does a stage's actions in their order: the only pipeline loop there is. Receives are posted and
 * sends started when their turn comes; a computation waits for the receive it needs. What was sent
 * is freed when a message proves that it has arrived, and the rest at the end of the list. Where
 * microbatches go forward and back in turn, the memory of messages does therefore not grow with
 * their number; where all go forward first, nothing comes back meanwhile, and it does.
 */
final class ScheduleExecutor {

  /**
   * The passes through the stage's chunks. Tensors are [local rows, hidden]; what comes back may be
   * twice as high.
   */
  interface StageCompute {
    /** The output of a chunk; freed by the enclosing scope. */
    Tensor forward(MicrobatchId microbatch, int chunk, Received input);

    /** Whether a chunk has heads whose backward pass needs nothing from above. */
    default boolean hasEarlyHeads(int chunk) {
      return false;
    }

    /** Their part of {@link #backward}, before it. */
    default void backwardHeads(MicrobatchId microbatch, int chunk) {
      throw new IllegalStateException(microbatch + " has no heads before its backward pass");
    }

    /**
     * The gradient of a chunk's input; freed by the enclosing scope.
     *
     * @param gradient of its output; nothing at the end of the microbatch's way
     * @param last whether nothing comes back through this chunk any more in this step
     */
    Optional<Tensor> backward(MicrobatchId microbatch, int chunk, Received gradient, boolean last);

    /** Adds matrices' gradients that {@link #backward} of a schedule that splits it has left. */
    default void backwardWeights(MicrobatchId microbatch, int chunk) {
      throw new IllegalStateException(microbatch + " has no weight gradients for later");
    }

    /** The output of a chunk whose heads did their work as well. */
    Tensor tune(MicrobatchId microbatch, int chunk, Received input);
  }

  /**
   * Number format, device and shape of the tensors that stages send each other.
   *
   * @param rows of the stream that a rank holds
   * @param gradientRows rows of what comes back: as many, or twice that, where the final head
   *     teaches exits on the way
   * @param width hidden size
   */
  record StageTensorSpec(ScalarType type, Device device, long rows, long gradientRows, long width) {

    /** The stream of a microbatch, or its gradient. */
    static StageTensorSpec of(RunConfig config, Decoder model, Objective objective) {
      long tokens = (long) config.train().microBatchSize() * config.data().sequenceLength();
      long rows = model.parallel().localRows(model.ring().local(tokens));
      return new StageTensorSpec(
          model.scalarType(),
          model.device(),
          rows,
          objective.distillation() > 0 ? 2 * rows : rows,
          config.model().hiddenSize());
    }
  }

  /** A posted receive. */
  private record PostedReceive(OwnedTensor buffer, WorkHandle pending) {}

  private final Schedule schedule;
  private final int stage;
  private final StageTransport transport;
  private final StageTensorSpec message;
  private final StageCompute work;
  private final Trace trace;
  private final CompletedSends completedSends;
  private final Map<Receive, PostedReceive> postedReceives = new HashMap<>();
  private final Map<Integer, OwnedTensor> pendingSends = new HashMap<>();
  private final Map<Send, WorkHandle> sends = new HashMap<>();
  private long waitNanos;

  private ScheduleExecutor(
      Schedule schedule,
      StageTransport transport,
      StageTensorSpec message,
      StageCompute work,
      Trace trace) {
    this.schedule = schedule;
    this.stage = transport.stage();
    this.transport = transport;
    this.message = message;
    this.work = work;
    this.trace = trace;
    this.completedSends = CompletedSends.of(schedule, stage);
  }

  /**
   * Runs this rank's part of a schedule.
   *
   * @param transport between the stages
   * @return nanoseconds spent waiting for other stages
   */
  static long run(
      Schedule schedule,
      StageTransport transport,
      StageTensorSpec message,
      StageCompute work,
      Trace trace) {
    ScheduleExecutor executor = new ScheduleExecutor(schedule, transport, message, work, trace);
    try {
      executor.run();
      return executor.waitNanos;
    } finally {
      executor.postedReceives.values().forEach(arrival -> arrival.buffer().close());
      executor.pendingSends.values().forEach(OwnedTensor::close);
    }
  }

  private void run() {
    List<Action> actions = schedule.actions().get(stage);
    for (int i = 0; i < actions.size(); i++) {
      Action action = actions.get(i);
      MicrobatchId microbatch = action.microbatch();
      int chunk = action.chunk();
      int here = schedule.virtualStage(stage, chunk);
      switch (action) {
        case Action.ReceiveActivation receive ->
            post(receive, activation(microbatch, here), here - 1, message.rows());
        case Action.ReceiveGradient receive ->
            post(receive, gradient(microbatch, here), here + 1, message.gradientRows());
        case Action.SendActivation send -> send(send, activation(microbatch, here + 1), here + 1);
        case Action.SendGradient send -> send(send, gradient(microbatch, here - 1), here - 1);
        case Action.Forward _ -> {
          try (Scope scope = Scope.open();
              ReceivedInput input = await(new Action.ReceiveActivation(microbatch, chunk));
              Trace.Span span = trace.span("forward", microbatch.index(), chunk)) {
            queueOutput(microbatch, here + 1, work.forward(microbatch, chunk, input.received()));
          }
        }
        case Action.Tune _ -> {
          try (Scope scope = Scope.open();
              ReceivedInput input = await(new Action.ReceiveActivation(microbatch, chunk));
              Trace.Span span = trace.span("heads", microbatch.index(), chunk)) {
            queueOutput(microbatch, here + 1, work.tune(microbatch, chunk, input.received()));
          }
        }
        case Action.Backward _ -> {
          boolean last =
              actions.subList(i + 1, actions.size()).stream()
                  .noneMatch(later -> later instanceof Action.Backward && later.chunk() == chunk);
          Receive fromAbove = new Action.ReceiveGradient(microbatch, chunk);
          if (postedReceives.containsKey(fromAbove) && work.hasEarlyHeads(chunk)) {
            try (Trace.Span span = trace.span("heads", microbatch.index(), chunk)) {
              work.backwardHeads(microbatch, chunk);
            }
          }
          try (Scope scope = Scope.open();
              ReceivedInput above = await(fromAbove);
              Trace.Span span = trace.span("backward", microbatch.index(), chunk)) {
            work.backward(microbatch, chunk, above.received(), last)
                .ifPresent(below -> queueSend(gradient(microbatch, here - 1), below));
          }
        }
        case Action.BackwardWeights _ -> {
          try (Scope scope = Scope.open();
              Trace.Span span = trace.span("weights", microbatch.index(), chunk)) {
            work.backwardWeights(microbatch, chunk);
          }
        }
      }
    }
    if (!sends.isEmpty()) {
      try (Trace.Span span = trace.span("wait")) {
        long start = System.nanoTime();
        sends.values().forEach(WorkHandle::await);
        waitNanos += System.nanoTime() - start;
      }
    }
  }

  /** The message with a virtual stage's input. */
  private int activation(MicrobatchId microbatch, int virtualStage) {
    return 2 * (microbatch.index() * (schedule.virtualStages() + 1) + virtualStage);
  }

  /** The message with the gradient of a virtual stage's output. */
  private int gradient(MicrobatchId microbatch, int virtualStage) {
    return activation(microbatch, virtualStage) + 1;
  }

  private void post(Receive receive, int tag, int from, long rows) {
    try (Scope scope = Scope.open()) {
      OwnedTensor buffer =
          new OwnedTensor(Tensors.empty(message.type(), message.device(), rows, message.width()));
      WorkHandle pending = transport.receive(buffer.get(), schedule.stageOf(from), tag);
      postedReceives.put(receive, new PostedReceive(buffer, pending));
    }
  }

  /** The input that has arrived, if a receive was posted for it. */
  private record ReceivedInput(Optional<PostedReceive> arrival) implements AutoCloseable {
    Received received() {
      return arrival
          .<Received>map(present -> new Received.Message(present.buffer().get()))
          .orElse(Received.NOTHING);
    }

    @Override
    public void close() {
      arrival.ifPresent(present -> present.buffer().close());
    }
  }

  private ReceivedInput await(Receive receive) {
    Optional<PostedReceive> arrival = Optional.ofNullable(postedReceives.remove(receive));
    if (arrival.isPresent()) {
      try (Trace.Span span = trace.span("wait")) {
        long start = System.nanoTime();
        arrival.get().pending().await();
        waitNanos += System.nanoTime() - start;
      }
      for (Send done : completedSends.of(receive)) {
        Objects.requireNonNull(sends.remove(done)).await();
      }
    }
    return new ReceivedInput(arrival);
  }

  /** Holds an output for its send, unless the microbatch's way ends here. */
  private void queueOutput(MicrobatchId microbatch, int next, Tensor output) {
    if (next < microbatch.forwardEnd(schedule.virtualStages())) {
      queueSend(activation(microbatch, next), output);
    }
  }

  private void queueSend(int tag, Tensor tensor) {
    pendingSends.put(tag, new OwnedTensor(tensor));
  }

  private void send(Send send, int tag, int to) {
    try (OwnedTensor departure = Objects.requireNonNull(pendingSends.remove(tag))) {
      sends.put(send, transport.send(departure.get(), schedule.stageOf(to), tag));
    }
  }
}
