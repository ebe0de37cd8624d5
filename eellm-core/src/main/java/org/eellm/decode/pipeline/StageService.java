package org.eellm.decode.pipeline;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntUnaryOperator;
import org.eellm.decode.backend.Backends;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.head.DraftOutput;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.pipeline.RemoteOutput.Logits;
import org.eellm.decode.pipeline.StageCommand.Copy;
import org.eellm.decode.pipeline.StageCommand.Leave;
import org.eellm.decode.pipeline.StageCommand.Pass;
import org.eellm.decode.pipeline.StageCommand.Predict;
import org.eellm.decode.pipeline.StageCommand.Read;
import org.eellm.decode.pipeline.StageCommand.Receive;
import org.eellm.decode.pipeline.StageCommand.Send;
import org.eellm.decode.pipeline.StageCommand.Start;
import org.eellm.decode.pipeline.StageCommand.Stop;
import org.eellm.decode.pipeline.StageCommand.Write;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.message.PeerChannel;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;

/**
 * A pipeline stage that is not the first: does what the first stage's {@link PipelineRunner} has it
 * do, and decides nothing.
 */
public final class StageService {
  private static final Duration RECEIVE_TIMEOUT = Duration.ofHours(1);
  private static final int FIRST_STAGE = 0;
  private static final int NONE = -1;

  private final PeerChannel channel;
  private final RunnerStarter runners;
  private final Map<Integer, Deque<byte[]>> arrived = new HashMap<>(); // by stage
  private int[] slots = {}; // own ones, by the first stage's

  /** Starts runners of the stage's layers. */
  @FunctionalInterface
  interface RunnerStarter {
    ModelRunner start(Vocabulary vocabulary, int pages);
  }

  /**
   * @param channel whose ranks are the stages
   * @param model this rank's part
   */
  public StageService(PeerChannel channel, DecodingModel model) {
    this(channel, (vocabulary, pages) -> Backends.runner(model, vocabulary, pages));
  }

  StageService(PeerChannel channel, RunnerStarter runners) {
    this.channel = channel;
    this.runners = runners;
  }

  /**
   * Works until the first stage lets it go.
   *
   * @throws DistributedException if another stage fails; the message names it
   */
  public void run() {
    while (command(_ -> 0) instanceof Start start) {
      try (ModelRunner runner = runners.start(start.vocabulary(), start.pages())) {
        slots = new int[0];
        answer(start.question(), StagePart.of(runner).encode());
        serve(runner);
      }
    }
  }

  private void serve(ModelRunner runner) {
    while (true) {
      switch (command(slot -> own(slot, runner))) {
        case Write(int[] to, byte[] hidden) -> write(runner, to, hidden);
        case Send(int stage, int[] from) -> channel.send(stage, read(runner, from));
        case Receive(int stage, int[] to) -> write(runner, to, next(stage));
        case Pass(int from, int to, boolean propagates, ForwardBatch rows) -> {
          if (propagates) {
            runner.propagate(from, to, rows);
          } else {
            runner.run(from, to, rows);
          }
        }
        case Predict ask -> answer(ask.question(), predict(runner, ask));
        case Read(int question, int slot) -> answer(question, read(runner, new int[] {slot}));
        case Copy(int from, int to) -> runner.copy(from, to);
        case Stop _ -> {
          return;
        }
        case Start _, Leave _ -> throw new IllegalStateException("a runner is at work");
      }
    }
  }

  private StageCommand command(IntUnaryOperator slots) {
    return StageCommand.decode(next(FIRST_STAGE), slots);
  }

  /** The next message from a stage; messages from others meanwhile are kept. */
  private byte[] next(int stage) {
    Deque<byte[]> waiting = arrived.computeIfAbsent(stage, _ -> new ArrayDeque<>());
    while (waiting.isEmpty()) {
      channel
          .receive(List.of(stage), RECEIVE_TIMEOUT)
          .ifPresent(
              message ->
                  arrived
                      .computeIfAbsent(message.from(), _ -> new ArrayDeque<>())
                      .add(message.bytes()));
    }
    return waiting.remove();
  }

  private void answer(int question, byte[] bytes) {
    byte[] answer =
        ByteBuffer.allocate(Integer.BYTES + bytes.length).putInt(question).put(bytes).array();
    channel.send(FIRST_STAGE, answer);
  }

  private int own(int slot, ModelRunner runner) {
    if (slot >= slots.length) {
      int known = slots.length;
      slots = Arrays.copyOf(slots, Math.max(slot + 1, 2 * known));
      Arrays.fill(slots, known, slots.length, NONE);
    }
    if (slots[slot] == NONE) {
      slots[slot] = runner.allocateSlot();
    }
    return slots[slot];
  }

  private static byte[] read(ModelRunner runner, int[] from) {
    int bytes = runner.hiddenBytes();
    byte[] hidden = new byte[from.length * bytes];
    for (int row = 0; row < from.length; row++) {
      runner.read(from[row], hidden, row * bytes);
    }
    return hidden;
  }

  private static void write(ModelRunner runner, int[] to, byte[] hidden) {
    for (int row = 0; row < to.length; row++) {
      runner.write(to[row], hidden, row * runner.hiddenBytes());
    }
  }

  private byte[] predict(ModelRunner runner, Predict ask) {
    Head head = runner.model().allHeads().get(ask.head());
    int count = ask.asked().length;
    HeadOutput output = runner.ask(head, ask.kind(), ask.rows(), ask.asked(), count);
    HeadOutput told = output instanceof DraftOutput drafts ? drafts.listed() : output;
    return (ask.kind().bestOnly() ? Logits.bestOf(told, count) : Logits.of(told, count)).encode();
  }
}
