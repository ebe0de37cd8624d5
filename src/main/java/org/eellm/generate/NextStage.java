package org.eellm.generate;

import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.eellm.distributed.Communicator;
import org.eellm.distributed.Mail;
import org.eellm.generate.Block.Part;
import org.eellm.generate.RowsMessage.PartMessage;
import org.eellm.generate.RowsMessage.Said;
import org.eellm.tensor.Tensors;

/** The way from a stage of a pipeline to the next one, if there is one. */
final class NextStage {
  private final Mail mail;
  private final int number;
  private final boolean exists;

  NextStage(Mail mail, Communicator stages) {
    this.mail = mail;
    number = stages.rank() + 1;
    exists = number < stages.size();
  }

  /**
   * Sends rows, if there are any, and tells of requests that are done.
   *
   * @param parts of {@link PipelineSequence}s, from the stream
   */
  void send(List<Integer> finished, List<Part> parts) {
    if (exists && !(finished.isEmpty() && parts.isEmpty())) {
      List<PartMessage> messages = parts.stream().map(NextStage::message).toList();
      mail.send(number, new RowsMessage(finished, messages).encode());
    }
  }

  private static PartMessage message(Part part) {
    Span span = part.span();
    PipelineSequence sequence = (PipelineSequence) span.sequence();
    return new PartMessage(
        sequence.number(),
        sequence.attempt(),
        span.first(),
        sequence.tokens().range(span.first(), span.end()),
        sequence.asking(),
        sequence.asking() ? said(sequence) : List.of(),
        Tensors.bytes(part.rows().contiguous()).toArray(ValueLayout.JAVA_BYTE));
  }

  private static List<Said> said(PipelineSequence sequence) {
    List<Said> all = new ArrayList<>();
    for (Prediction prediction : sequence.said()) {
      all.add(new Said(prediction.head().index(), prediction.best(), prediction.maxProbability()));
    }
    return all;
  }

  /** Tells that nothing more comes. */
  void end() {
    if (exists) {
      mail.send(number, RowsMessage.NONE_FURTHER);
    }
  }
}
