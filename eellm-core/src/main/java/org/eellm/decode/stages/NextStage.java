package org.eellm.decode.stages;

import java.util.ArrayList;
import java.util.List;
import org.eellm.decode.cache.HiddenRows;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.stages.RowsMessage.PartMessage;
import org.eellm.decode.stages.RowsMessage.Predicted;
import org.eellm.decode.strategy.ExitQuestion;
import org.eellm.decode.strategy.Sequence;
import org.eellm.decode.token.Prediction;
import org.eellm.distributed.Communicator;
import org.eellm.distributed.Mail;

/** The way from a stage of a pipeline to the next one, if there is one. */
final class NextStage {
  private final ModelRunner runner;
  private final Mail mail;
  private final int number;
  private final boolean exists;

  /**
   * A sequence whose moving rows go on.
   *
   * @param number of its request, by which the ranks know it
   * @param attempt how often tokens have been taken back so far
   * @param question where its token in the making leaves
   */
  record Outgoing(Sequence sequence, int number, int attempt, ExitQuestion question) {}

  NextStage(ModelRunner runner, Mail mail, Communicator stages) {
    this.runner = runner;
    this.mail = mail;
    number = stages.rank() + 1;
    exists = number < stages.size();
  }

  /**
   * Sends the moving rows of sequences, if there are any, and tells of requests that are done.
   *
   * @param finished numbers of these
   */
  void send(List<Integer> finished, List<Outgoing> rows) {
    if (exists && !(finished.isEmpty() && rows.isEmpty())) {
      List<PartMessage> messages = rows.stream().map(this::message).toList();
      mail.send(number, new RowsMessage(finished, messages).encode());
    }
  }

  private PartMessage message(Outgoing outgoing) {
    Sequence sequence = outgoing.sequence();
    HiddenRows rows = sequence.frontier().moving();
    int bytes = runner.hiddenBytes();
    byte[] hidden = new byte[rows.count() * bytes];
    for (int row = 0; row < rows.count(); row++) {
      runner.read(rows.slot(row), hidden, row * bytes);
    }
    boolean asks = outgoing.question().isOpen();
    return new PartMessage(
        outgoing.number(),
        outgoing.attempt(),
        rows.first(),
        sequence.tokens().range(rows.first(), rows.end()),
        asks,
        asks ? predicted(outgoing.question()) : List.of(),
        hidden);
  }

  private static List<Predicted> predicted(ExitQuestion question) {
    List<Predicted> all = new ArrayList<>();
    for (Prediction prediction : question.earlier()) {
      all.add(
          new Predicted(prediction.head().index(), prediction.best(), prediction.maxProbability()));
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
