package org.eellm.decode;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.config.HeadId;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.SettingException;
import org.eellm.decode.backend.Backends;
import org.eellm.decode.cache.PagePool;
import org.eellm.decode.cache.PageTable;
import org.eellm.decode.cache.PrefixCache;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.pipeline.PipelineRunner;
import org.eellm.decode.pipeline.StageLinks;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestListener;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.speculate.DraftPlanner;
import org.eellm.decode.strategy.DecodingStrategy;
import org.eellm.decode.strategy.GuessPolicy;
import org.eellm.decode.strategy.Sequence;
import org.eellm.decode.token.Tokens;
import org.eellm.distributed.DistributedException;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;

/**
 * Continuous batching: requests join and leave between any two steps, and a step takes prompts and
 * single tokens alike. For one thread.
 *
 * <p>A request is scheduled when there is a place in the batch and memory for the longest it may
 * get; so no running request ever lacks memory. Requests wait in their order.
 */
public final class Batch implements AutoCloseable {
  /** Rows of prompts that a step takes at most. */
  public static final int PROMPT_ROWS = 256;

  private final ModelRunner runner;
  private final Limits limits;
  private final DecodeStep firstStep;
  private final Deque<BatchStep> free = new ArrayDeque<>();
  private final Deque<BatchStep> underWay = new ArrayDeque<>(); // who has waited longest in front
  private final DraftPlanner planner;
  private final Optional<HeadDrafts> headDrafts;
  private final PagePool pool;
  private final PrefixCache prefixes;
  private final HiddenStateReader hiddenStates;
  private final PromptScheduler scheduler;
  private final Deque<Job> queue = new ArrayDeque<>();
  private final List<RunningSequence> active = new ArrayList<>();
  private final List<RunningSequence> prompts = new ArrayList<>(); // of the next step
  private final List<Sequence> ended = new ArrayList<>();
  private int promptRows; // of the next step
  private int nextSequence; // the running one that is next to move
  private boolean lastWasShort; // the step that began last did not wait for another rank

  private static final class RunningSequence {
    private Sequence sequence; // behind the last guess, if there is one
    private final PrefixCache.Cursor cursor; // how far its pages are known
    private int rows; // that the step which is being put together takes
    private int steps; // under way

    RunningSequence(Sequence sequence, PrefixCache.Cursor cursor) {
      this.sequence = sequence;
      this.cursor = cursor;
    }

    Sequence sequence() {
      return sequence;
    }

    boolean moves() {
      return steps > 0;
    }

    boolean mayBegin() {
      return !sequence.moves() && !sequence.isOver() && !sequence.job().cancelled();
    }

    /** Goes on behind a guess; what a sampler throws is its text's failure. */
    void guess() {
      try {
        sequence.goOn().ifPresent(ahead -> sequence = ahead);
      } catch (RuntimeException e) {
        sequence.output().fail(e);
      }
    }
  }

  /** A step and the texts that it moves; it may be under way while others are. */
  private static final class BatchStep {
    private final DecodeStep decodeStep;
    private final List<RunningSequence> moving = new ArrayList<>();
    private final List<Sequence> inFlight = new ArrayList<>(); // of these

    BatchStep(DecodeStep decodeStep) {
      this.decodeStep = decodeStep;
    }

    void add(RunningSequence one) {
      one.sequence.next(one.rows);
      one.rows = 0;
      one.steps++;
      moving.add(one);
      inFlight.add(one.sequence);
    }

    boolean advance() {
      boolean done = decodeStep.advance();
      for (int i = 0; i < moving.size(); i++) {
        if (!inFlight.get(i).isDropped()) {
          moving.get(i).sequence = inFlight.get(i).newest();
        }
      }
      return done;
    }

    void end() {
      for (int i = 0; i < moving.size(); i++) {
        moving.get(i).steps--;
        inFlight.get(i).endStep();
      }
      moving.clear();
      inFlight.clear();
    }
  }

  /**
   * @throws SettingException if the machine's memory cannot hold the keys and values
   */
  public Batch(DecodingModel model, Limits limits) {
    this(runner(model, limits), limits);
  }

  /**
   * A batch over all stages of a pipeline. Where there are fewer texts than stages, these go on
   * behind guesses at tokens for which later stages are asked.
   *
   * @param model the first stage
   * @throws SettingException if the machine's memory cannot hold the keys and values
   */
  static Batch over(DecodingModel model, Limits limits, StageLinks links) {
    ModelRunner first = runner(model, limits);
    return new Batch(new PipelineRunner(first, limits.vocabulary(), links), limits);
  }

