package org.eellm.generate;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.generate.Result.FinishReason;
import org.eellm.model.Decoder;
import org.eellm.model.Head;

/**
 * Continuous batching: requests join and leave between any two steps, and a step takes prompts and
 * single tokens alike. For one thread.
 *
 * <p>A request is taken in work when there is a place in the batch and memory for the longest it
 * may get; so nothing in work ever lacks memory. Requests wait in their order.
 */
final class Batch implements AutoCloseable {
  /** Rows of prompts that a step takes at most; bounds how long the others wait for a prompt. */
  static final int PROMPT_ROWS = 256;

  private final Decoder model;
  private final Limits limits;
  private final BlockPass pass;
  private final PagePool pool;
  private final PrefixCache prefixes;
  private final Deque<Job> queue = new ArrayDeque<>();
  private final List<Sequence> active = new ArrayList<>();

  Batch(Decoder model, Limits limits) {
    this.model = model;
    this.limits = limits;
    ScalarType format = PagePool.format(model);
    pass = new BlockPass(model, limits.vocabSize(), limits.maxPending(), format);
    pool = new PagePool(PagePool.pages(limits.cacheTokens()), format);
    prefixes = new PrefixCache(pool);
  }

  /**
   * A request that can be done.
   *
   * @throws GenerateException if it fits neither model nor memory
   * @throws org.eellm.config.ConfigException if the model lacks what its decoding needs
   */
  Job job(Request request, String name, RequestListener listener) {
    Job job = Job.of(model, request, name, listener);
    job.requireRoom(name, pool.size());
    return job;
  }

  /** Puts a request at the end of the queue. */
  void add(Job job) {
    queue.add(job);
  }

  boolean isIdle() {
    return queue.isEmpty() && active.isEmpty();
  }

  /** Requests that wait. */
  int queued() {
    return queue.size();
  }

  /** Requests in work. */
  int running() {
    return active.size();
  }

  int pages() {
    return pool.size();
  }

  /** Pages that requests in work have taken. */
  int usedPages() {
    return pool.used();
  }

  /** Sequences in work, for tests. */
  List<Sequence> active() {
    return List.copyOf(active);
  }

  /** Takes out what is cancelled, takes in what there is room for, and does one block. */
  void step() {
    turnOver();
    advance();
  }

  /** Takes out what is cancelled, and takes in what there is room for. */
  void turnOver() {
    leaveCancelled();
    admit();
  }

  /** Does one block for all in work. */
  void advance() {
    List<Span> rows = nextRows();
    if (rows.isEmpty()) {
      return;
    }
    pass.run(rows);
    for (Span span : rows) {
      remember(span.sequence());
    }
    leaveFinished();
  }

  private void leaveCancelled() {
    queue.removeIf(
        job -> {
          if (job.cancelled()) {
            job.listener().onEnd(job.withoutWork());
          }
          return job.cancelled();
        });
    for (Sequence sequence : active) {
      if (sequence.job().cancelled()) {
        sequence.finish(FinishReason.CANCELLED);
      }
    }
    leaveFinished();
  }

  private void admit() {
    while (!queue.isEmpty() && active.size() < limits.batchSize()) {
      Job job = queue.peek();
      List<Integer> prompt = job.request().prompt();
      Set<String> heads =
          job.heads().stream()
              .filter(Head::hasAttention)
              .map(Head::name)
              .collect(Collectors.toUnmodifiableSet());
      int unheard = // a prediction of the first token to hear of takes the one before it
          job.request().decoding() instanceof Decoding.Score score
              ? score.from() - 1
              : prompt.size() - 1;
      List<Integer> known = prefixes.find(new Tokens(prompt, prompt.size()), unheard, heads);
      known.forEach(pool::share);
      int further = PagePool.pages(job.positions()) - known.size();
      prefixes.makeRoom(further);
      if (pool.free() < further) {
        known.forEach(pool::release);
        return;
      }
      queue.remove();
      int[] pages = new int[known.size() + further];
      for (int i = 0; i < known.size(); i++) {
        pages[i] = known.get(i);
      }
      System.arraycopy(pool.take(further), 0, pages, known.size(), further);
      SequenceCache cache = new SequenceCache(pool, pages);
      active.add(Sequence.of(job, cache, known.size() * PagePool.PAGE));
    }
  }

  /** The newest token of each sequence, and of prompts as much as a step takes. */
  private List<Span> nextRows() {
    List<Span> rows = new ArrayList<>();
    int left = PROMPT_ROWS;
    for (Sequence sequence : active) {
      if (!sequence.inPrompt()) {
        rows.add(sequence.next(sequence.waiting()));
      } else if (left > 0) {
        Span span = sequence.next(Math.min(left, sequence.waiting()));
        left -= span.count();
        rows.add(span);
      }
    }
    return rows;
  }

  /** Lets others go on with pages that have just become complete. */
  private void remember(Sequence sequence) {
    if (sequence.hasNewPages()) {
      prefixes.add(
          sequence.tokens(),
          sequence.complete(),
          sequence.cache().pages(),
          sequence.headsWithAttention());
    }
  }

  private void leaveFinished() {
    List<Sequence> finished = active.stream().filter(Sequence::finished).toList();
    active.removeAll(finished);
    finished.forEach(Sequence::close);
    finished.forEach(Sequence::report);
  }

  /** Fails everything in work; what waits goes on waiting. */
  void fail(RuntimeException cause) {
    active.forEach(sequence -> sequence.fail(cause));
    leaveFinished();
  }

  /** Cancels everything. */
  void cancelAll() {
    queue.forEach(Job::cancel);
    active.forEach(sequence -> sequence.job().cancel());
    leaveCancelled();
  }

  @Override
  public void close() {
    active.forEach(Sequence::close);
    active.clear();
    pool.close();
  }
}
