package org.eellm.generate;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.bytedeco.pytorch.InferenceMode;
import org.eellm.distributed.Mail;
import org.eellm.distributed.World;
import org.eellm.generate.Block.Part;
import org.eellm.model.Decoder;
import org.eellm.tensor.Scope;

/**
 * The first stage of a pipeline, which takes requests in work, embeds, and hands tokens out. A
 * sequence whose token left here goes on at once with the next; one whose token went to later
 * stages goes on when they answer.
 */
final class FirstStage implements AutoCloseable {
  private final Limits limits;
  private final int stages;
  private final BlockPass pass;
  private final PagePool pool;
  private final NextStage next;
  private final Answers answers;
  private final Deque<LeadingSequence> active = new ArrayDeque<>(); // who waits longest in front
  private final List<Integer> finished = new ArrayList<>(); // which later stages have yet to hear
  private final List<Job> jobs;
  private int admitted;

  /**
   * @param jobs all requests; their numbers are their places
   */
  FirstStage(Decoder model, World world, Mail mail, Limits limits, List<Job> jobs) {
    this.limits = limits;
    this.stages = world.pp().size();
    this.jobs = jobs;
    pass = new BlockPass(model, limits.vocabSize(), limits.maxPending(), PagePool.format(model));
    pool = new PagePool(PagePool.pages(limits.cacheTokens()), PagePool.format(model));
    next = new NextStage(mail, world.pp());
    answers = new Answers(mail, world);
  }

  /** Works until all requests are done. */
  void run() {
    admit();
    while (!active.isEmpty()) {
      active.forEach(LeadingSequence::guess);
      boolean idle = active.stream().noneMatch(sequence -> sequence.ready() > 0);
      answers.next(idle).forEach(this::hear);
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
      active.add(
          new LeadingSequence(
              admitted, job, cache, PipelineGenerator.policy(job.request()), stages));
      admitted++;
    }
  }

  private void hear(AnswerMessage answer) {
    active.stream()
        .filter(sequence -> sequence.number() == answer.number())
        .findFirst()
        .ifPresent(sequence -> sequence.hear(answer));
  }

  /**
   * The newest token of sequences, and of prompts as much as a step takes: of one in so many
   * sequences as there are stages, so that all stages have something to do. Guesses have their turn
   * where there is nothing else.
   */
  private List<Span> nextRows() {
    List<Span> rows = nextRows(active.stream().filter(LeadingSequence::isCertain).toList());
    return rows.isEmpty() ? nextRows(List.copyOf(active)) : rows;
  }

  private List<Span> nextRows(List<LeadingSequence> sequences) {
    List<Span> rows = new ArrayList<>();
    int most = Math.ceilDiv(active.size(), stages);
    int left = Batch.PROMPT_ROWS;
    for (LeadingSequence sequence : sequences) {
      int count = Math.min(left, sequence.ready());
      if (count > 0 && rows.size() < most && !sequence.finished()) {
        left -= count;
        rows.add(sequence.next(count));
        active.remove(sequence);
        active.add(sequence);
      }
    }
    return rows;
  }

  private void advance(List<Span> rows) {
    if (rows.isEmpty()) {
      return;
    }
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) {
      List<Part> above = pass.through(pass.embed(rows));
      next.send(List.copyOf(finished), above);
      finished.clear();
      for (Part part : above) {
        LeadingSequence sequence = (LeadingSequence) part.span().sequence();
        if (sequence.asking()) {
          ask(sequence);
        }
      }
    }
  }

  /** What a sequence's sampler throws is that sequence's failure. */
  private static void ask(LeadingSequence sequence) {
    try {
      sequence.ask();
    } catch (RuntimeException e) {
      sequence.fail(e);
    }
  }

  private void leaveFinished() {
    List<LeadingSequence> done = active.stream().filter(Sequence::finished).toList();
    active.removeAll(done);
    for (LeadingSequence sequence : done) {
      finished.add(sequence.number());
      sequence.close();
      sequence.report();
    }
  }

  @Override
  public void close() {
    active.forEach(Sequence::close);
    active.clear();
    pool.close();
  }
}