  /**
   * A batch for an engine. Where users wait, a step takes as much of prompts as is done in a
   * bounded time. It takes so many rows where any number of texts may be queued, which are all
   * there from the beginning, and by libtorch, where numbers depend on the rows beside.
   *
   * @throws SettingException if the machine's memory cannot hold the keys and values
   */
  static Batch ofEngine(DecodingModel model, Limits limits) {
    ModelRunner runner = runner(model, limits);
    return runner instanceof KernelRunner && limits.maxQueued() < Integer.MAX_VALUE
        ? new Batch(runner, limits, PromptScheduler::ofTime)
        : new Batch(runner, limits);
  }

  private static ModelRunner runner(DecodingModel model, Limits limits) {
    limits.requireMemory(model);
    return Backends.runner(model, limits.vocabulary(), PagePool.pages(limits.cacheTokens()));
  }

  /**
   * @param runner with a page for every so many positions of {@code limits}; closed with this
   */
  public Batch(ModelRunner runner, Limits limits) {
    this(runner, limits, PromptScheduler::ofRows);
  }

  private Batch(ModelRunner runner, Limits limits, Supplier<PromptScheduler> schedulers) {
    this.runner = runner;
    this.limits = limits;
    firstStep = new DecodeStep(runner, limits.maxPending());
    free.add(new BatchStep(firstStep));
    // One for each stage, and one that waits for whichever is done first.
    while (runner.stages() > 1 && free.size() <= runner.stages()) {
      free.add(new BatchStep(firstStep.another()));
    }
    headDrafts = runner.draftLayer().map(layer -> new HeadDrafts(runner, layer, firstStep.costs()));
    planner =
        new DraftPlanner(
            Stream.concat(
                    runner.model().allHeads().stream(), headDrafts.map(HeadDrafts::head).stream())
                .toList(),
            firstStep.costs(),
            limits.vocabulary().draftTable());
    pool = new PagePool(runner.pages());
    prefixes = new PrefixCache(pool);
    scheduler = schedulers.get();
    hiddenStates = new HiddenStateReader(runner, pool, prefixes, schedulers.get());
  }

  /**
   * Pages that a text needs: for all its positions where a layer, or a head's block, sees them all.
   * Else for what windows see, and for rows from the first that waits for upper layers to the last
   * that has gone in.
   */
  static int neededPages(DecodingModel model, Limits limits, Job job) {
    return Math.min(PagePool.pages(job.positions()), mostPages(model, limits));
  }

  private static int mostPages(DecodingModel model, Limits limits) {
    ModelConfig shape = model.architecture().model();
    boolean slides = shape.eachLayerType().stream().allMatch(LayerType.SLIDING::equals);
    if (!slides
        || model.draftHead().isPresent()
        || model.allHeads().stream().anyMatch(Head::hasAttention)) {
      return Integer.MAX_VALUE;
    }
    long rows = 2L * PROMPT_ROWS + (long) model.allHeads().size() * limits.maxPending();
    long positions = Math.min(shape.slidingWindow() + rows, ModelConfig.MAX_POSITIONS);
    return PagePool.pages((int) positions) + 1; // the first has earlier positions, too
  }

  public DecodeMeter meter() {
    return new DecodeMeter(runner, firstStep.tally());
  }

  /**
   * A request that can be done.
   *
   * @throws GenerateException if it fits neither model nor memory
   * @throws org.eellm.config.ConfigException if the model lacks what its decoding needs
   */
  public Job job(Request request, String name, RequestListener listener) {
    if (runner.stages() > 1
        && request.decoding() instanceof DecodingMethod.Speculative drafts
        && drafts.resume() > 0) {
      throw new GenerateException(
          name + ": draft-resume needs all layers on a rank; leave it out, or use --pp 1");
    }
    Request asked = runner.stages() > 1 ? GuessPolicy.addTo(request, runner) : request;
    Job job = Job.of(runner.model(), limits.vocabulary(), asked, name, listener);
    job.requireRoom(name, neededPages(runner.model(), limits, job), pool.size());
    return job;
  }

  /** Texts whose hidden states are asked for, which share the pages of keys and values. */
  HiddenStateReader hiddenStates() {
    return hiddenStates;
  }

  /** Puts a request at the end of the queue. */
  public void add(Job job) {
    queue.add(job);
  }

  public boolean isIdle() {
    return queue.isEmpty() && active.isEmpty() && hiddenStates.isIdle();
  }

  /** Whether other ranks have a part of the layers. */
  boolean hasStages() {
    return runner.stages() > 1;
  }

  /** Lets other ranks know that this one is alive; to be called now and then while it is idle. */
  void keepAlive() {
    runner.keepAlive();
  }

  int queued() {
    return queue.size();
  }

  int running() {
    return active.size();
  }

  int pages() {
    return pool.size();
  }

  int usedPages() {
    return pool.used();
  }

  /** Running sequences, for tests. */
  List<Sequence> active() {
    return active.stream().map(RunningSequence::sequence).toList();
  }

