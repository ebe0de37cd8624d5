package org.eellm.decode.stages;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.eellm.decode.Batch;
import org.eellm.decode.DecodeStep;
import org.eellm.decode.backend.Backends;
import org.eellm.decode.cache.PagePool;
import org.eellm.decode.cache.PageTable;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.strategy.FirstStageStrategy;
import org.eellm.decode.strategy.Sequence;
import org.eellm.decode.strategy.TokenMessage;
import org.eellm.distributed.PeerChannel;
import org.eellm.distributed.World;
import org.eellm.model.DecodingModel;

/**
 * The first stage of a pipeline, which takes requests in work, embeds, and emits tokens. A sequence
 * whose token left here goes on at once with the next; one whose token went to later stages goes on
 * when they answer.
 */
final class FirstStageWorker implements AutoCloseable {
  private final Limits limits;
  private final int stages;
  private final ModelRunner runner;
  private final DecodeStep step;
  private final PagePool pool;
  private final NextStageSender next;
  private final TokenReceiver receiver;
  private final Deque<StageSequence> active = new ArrayDeque<>(); // who waits longest in front
  private final List<Integer> finished = new ArrayList<>(); // which later stages have yet to hear
  private final List<Job> jobs;
  private int admitted;

  /**
   * A running sequence.
   *
   * @param requestId index of the request, the same on all ranks
   */
  private record StageSequence(int requestId, Sequence sequence, FirstStageStrategy strategy) {

    boolean isFinished() {
      return sequence.output().finished();
    }

    int ready() {
      return strategy.ready(sequence);
    }

    NextStageSender.Outgoing outgoing() {
      return new NextStageSender.Outgoing(
          sequence, requestId, strategy.attempt(), strategy.exitDecision());
    }
  }

  /**
   * @param jobs all requests; their numbers are their places
   */
  FirstStageWorker(
      DecodingModel model, World world, PeerChannel channel, Limits limits, List<Job> jobs) {
    this.limits = limits;
    this.stages = world.pp().size();
    this.jobs = jobs;
    int pages = PagePool.pages(limits.cacheTokens());
    runner = Backends.runner(model, limits.vocabulary(), pages);
    step = new DecodeStep(runner, limits.maxPending());
    pool = new PagePool(pages);
    next = new NextStageSender(runner, channel, world.pp());
    receiver = new TokenReceiver(channel, world);
  }

  /** Works until all requests are done. */
  void run() {
    admit();
    while (!active.isEmpty()) {
      active.forEach(leading -> leading.strategy().guess(leading.sequence()));
      boolean idle = active.stream().noneMatch(leading -> leading.ready() > 0);
      receiver.next(idle).forEach(this::onRemoteToken);
      advance(nextRows());
      removeFinished();
      admit();
    }
    next.end();
  }

  private void admit() {
    while (admitted < jobs.size() && active.size() < limits.batchSize()) {
      Job job = jobs.get(admitted);
      int pages = PagePool.pages(job.positions());
      if (pool.free() < pages) {
        return;
      }
      PageTable pageTable = new PageTable(pool, pool.allocate(pages));
      FirstStageStrategy strategy =
          new FirstStageStrategy(
              PipelineGenerator.policy(job.request()), job.request().prompt().size(), stages);
      active.add(
          new StageSequence(admitted, new Sequence(job, runner, pageTable, 0, strategy), strategy));
      admitted++;
    }
  }

  private void onRemoteToken(TokenMessage answer) {
    active.stream()
        .filter(leading -> leading.requestId() == answer.requestId())
        .findFirst()
        .ifPresent(leading -> leading.strategy().onRemoteToken(leading.sequence(), answer));
  }

  /**
   * The newest token of sequences, and of prompts as much as a step takes: of one in so many
   * sequences as there are stages, so that all stages have something to do. Guesses have their turn
   * where there is nothing else.
   */
  private List<StageSequence> nextRows() {
    List<StageSequence> next =
        nextRows(active.stream().filter(leading -> leading.strategy().isCommitted()).toList());
    return next.isEmpty() ? nextRows(List.copyOf(active)) : next;
  }

  private List<StageSequence> nextRows(List<StageSequence> candidates) {
    List<StageSequence> next = new ArrayList<>();
    int most = Math.ceilDiv(active.size(), stages);
    int left = Batch.PROMPT_ROWS;
    for (StageSequence leading : candidates) {
      int count = Math.min(left, leading.ready());
      if (count > 0 && next.size() < most && !leading.isFinished()) {
        left -= count;
        leading.sequence().next(count);
        next.add(leading);
        active.remove(leading);
        active.add(leading);
      }
    }
    return next;
  }

  private void advance(List<StageSequence> rows) {
    if (rows.isEmpty()) {
      return;
    }
    step.run(rows.stream().map(StageSequence::sequence).toList());
    List<StageSequence> above = rows.stream().filter(FirstStageWorker::isMoving).toList();
    next.send(List.copyOf(finished), above.stream().map(StageSequence::outgoing).toList());
    finished.clear();
    for (StageSequence leading : above) {
      leading.sequence().frontier().leave();
      if (leading.strategy().exitDecision().isOpen()) {
        ask(leading);
      }
    }
  }

  private static boolean isMoving(StageSequence leading) {
    return leading.sequence().frontier().inFlight().count() > 0;
  }

  /** What a sequence's sampler throws is that sequence's failure. */
  private static void ask(StageSequence leading) {
    try {
      leading.strategy().ask(leading.sequence());
    } catch (RuntimeException e) {
      leading.sequence().output().fail(e);
    }
  }

  private void removeFinished() {
    List<StageSequence> done = active.stream().filter(StageSequence::isFinished).toList();
    active.removeAll(done);
    for (StageSequence leading : done) {
      finished.add(leading.requestId());
      leading.sequence().close();
      leading.sequence().output().report();
    }
  }

  @Override
  public void close() {
    active.forEach(leading -> leading.sequence().close());
    active.clear();
    runner.close();
  }
}
