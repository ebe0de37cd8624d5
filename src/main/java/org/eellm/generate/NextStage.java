package org.eellm.generate;

import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.eellm.distributed.Communicator;
import org.eellm.distributed.Outbox;
import org.eellm.distributed.World;
import org.eellm.generate.Block.Part;
import org.eellm.generate.RowsMessage.PartMessage;
import org.eellm.generate.RowsMessage.Said;
import org.eellm.model.Decoder;
import org.eellm.tensor.Tensors;

/** The way from a stage of a pipeline to the next one, if there is one. */
final class NextStage implements AutoCloseable {
  /** Rows for which a message is sent at once. */
  private static final int ROWS = 4;

  private static final int HEADER = 256;

  private final Optional<Outbox> outbox;
  private final long silence; // in nanoseconds
  private long sent = System.nanoTime();

  NextStage(Decoder model, World world) {
    Communicator stages = world.pp();
    outbox =
        stages.rank() + 1 == stages.size()
            ? Optional.empty()
            : Optional.of(new Outbox(stages, stages.rank() + 1, messageSize(model)));
    silence = silence(world).toNanos();
  }

  /** Bytes of a message between stages that go at once. */
  static int messageSize(Decoder model) {
    return HEADER
        + ROWS
            * model.architecture().model().hiddenSize()
            * model.architecture().model().dtype().bytes();
  }

  /** After so long without a message a stage says that it is alive, since receives time out. */
  static Duration silence(World world) {
    return world.timeout().dividedBy(4);
  }

  /**
   * Sends rows, if there are any, and tells of requests that are done.
   *
   * @param parts of {@link PipelineSequence}s, from the stream
   */
  void send(List<Integer> finished, List<Part> parts) {
    if (!finished.isEmpty() || !parts.isEmpty()) {
      outbox.ifPresent(box -> send(box, finished, parts));
    }
  }

  private void send(Outbox box, List<Integer> finished, List<Part> parts) {
    List<PartMessage> headers = new ArrayList<>();
    for (Part part : parts) {
      Span span = part.span();
      PipelineSequence sequence = (PipelineSequence) span.sequence();
      headers.add(
          new PartMessage(
              sequence.number(),
              span.first(),
              sequence.tokens().range(span.first(), span.end()),
              sequence.asking(),
              sequence.asking() ? said(sequence) : List.of()));
    }
    box.send(new RowsMessage(finished, headers, hidden(parts)).encode());
    sent = System.nanoTime();
  }

  private static List<Said> said(PipelineSequence sequence) {
    return sequence.said().stream()
        .map(
            prediction ->
                new Said(prediction.head().index(), prediction.best(), prediction.maxProbability()))
        .toList();
  }

  private static byte[] hidden(List<Part> parts) {
    if (parts.isEmpty()) {
      return new byte[0];
    }
    Tensor rows = Tensors.stack(parts.stream().map(Part::rows).toList()).contiguous();
    return Tensors.bytes(rows).toArray(ValueLayout.JAVA_BYTE);
  }

  /** Says that this stage is alive, if it has not said anything for long. */
  void keepAlive() {
    if (System.nanoTime() - sent > silence) {
      outbox.ifPresent(box -> send(box, List.of(), List.of()));
    }
  }

  /** Tells that nothing more comes. */
  void end() {
    outbox.ifPresent(Outbox::end);
  }

  @Override
  public void close() {
    outbox.ifPresent(Outbox::close);
  }
}