  /** Takes out what is cancelled, takes in what there is room for, and goes on with a block. */
  public void step() {
    admitAndRemove();
    advance();
  }

  /** Like {@link #step}, for texts of several users: if the block fails, running requests fail. */
  void stepOrFail() {
    admitAndRemove();
    advanceOrFail();
  }

  /**
   * Goes on with a block; what it fails of, running requests fail of.
   *
   * @throws DistributedException if another rank is gone, so that there can be no further step
   */
  void advanceOrFail() {
    try {
      advance();
    } catch (DistributedException e) {
      throw e; // the other ranks do not go on
    } catch (RuntimeException e) {
      fail(e);
    }
  }

  /** Takes out what is cancelled, and takes in what there is room for. */
  void admitAndRemove() {
    removeCancelled();
    if (hiddenStates.admit()) {
      admit();
    }
  }

  /**
   * Begins a block, which has some of the running sequences, or goes on with the one that has
   * waited longest; where the model is in one piece, a block has all, and is done at once.
   */
  private void advance() {
    hiddenStates.step(active.isEmpty());
    if (!isOldestNext() && begin()) {
      return;
    }
    if (!underWay.isEmpty()) {
      advance(underWay.getFirst());
    }
  }

  /**
   * Whether to go on with the block that has waited longest, though another might begin. Ranks that
   * share layers have to do the same, whenever other ranks answer: they take turns.
   */
  private boolean isOldestNext() {
    return !underWay.isEmpty()
        && (runner.model().parallel().size() > 1
            ? lastWasShort
            : underWay.getFirst().decodeStep.isAnswered());
  }

  private boolean begin() {
    BatchStep next = free.peek();
    if (next == null) {
      return false;
    }
    long start = System.nanoTime();
    nextRows(next);
    if (next.inFlight.isEmpty()) {
      return false;
    }
    underWay.add(free.remove());
    runner.keepAlive(); // perhaps no row goes on to other ranks for long
    next.decodeStep.begin(next.inFlight);
    lastWasShort = advance(next);
    scheduler.learn(promptRows, (System.nanoTime() - start) / 1e9);
    return true;
  }

  private boolean advance(BatchStep step) {
    lastWasShort = false;
    boolean done = step.advance();
    underWay.remove(step);
    if (done) {
      conclude(step);
    } else {
      underWay.add(step);
    }
    return done;
  }

  private void conclude(BatchStep done) {
    for (int i = 0; i < done.moving.size(); i++) {
      notifyStep(done.moving.get(i).sequence());
      cacheCompletePages(done.moving.get(i));
    }
    done.end();
    free.add(done);
    removeFinished();
  }

  private void removeCancelled() {
    queue.removeIf(
        job -> {
          if (job.cancelled()) {
            job.listener().onEnd(job.withoutWork());
          }
          return job.cancelled();
        });
    for (int i = 0; i < active.size(); i++) {
      Sequence sequence = active.get(i).sequence();
      if (sequence.job().cancelled() && !active.get(i).moves()) {
        sequence.output().finish(FinishReason.CANCELLED);
      }
    }
    removeFinished();
  }

  private void admit() {
    while (!queue.isEmpty() && active.size() < limits.batchSize()) {
      Job job = queue.peek();
      List<Integer> prompt = job.request().prompt();
      Set<HeadId> heads =
          job.heads().stream()
              .filter(Head::hasAttention)
              .map(Head::id)
              .collect(Collectors.toUnmodifiableSet());
      int unasked = // what is predicted first takes the one before it
          job.request().decoding() instanceof DecodingMethod.Score score
              ? score.from() - 1
              : prompt.size() - 1;
      int count = PagePool.pages(job.positions());
      int needed = neededPages(runner.model(), limits, job);
      // Beside the known pages there has to be room for those that are used again and again.
      int room = count <= pool.size() ? count : pool.size() - needed;
      List<Integer> known =
          prefixes.find(
              new Tokens(prompt, prompt.size()),
              Math.min(unasked, room * ModelRunner.PAGE),
              heads,
              job.request().adapter());
      known.forEach(pool::share);
      int further = Math.min(count - known.size(), needed);
      prefixes.evictUntilFree(further);
      if (pool.free() < further) {
        known.forEach(pool::release);
        return;
      }
      PageTable pageTable = PageTable.inTurn(pool, known, pool.allocate(further), count);
      DecodingStrategy strategy = DecodingStrategy.of(job.request().decoding(), planner);
      int reused = known.size() * ModelRunner.PAGE;
      Sequence sequence = new Sequence(job, runner, pageTable, reused, strategy);
      active.add(new RunningSequence(sequence, prefixes.cursor(heads, job.request().adapter())));
      queue.remove(); // not before: whatever fails here, its listener is told
    }
  }

