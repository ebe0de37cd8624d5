package org.eellm.decode.stages;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.decode.Batch;
import org.eellm.decode.DecodeStep;
import org.eellm.decode.backend.Backends;
import org.eellm.decode.cache.HiddenRows;
import org.eellm.decode.cache.PagePool;
import org.eellm.decode.cache.PageTable;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.strategy.HiddenStatesMessage;
import org.eellm.decode.strategy.HiddenStatesMessage.RemotePrediction;
import org.eellm.decode.strategy.HiddenStatesMessage.SequenceHiddenStates;
import org.eellm.decode.strategy.LaterStageStrategy;
import org.eellm.decode.strategy.Sequence;
import org.eellm.decode.strategy.TokenMessage;
import org.eellm.decode.token.Prediction;
import org.eellm.distributed.PeerChannel;
import org.eellm.distributed.PeerChannel.Message;
import org.eellm.distributed.World;
import org.eellm.model.DecodingModel;

/**
 * A stage of a pipeline that is not the first: takes what comes from below through its layers, in
 * order, tells the first stage of tokens that leave here, and hands on what goes further.
 */
final class LaterStageWorker implements AutoCloseable {
  /** Rows go through all layers here as they come: what waits, waits in the channel. */
  private static final int MAX_PENDING = 1;

  private final DecodingModel model;
  private final World world;
  private final PeerChannel channel;
  private final List<Job> jobs;
  private final ModelRunner runner;
  private final DecodeStep step;
  private final PagePool pool;
  private final NextStageSender next;
  private final Map<Integer, StageSequence> sequences = new HashMap<>();
  private boolean open = true;

  /**
   * A running sequence.
   *
   * @param requestId index of the request, the same on all ranks
   */
  private record StageSequence(int requestId, Sequence sequence, LaterStageStrategy strategy) {

    boolean isMoving() {
      return sequence.frontier().inFlight().count() > 0;
    }

    NextStageSender.Outgoing outgoing() {
      return new NextStageSender.Outgoing(
          sequence, requestId, strategy.attempt(), strategy.exitDecision());
    }
  }

  /**
   * @param jobs all requests; their numbers are their places
   */
  LaterStageWorker(
      DecodingModel model, World world, PeerChannel channel, Limits limits, List<Job> jobs) {
    this.model = model;
    this.world = world;
    this.channel = channel;
    this.jobs = jobs;
    int pages = PagePool.pages(limits.cacheTokens());
    runner = Backends.runner(model, limits.vocabulary(), pages);
    step = new DecodeStep(runner, MAX_PENDING);
    pool = new PagePool(pages);
    next = new NextStageSender(runner, channel, world.pp());
  }

  /** Works until the first stage has no more to do. */
  void run() {
    while (open) {
      byte[] bytes = await();
      if (isEnd(bytes)) {
        open = false;
      } else {
        HiddenStatesMessage message = withFurther(HiddenStatesMessage.decode(bytes));
        message.finished().forEach(this::evict);
        advance(message);
      }
    }
    next.end();
  }

  /**
   * Lets further messages that are there already come along with one in which no token is asked
   * for, for a block of several rows takes little longer than one; until a token is asked for, or
   * there are as many rows as a step takes of prompts.
   */
  private HiddenStatesMessage withFurther(HiddenStatesMessage message) {
    HiddenStatesMessage all = message;
    // Ranks that share these layers have to take the same, whenever messages arrive.
    boolean alone = world.tp().size() == 1;
    while (alone && open && !all.needsToken() && all.rows() < Batch.PROMPT_ROWS) {
      Optional<Message> further = channel.poll();
      if (further.isEmpty()) {
        break;
      }
      byte[] bytes = further.get().bytes();
      if (isEnd(bytes)) {
        open = false;
      } else {
        all = all.and(HiddenStatesMessage.decode(bytes));
      }
    }
    return all;
  }

  /** Waits for what comes from below. */
  private byte[] await() {
    List<Integer> below = List.of(world.pp().rank() - 1);
    while (true) {
      Optional<Message> message = channel.receive(below, world.timeout());
      if (message.isPresent()) {
        return message.get().bytes();
      }
    }
  }

  private static boolean isEnd(byte[] bytes) {
    return bytes.length == HiddenStatesMessage.END_OF_STREAM.length;
  }

  private void evict(int requestId) {
    StageSequence staged = sequences.remove(requestId);
    if (staged != null) { // all its tokens may have left below
      staged.sequence().close();
    }
  }

  private void advance(HiddenStatesMessage message) {
    List<StageSequence> inFlight = new ArrayList<>();
    for (SequenceHiddenStates part : message.parts()) {
      StageSequence staged = sequences.computeIfAbsent(part.requestId(), this::begin);
      if (arrives(staged, part)) {
        inFlight.add(staged);
      }
    }
    step.through(inFlight.stream().map(StageSequence::sequence).toList());
    for (StageSequence staged : inFlight) {
      staged
          .sequence()
          .output()
          .failure()
          .ifPresent(
              cause -> {
                throw cause;
              });
    }
    List<StageSequence> above = inFlight.stream().filter(StageSequence::isMoving).toList();
    next.send(message.finished(), above.stream().map(StageSequence::outgoing).toList());
    above.forEach(staged -> staged.sequence().frontier().leave());
  }

  /** Lets rows that have come move, if they are to take part. */
  private boolean arrives(StageSequence staged, SequenceHiddenStates part) {
    Sequence sequence = staged.sequence();
    List<Prediction> earlier = new ArrayList<>();
    for (RemotePrediction predicted : part.earlier()) {
      HeadOutput output =
          new RemoteHeadOutput(
              model.allHeads().get(predicted.head()), predicted.best(), predicted.probability());
      earlier.add(new Prediction(output, 0, sequence.tokens(), earlier));
    }
    if (!staged.strategy().arrive(sequence, part, earlier)) {
      return false;
    }
    HiddenRows rows = sequence.frontier().inFlight();
    for (int row = 0; row < rows.count(); row++) {
      runner.write(rows.slot(row), part.hidden(), row * runner.hiddenBytes());
    }
    return true;
  }

  private StageSequence begin(int requestId) {
    Job job = jobs.get(requestId);
    int[] pages = pool.allocate(PagePool.pages(job.positions()));
    LaterStageStrategy strategy =
        new LaterStageStrategy(requestId, PipelineGenerator.policy(job.request()), this::answer);
    PageTable pageTable = new PageTable(pool, pages);
    return new StageSequence(
        requestId, new Sequence(job, runner, pageTable, 0, strategy), strategy);
  }

  /** Tells the first stage of a token; where this stage is several ranks, one of them does. */
  private void answer(TokenMessage answer) {
    if (TokenReceiver.isReceiver(world)) {
      channel.send(0, answer.encode());
    }
  }

  @Override
  public void close() {
    sequences.values().forEach(staged -> staged.sequence().close());
    runner.close();
  }
}
