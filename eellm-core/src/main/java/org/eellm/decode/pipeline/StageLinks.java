package org.eellm.decode.pipeline;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.message.PeerChannel;
import org.eellm.distributed.message.PeerChannel.Message;

/**
 * The first stage's links to the later ones: commands go out, and answers to questions come back in
 * any order. Outlives the runners that use it one after the other. For one thread.
 */
public final class StageLinks {
  private static final Duration RECEIVE_TIMEOUT = Duration.ofHours(1);

  private final PeerChannel channel;
  private final List<Integer> later;
  private final Map<Integer, Optional<ByteBuffer>> answers = new HashMap<>(); // to open questions
  private int questions;
  private boolean failed;

  /**
   * @param channel whose ranks are the stages
   */
  public StageLinks(PeerChannel channel, int stages) {
    this.channel = channel;
    later = IntStream.range(1, stages).boxed().toList();
  }

  public int stages() {
    return later.size() + 1;
  }

  void send(int stage, StageCommand command) {
    reached(
        () -> {
          channel.send(stage, command.encode());
          return true;
        });
  }

  /**
   * Asks a stage something.
   *
   * @param command by the question's number
   * @return the number
   */
  int ask(int stage, IntFunction<StageCommand> command) {
    int question = questions++;
    answers.put(question, Optional.empty());
    send(stage, command.apply(question));
    return question;
  }

  RemoteOutput.Source answer(int question) {
    return new RemoteOutput.Source() {
      @Override
      public RemoteOutput.Logits get() {
        return RemoteOutput.Logits.decode(await(question));
      }

      @Override
      public boolean isThere() {
        reached(channel::poll).ifPresent(StageLinks.this::take);
        return answers.getOrDefault(question, Optional.empty()).isPresent();
      }
    };
  }

  /**
   * Waits for an answer, once.
   *
   * @throws DistributedException if a stage has failed; the message names it
   */
  ByteBuffer await(int question) {
    Optional<ByteBuffer> answer = answers.getOrDefault(question, Optional.empty());
    while (answer.isEmpty()) {
      reached(() -> channel.receive(later, RECEIVE_TIMEOUT)).ifPresent(this::take);
      answer = answers.getOrDefault(question, Optional.empty());
    }
    answers.remove(question);
    return answer.get();
  }

  /**
   * Lets the others know that this rank is alive; to be called now and then while it waits.
   *
   * @throws DistributedException if one of them is not; the message names it
   */
  public void keepAlive() {
    reached(channel::pollIdle).ifPresent(this::take);
  }

  /** Keeps an answer, unless its question was of a step that has been given up. */
  private void take(Message message) {
    ByteBuffer answer = ByteBuffer.wrap(message.bytes());
    answers.computeIfPresent(answer.getInt(), (_, _) -> Optional.of(answer));
  }

  /** Ends the runners of the other stages, if they can be reached, and forgets all questions. */
  void stop() {
    answers.clear();
    if (!failed) {
      later.forEach(stage -> send(stage, new StageCommand.Stop()));
    }
  }

  public void leave() {
    later.forEach(stage -> send(stage, new StageCommand.Leave()));
  }

  private <T> T reached(Supplier<T> call) {
    try {
      return call.get();
    } catch (DistributedException e) {
      failed = true;
      throw e;
    }
  }
}