  /**
   * The newest token of sequences, and of prompts as much as a step takes: of one in so many
   * sequences as there are stages, so that all stages have something to do. Guesses have their turn
   * where there is nothing else.
   */
  private void nextRows(BatchStep next) {
    int most = Math.ceilDiv(active.size(), runner.stages());
    if (mayAnyBegin()) {
      planner.begin(most);
      nextRows(next, most);
    }
    if (guesses() && next.moving.isEmpty()) {
      active.forEach(RunningSequence::guess);
      nextRows(next, most);
    }
  }

  /** Whether stages would be idle without guesses. */
  private boolean guesses() {
    return active.size() < runner.stages();
  }

  private boolean mayAnyBegin() {
    boolean any = false;
    for (int i = 0; i < active.size() && !any; i++) {
      any = active.get(i).mayBegin();
    }
    return any;
  }

  private void nextRows(BatchStep next, int most) {
    headDrafts.ifPresent(HeadDrafts::clear);
    int chosen = 0;
    int first = most < active.size() ? nextSequence : 0;
    for (int i = 0; i < active.size() && chosen < most; i++) {
      int index = (first + i) % active.size();
      RunningSequence one = active.get(index);
      if (!one.mayBegin()) {
        continue;
      }
      Sequence sequence = one.sequence();
      sequence.guesses().want(guesses());
      sequence.strategy().addDrafts(sequence);
      if (headDrafts.isPresent()) {
        headDrafts.get().add(sequence);
      }
      one.rows = sequence.uncomputed();
      if (one.rows > 0) {
        chosen++;
        nextSequence = index + 1;
      }
    }
    if (headDrafts.isPresent() && headDrafts.get().draft()) {
      active.stream()
          .filter(one -> one.rows > 0)
          .forEach(one -> one.rows = one.sequence().uncomputed());
    }
    shareRowsOfPrompts();
    for (int i = 0; i < active.size(); i++) {
      RunningSequence one = active.get(i);
      if (one.rows > 0) {
        next.add(one);
      }
    }
  }

  private void shareRowsOfPrompts() {
    prompts.clear();
    promptRows = 0;
    boolean isAlone = true;
    for (int i = 0; i < active.size(); i++) {
      RunningSequence one = active.get(i);
      if (one.rows > 0 && one.sequence().inPrompt()) {
        prompts.add(one);
      } else if (one.rows > 0) {
        isAlone = false;
      }
    }
    if (prompts.isEmpty()) {
      return;
    }
    int[] shares =
        PromptScheduler.share(
            prompts.stream().mapToInt(one -> one.rows).toArray(), scheduler.rows(isAlone));
    for (int i = 0; i < shares.length; i++) {
      prompts.get(i).rows = shares[i];
      promptRows += shares[i];
    }
  }

  private static void notifyStep(Sequence sequence) {
    try {
      sequence.job().listener().onStep();
    } catch (RuntimeException e) {
      sequence.output().fail(e);
    }
  }

  /**
   * Lets others go on with pages that have just become complete, as far as no guess is there; but
   * for those that come to have something else.
   */
  private void cacheCompletePages(RunningSequence one) {
    Sequence sequence = one.sequence();
    if (sequence.pageTable().usesPagesAgain()) {
      return;
    }
    int certain = sequence.tokens().promptSize() + sequence.output().count();
    prefixes.add(
        one.cursor,
        sequence.tokens(),
        Math.min(certain, sequence.frontier().complete()),
        sequence.pageTable().pages());
  }

  private void removeFinished() {
    int kept = 0;
    for (int i = 0; i < active.size(); i++) {
      RunningSequence one = active.get(i);
      if (one.sequence().output().finished() && !one.moves()) {
        ended.add(one.sequence());
      } else {
        active.set(kept++, one);
      }
    }
    if (ended.isEmpty()) {
      return;
    }
    active.subList(kept, active.size()).clear();
    List<Sequence> gone = List.copyOf(ended);
    ended.clear();
    gone.forEach(sequence -> sequence.strategy().onEnd(sequence));
    gone.forEach(Sequence::close);
    gone.forEach(sequence -> sequence.output().report());
  }

  /** Fails all running requests; queued ones stay queued. */
  void fail(RuntimeException cause) {
    abandonSteps();
    active.forEach(one -> one.sequence().output().fail(cause));
    removeFinished();
  }

  private void abandonSteps() {
    underWay.forEach(
        step -> {
          step.decodeStep.abandon();
          step.end();
          free.add(step);
        });
    underWay.clear();
  }

  void cancelAll() {
    abandonSteps();
    queue.forEach(Job::cancel);
    active.forEach(one -> one.sequence().job().cancel());
    removeCancelled();
    hiddenStates.fail(new IllegalStateException("the engine is closed"));
  }

  @Override
  public void close() {
    active.forEach(one -> one.sequence().close());
    active.clear();
    runner.close();
  }
}
