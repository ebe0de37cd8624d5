package org.eellm.decode.stages;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.decode.Batch;
import org.eellm.decode.DecodeStep;
import org.eellm.decode.cache.HiddenRows;
import org.eellm.decode.cache.PagePool;
import org.eellm.decode.cache.SequenceCache;
import org.eellm.decode.engine.HeadOutput;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.stages.RowsMessage.PartMessage;
import org.eellm.decode.stages.RowsMessage.Predicted;
import org.eellm.decode.strategy.AnswerMessage;
import org.eellm.decode.strategy.Sequence;
import org.eellm.decode.strategy.StageStrategy;
import org.eellm.decode.token.Prediction;
import org.eellm.distributed.Mail;
import org.eellm.distributed.Mail.Letter;
import org.eellm.distributed.World;
import org.eellm.model.DecodingModel;

/**
 * A stage of a pipeline that is not the first: takes what comes from below through its layers, in
 * order, tells the first stage of tokens that leave here, and hands on what goes further.
 */
final class LaterStage implements AutoCloseable {
  /** Rows go through all layers here as they come: what waits, waits in the mail. */
  private static final int MAX_PENDING = 1;

  private final DecodingModel model;
  private final World world;
  private final Mail mail;
  private final List<Job> jobs;
  private final ModelRunner runner;
  private final DecodeStep step;
  private final PagePool pool;
  private final NextStage next;
  private final Map<Integer, Staged> sequences = new HashMap<>();
  private boolean open = true;

  /**
   * A sequence in work.
   *
   * @param number of its request
   */
  private record Staged(int number, Sequence sequence, StageStrategy strategy) {

    boolean isMoving() {
      return sequence.frontier().moving().count() > 0;
    }

    NextStage.Outgoing outgoing() {
      return new NextStage.Outgoing(sequence, number, strategy.attempt(), strategy.question());
    }
  }

  /**
   * @param jobs all requests; their numbers are their places
   */
  LaterStage(DecodingModel model, World world, Mail mail, Limits limits, List<Job> jobs) {
    this.model = model;
    this.world = world;
    this.mail = mail;
    this.jobs = jobs;
    int pages = PagePool.pages(limits.cacheTokens());
    runner = ModelRunner.of(model, limits.vocabulary(), pages);
    step = new DecodeStep(runner, MAX_PENDING);
    pool = new PagePool(pages);
    next = new NextStage(runner, mail, world.pp());
  }

  /** Works until the first stage has no more to do. */
  void run() {
    while (open) {
      byte[] letter = await();
      if (isEnd(letter)) {
        open = false;
      } else {
        RowsMessage message = withFurther(RowsMessage.decode(letter));
        message.finished().forEach(this::forget);
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
  private RowsMessage withFurther(RowsMessage message) {
    RowsMessage all = message;
    // Ranks that share these layers have to take the same, whenever their mail arrives.
    boolean alone = world.tp().size() == 1;
    while (alone && open && !all.asks() && all.rows() < Batch.PROMPT_ROWS) {
      Optional<Letter> further = mail.poll();
      if (further.isEmpty()) {
        break;
      }
      byte[] letter = further.get().bytes();
      if (isEnd(letter)) {
        open = false;
      } else {
        all = all.and(RowsMessage.decode(letter));
      }
    }
    return all;
  }

  /** Waits for what comes from below. */
  private byte[] await() {
    List<Integer> below = List.of(world.pp().rank() - 1);
    while (true) {
      Optional<Letter> letter = mail.receive(below, world.timeout());
      if (letter.isPresent()) {
        return letter.get().bytes();
      }
    }
  }

  private static boolean isEnd(byte[] letter) {
    return letter.length == RowsMessage.NONE_FURTHER.length;
  }

  private void forget(int number) {
    Staged staged = sequences.remove(number);
    if (staged != null) { // all its tokens may have left below
      staged.sequence().close();
    }
  }

  private void advance(RowsMessage message) {
    List<Staged> moving = new ArrayList<>();
    for (PartMessage part : message.parts()) {
      Staged staged = sequences.computeIfAbsent(part.number(), this::begin);
      if (arrives(staged, part)) {
        moving.add(staged);
      }
    }
    step.through(moving.stream().map(Staged::sequence).toList());
    for (Staged staged : moving) {
      staged
          .sequence()
          .delivery()
          .failure()
          .ifPresent(
              cause -> {
                throw cause;
              });
    }
    List<Staged> above = moving.stream().filter(Staged::isMoving).toList();
    next.send(message.finished(), above.stream().map(Staged::outgoing).toList());
    above.forEach(staged -> staged.sequence().frontier().leave());
  }

  /** Lets rows that have come move, if they are to take part. */
  private boolean arrives(Staged staged, PartMessage part) {
    Sequence sequence = staged.sequence();
    List<Prediction> earlier = new ArrayList<>();
    for (Predicted predicted : part.earlier()) {
      HeadOutput output =
          new RemoteHeadOutput(
              model.allHeads().get(predicted.head()), predicted.best(), predicted.probability());
      earlier.add(new Prediction(output, 0, sequence.tokens(), earlier));
    }
    if (!staged.strategy().arrive(sequence, part, earlier)) {
      return false;
    }
    HiddenRows rows = sequence.frontier().moving();
    for (int row = 0; row < rows.count(); row++) {
      runner.write(rows.slot(row), part.hidden(), row * runner.hiddenBytes());
    }
    return true;
  }

  private Staged begin(int number) {
    Job job = jobs.get(number);
    int[] pages = pool.take(PagePool.pages(job.positions()));
    StageStrategy strategy =
        new StageStrategy(number, PipelineGenerator.policy(job.request()), this::answer);
    SequenceCache cache = new SequenceCache(pool, pages);
    return new Staged(number, new Sequence(job, runner, cache, 0, strategy), strategy);
  }

  /** Tells the first stage of a token; where this stage is several ranks, one of them does. */
  private void answer(AnswerMessage answer) {
    if (Answers.isListener(world)) {
      mail.send(0, answer.encode());
    }
  }

  @Override
  public void close() {
    sequences.values().forEach(staged -> staged.sequence().close());
    runner.close();
  }
}
