package org.eellm.decode.stages;

import java.util.ArrayList;
import java.util.List;
import org.eellm.decode.cache.HiddenRows;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.exit.ExitDecision;
import org.eellm.decode.strategy.HiddenStatesMessage;
import org.eellm.decode.strategy.HiddenStatesMessage.RemotePrediction;
import org.eellm.decode.strategy.HiddenStatesMessage.SequenceHiddenStates;
import org.eellm.decode.strategy.Sequence;
import org.eellm.decode.token.Prediction;
import org.eellm.distributed.Communicator;
import org.eellm.distributed.PeerChannel;

/** The way from a stage of a pipeline to the next one, if there is one. */
final class NextStageSender {
  private final ModelRunner runner;
  private final PeerChannel channel;
  private final int nextRank;
  private final boolean exists;

  /**
   * A sequence whose in-flight rows go on.
   *
   * @param requestId index of the request, the same on all ranks
   * @param attempt how often tokens have been rolled back so far
   * @param exitDecision where its token being generated leaves
   */
  record Outgoing(Sequence sequence, int requestId, int attempt, ExitDecision exitDecision) {}

  NextStageSender(ModelRunner runner, PeerChannel channel, Communicator stages) {
    this.runner = runner;
    this.channel = channel;
    nextRank = stages.rank() + 1;
    exists = nextRank < stages.size();
  }

  /**
   * Sends the in-flight rows of sequences, if there are any, and tells of requests that are done.
   *
   * @param finished numbers of these
   */
  void send(List<Integer> finished, List<Outgoing> rows) {
    if (exists && !(finished.isEmpty() && rows.isEmpty())) {
      List<SequenceHiddenStates> messages = rows.stream().map(this::message).toList();
      channel.send(nextRank, new HiddenStatesMessage(finished, messages).encode());
    }
  }

  private SequenceHiddenStates message(Outgoing outgoing) {
    Sequence sequence = outgoing.sequence();
    HiddenRows rows = sequence.frontier().inFlight();
    int bytes = runner.hiddenBytes();
    byte[] hidden = new byte[rows.count() * bytes];
    for (int row = 0; row < rows.count(); row++) {
      runner.read(rows.slot(row), hidden, row * bytes);
    }
    boolean needsToken = outgoing.exitDecision().isOpen();
    return new SequenceHiddenStates(
        outgoing.requestId(),
        outgoing.attempt(),
        rows.first(),
        sequence.tokens().range(rows.first(), rows.end()),
        needsToken,
        needsToken ? predicted(outgoing.exitDecision()) : List.of(),
        hidden);
  }

  private static List<RemotePrediction> predicted(ExitDecision exitDecision) {
    List<RemotePrediction> all = new ArrayList<>();
    for (Prediction prediction : exitDecision.earlier()) {
      all.add(
          new RemotePrediction(
              prediction.head().index(), prediction.best(), prediction.maxProbability()));
    }
    return all;
  }

  /** Tells that nothing more comes. */
  void end() {
    if (exists) {
      channel.send(nextRank, HiddenStatesMessage.END_OF_STREAM);
    }
  }
}
