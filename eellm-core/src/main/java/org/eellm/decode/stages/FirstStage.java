package org.eellm.decode.stages;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.eellm.decode.Batch;
import org.eellm.decode.DecodeStep;
import org.eellm.decode.cache.PagePool;
import org.eellm.decode.cache.SequenceCache;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.strategy.AnswerMessage;
import org.eellm.decode.strategy.LeadingStrategy;
import org.eellm.decode.strategy.Sequence;
import org.eellm.distributed.Mail;
import org.eellm.distributed.World;
import org.eellm.model.DecodingModel;

/**
 * The first stage of a pipeline, which takes requests in work, embeds, and hands tokens out. A
 * sequence whose token left here goes on at once with the next; one whose token went to later
 * stages goes on when they answer.
 */
final class FirstStage implements AutoCloseable {
  private final Limits limits;
  private final int stages;
  private final ModelRunner runner;
  private final DecodeStep step;
  private final PagePool pool;
  private final NextStage next;
  private final Answers answers;
  private final Deque<Leading> active = new ArrayDeque<>(); // who waits longest in front
  private final List<Integer> finished = new ArrayList<>(); // which later stages have yet to hear
  private final List<Job> jobs;
  private int admitted;

  /**
   * A sequence in work.
   *
   * @param number of its request
   */
  private record Leading(int number, Sequence sequence, LeadingStrategy strategy) {

    boolean isFinished() {
      return sequence.delivery().finished();
    }

    int ready() {
      return strategy.ready(sequence);
    }

    NextStage.Outgoing outgoing() {
      return new NextStage.Outgoing(sequence, number, strategy.attempt(), strategy.question());
    }
  }

  /**
   * @param jobs all requests; their numbers are their places
   */
  FirstStage(DecodingModel model, World world, Mail mail, Limits limits, List<Job> jobs) {
    this.limits = limits;
    this.stages = world.pp().size();
    this.jobs = jobs;
    int pages = PagePool.pages(limits.cacheTokens());
    runner = ModelRunner.of(model, limits.vocabulary(), pages);
    step = new DecodeStep(runner, limits.maxPending());
    pool = new PagePool(pages);
    next = new NextStage(runner, mail, world.pp());
    answers = new Answers(mail, world);
  }

  /** Works until all requests are done. */
  void run() {
    admit();
    while (!active.isEmpty()) {
      active.forEach(leading -> leading.strategy().guess(leading.sequence()));
      boolean idle = active.stream().noneMatch(leading -> leading.ready() > 0);
      answers.next(idle).forEach(this::onAnswer);
      advance(nextRows());
      leaveFinished();
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
      SequenceCache cache = new SequenceCache(pool, pool.take(pages));
      LeadingStrategy strategy =
          new LeadingStrategy(
              PipelineGenerator.policy(job.request()), job.request().prompt().size(), stages);
      active.add(new Leading(admitted, new Sequence(job, runner, cache, 0, strategy), strategy));
      admitted++;
    }
  }

  private void onAnswer(AnswerMessage answer) {
    active.stream()
        .filter(leading -> leading.number() == answer.number())
        .findFirst()
        .ifPresent(leading -> leading.strategy().onAnswer(leading.sequence(), answer));
  }

  /**
   * The newest token of sequences, and of prompts as much as a step takes: of one in so many
   * sequences as there are stages, so that all stages have something to do. Guesses have their turn
   * where there is nothing else.
   */
  private List<Leading> nextRows() {
    List<Leading> next =
        nextRows(active.stream().filter(leading -> leading.strategy().isCertain()).toList());
    return next.isEmpty() ? nextRows(List.copyOf(active)) : next;
  }

  private List<Leading> nextRows(List<Leading> candidates) {
    List<Leading> next = new ArrayList<>();
    int most = Math.ceilDiv(active.size(), stages);
    int left = Batch.PROMPT_ROWS;
    for (Leading leading : candidates) {
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

  private void advance(List<Leading> rows) {
    if (rows.isEmpty()) {
      return;
    }
    step.run(rows.stream().map(Leading::sequence).toList());
    List<Leading> above = rows.stream().filter(FirstStage::isMoving).toList();
    next.send(List.copyOf(finished), above.stream().map(Leading::outgoing).toList());
    finished.clear();
    for (Leading leading : above) {
      leading.sequence().frontier().leave();
      if (leading.strategy().question().isOpen()) {
        ask(leading);
      }
    }
  }

  private static boolean isMoving(Leading leading) {
    return leading.sequence().frontier().moving().count() > 0;
  }

  /** What a sequence's sampler throws is that sequence's failure. */
  private static void ask(Leading leading) {
    try {
      leading.strategy().ask(leading.sequence());
    } catch (RuntimeException e) {
      leading.sequence().delivery().fail(e);
    }
  }

  private void leaveFinished() {
    List<Leading> done = active.stream().filter(Leading::isFinished).toList();
    active.removeAll(done);
    for (Leading leading : done) {
      finished.add(leading.number());
      leading.sequence().close();
      leading.sequence().delivery().report();
    }
  }

  @Override
  public void close() {
    active.forEach(leading -> leading.sequence().close());
    active.clear();
    runner.close();
  }
}
