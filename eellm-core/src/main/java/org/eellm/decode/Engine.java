package org.eellm.decode;

import java.time.Duration;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.eellm.config.ConfigException;
import org.eellm.decode.TensorParallelEngine.BetweenSteps;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.Draft;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestHandle;
import org.eellm.decode.request.RequestListener;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.ResultFuture;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.distributed.DistributedException;
import org.eellm.kernel.machine.Threads;
import org.eellm.model.DecodingModel;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Continues texts of many users at once. Requests come from any thread at any time; one thread of
 * its own computes, all texts in one block.
 *
 * <pre>{@code
 * try (Engine engine = Engine.start(model, Limits.of(model))) {
 *   Optional<RequestHandle> handle =
 *       engine.submit(
 *           new Request(ids, 64, Set.of(end), Decoding.full(), Sampler.greedy()),
 *           token -> print(token) ? Reaction.CONTINUE : Reaction.STOP);
 * }
 * }</pre>
 *
 * <p>A text depends on its request alone. (In exact arithmetic; a block of other size may round
 * differently.) Memory for keys and values is kept for later requests that begin alike.
 */
public final class Engine implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Engine.class);
  private static final int WARM_UP_TOKENS = 64;
  private static final long KEEP_ALIVE_NANOS = 100_000_000;

  private final DecodingModel model;
  private final Batch batch;
  private final Limits limits;
  private final Optional<TensorParallelEngine> shared;
  private final Thread thread;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition work = lock.newCondition();
  private final List<Job> arrived = new ArrayList<>(); // with the lock
  private final List<HiddenStateJob> asked = new ArrayList<>(); // with the lock
  private final List<byte[]> toTell = new ArrayList<>(); // of these, to other ranks; with the lock
  private final List<Job> toCancel = new ArrayList<>(); // where steps are shared, with the lock
  private final Map<Job, Integer> numbers = new IdentityHashMap<>(); // of these, in work
  private int count; // of requests that have come to work
  private boolean closing; // with the lock
  private volatile Status status;
  private volatile Optional<Throwable> failure = Optional.empty();

  /**
   * An engine's load.
   *
   * @param queued requests that wait
   * @param cacheTokens positions whose keys and values have room
   * @param cacheTokensInUse those that running requests have taken, for the longest they may get
   */
  public record Status(int queued, int running, int cacheTokens, int cacheTokensInUse) {}

  /**
   * Keeps the engine's thread from what a listener throws at the end, when there is no request left
   * to fail.
   */
  private record Guarded(RequestListener listener) implements RequestListener {
    @Override
    public Reaction onToken(GeneratedToken token) {
      return listener.onToken(token);
    }

    @Override
    public void onStep() {
      listener.onStep();
    }

    @Override
    public void onDraft(Draft draft) {
      listener.onDraft(draft);
    }

    @Override
    public void onEnd(Result result) {
      guard(() -> listener.onEnd(result));
    }

    @Override
    public void onFailure(RuntimeException cause) {
      guard(() -> listener.onFailure(cause));
    }

    private static void guard(Runnable call) {
      try {
        call.run();
      } catch (RuntimeException e) {
        LOG.error("a listener failed at the end of its request", e);
      }
    }
  }

  private Engine(
      Batch batch, DecodingModel model, Limits limits, @Nullable TensorParallelEngine shared) {
    this.batch = batch;
    this.model = model;
    this.limits = limits;
    this.shared = Optional.ofNullable(shared);
    status = now();
    int threads = Threads.count();
    thread =
        Thread.ofPlatform()
            .name("eellm-engine")
            .unstarted(
                () -> {
                  Threads.set(threads); // which are counted by calling thread
                  work();
                });
  }

  /** Starts; computes with as many CPU threads as the calling thread does. */
  public static Engine start(DecodingModel model, Limits limits) {
    return over(Batch.ofEngine(model, limits), model, limits);
  }

  /** Starts an engine over a batch, which it closes. */
  static Engine over(Batch batch, DecodingModel model, Limits limits) {
    return started(new Engine(batch, model, limits, null));
  }

  /** Starts an engine over a batch, with other ranks that take the same steps. */
  static Engine over(Batch batch, DecodingModel model, Limits limits, TensorParallelEngine steps) {
    return started(new Engine(batch, model, limits, steps));
  }

  private static Engine started(Engine engine) {
    engine.thread.start();
    return engine;
  }

  /**
   * Takes a request.
   *
   * @param listener receives it on the engine's thread
   * @return nothing if as many requests wait as may
   * @throws GenerateException if the request fits neither model nor memory
   * @throws org.eellm.config.ConfigException if the model lacks what its decoding needs
   * @throws IllegalStateException if this is closed
   */
  public Optional<RequestHandle> submit(Request request, RequestListener listener) {
    Guarded guarded = new Guarded(listener);
    Optional<byte[]> message = shared.map(_ -> StepMessage.encode(request.withoutListener()));
    Job job =
        shared.isEmpty() ? batch.job(request, "the prompt", guarded) : sharedJob(request, guarded);
    lock.lock();
    try {
      requireOpen();
      if (arrived.size() + status.queued() >= limits.maxQueued()) {
        return Optional.empty();
      }
      arrived.add(job);
      message.ifPresent(toTell::add);
      work.signal();
      return Optional.of(shared.isEmpty() ? job : () -> cancelShared(job));
    } finally {
      lock.unlock();
    }
  }

  private Job sharedJob(Request request, RequestListener listener) {
    AtomicReference<Job> made = new AtomicReference<>();
    Runnable cancel = () -> cancelShared(made.get());
    Runnable forget = () -> numbers.remove(made.get());
    made.set(batch.job(request, "the prompt", new BetweenSteps(listener, cancel, forget)));
    return made.get();
  }

  /** Lets a request end on all ranks before the next step. */
  private void cancelShared(Job job) {
    lock.lock();
    try {
      toCancel.add(job);
      work.signal();
    } finally {
      lock.unlock();
    }
  }

  /**
   * Takes a text through the model's lower layers, and tells its hidden states. Texts that are
   * being generated go on meanwhile.
   *
   * @param ids of the text, at least one
   * @param layer after which they are taken, from 1
   * @return completed with the number of positions after the last; whoever cancels it ends the work
   * @throws GenerateException if the text fits neither model nor memory
   * @throws org.eellm.config.SettingException if the model has no such layer
   * @throws IllegalStateException if this is closed
   * @throws ConfigException if other ranks share the model's matrices
   */
  public CompletableFuture<Integer> readHiddenStates(
      List<Integer> ids, int layer, HiddenStateListener listener) {
    if (shared.isPresent()) {
      throw new ConfigException(
          "hidden states: other ranks share the model's matrices; load it on one rank for them");
    }
    HiddenStateJob job = batch.hiddenStates().job(ids, layer, listener);
    lock.lock();
    try {
      requireOpen();
      asked.add(job);
      work.signal();
      return job.end();
    } finally {
      lock.unlock();
    }
  }

  private void requireOpen() {
    if (closing) {
      throw new IllegalStateException("the engine is closed");
    }
  }

  /**
   * Generates a text without a listener, asking all exits, and waits for it: the first tokens of a
   * process are slow, until the JVM has compiled what makes them.
   *
   * @param limit no further token is begun after so long
   * @throws GenerateException if the model's logits are not numbers
   */
  public void warmUp(Duration limit) {
    int context = Math.min(model.architecture().model().maxPositions(), status.cacheTokens());
    Request request =
        new Request(
            List.of(0),
            Math.clamp(context - 1, 1, WARM_UP_TOKENS),
            Set.of(),
            ExitPolicies.maxProbability(Threshold.of(Math.nextDown(1.0))),
            Sampler.greedy());
    long start = System.nanoTime();
    ResultFuture discarded =
        new ResultFuture(
            _ -> {
              boolean late = System.nanoTime() - start > limit.toNanos();
              return late ? Reaction.STOP : Reaction.CONTINUE;
            });
    if (submit(request, discarded).isPresent()) { // or those who wait warm it up
      discarded.await();
    }
  }

  /** Its load as of the last step, and requests that have come since. */
  public Status status() {
    lock.lock();
    try {
      Status last = status;
      return new Status(
          last.queued() + arrived.size(),
          last.running(),
          last.cacheTokens(),
          last.cacheTokensInUse());
    } finally {
      lock.unlock();
    }
  }

  /** Requests that may wait. */
  public int maxQueued() {
    return limits.maxQueued();
  }

  /** Whether it takes requests: false once it has been closed, or could not go on. */
  public boolean isOpen() {
    lock.lock();
    try {
      return !closing;
    } finally {
      lock.unlock();
    }
  }

  /**
   * Throws what ended it, where it did not go on: another rank failed, memory was at its end, or
   * what belongs to no request failed.
   *
   * @throws DistributedException in the first case; the message names the rank
   */
  public void requireAlive() {
    failure.ifPresent(
        reason -> {
          switch (reason) {
            case RuntimeException e -> throw e;
            case Error e -> throw e;
            default -> throw new IllegalStateException(reason);
          }
        });
  }

  private void work() {
    try {
      tellOthers(new StepMessage.Start(limits));
      while (receive()) {
        batch.admitAndRemove();
        status = now();
        batch.advanceOrFail();
        status = now();
      }
      tellOthers(new StepMessage.Stop());
    } catch (RuntimeException | Error e) {
      fail(e);
    }
    stop();
  }

  private void fail(Throwable reason) {
    LOG.error("the engine ends: {}", reason.getMessage());
    failure = failure.or(() -> Optional.of(reason));
  }

  private void tellOthers(StepMessage message) {
    shared.ifPresent(steps -> steps.send(message));
  }

  /** Tells all listeners, whatever ended this. */
  private void stop() {
    lock.lock();
    try {
      closing = true;
      takeArrived();
    } finally {
      lock.unlock();
    }
    try (batch) {
      batch.cancelAll();
      status = now();
    } catch (RuntimeException | Error e) {
      fail(e);
    }
  }

  /** Waits for something to do, and takes it; false at the end. */
  private boolean receive() {
    Optional<StepMessage> step;
    lock.lock();
    try {
      while (!closing && arrived.isEmpty() && asked.isEmpty() && batch.isIdle()) {
        awaitWork();
      }
      if (closing) {
        return false;
      }
      takeArrived();
      step = shared.map(_ -> sharedStep());
      status = now();
    } finally {
      lock.unlock();
    }
    step.ifPresent(this::tellOthers);
    return true;
  }

  /** With the lock. */
  private void takeArrived() {
    for (Job job : arrived) {
      batch.add(job);
      if (shared.isPresent()) {
        numbers.put(job, count++);
      }
    }
    arrived.clear();
    asked.forEach(batch.hiddenStates()::add);
    asked.clear();
  }

  /** Takes new requests and cancellations as a message to the other ranks; with the lock. */
  private StepMessage sharedStep() {
    List<byte[]> requests = List.copyOf(toTell);
    toTell.clear();
    List<Integer> cancelled = new ArrayList<>();
    for (Job job : toCancel) {
      Integer number = numbers.remove(job);
      if (number != null) {
        cancelled.add(number);
        job.cancel();
      }
    }
    toCancel.clear();
    return new StepMessage.Step(requests, cancelled);
  }

  /** With the lock. */
  private void awaitWork() {
    if (shared.isEmpty() && !batch.hasStages()) {
      work.awaitUninterruptibly();
      return;
    }
    try {
      if (work.awaitNanos(KEEP_ALIVE_NANOS) <= 0) {
        shared.ifPresent(TensorParallelEngine::keepAlive);
        batch.keepAlive();
      }
    } catch (InterruptedException e) {
      throw new IllegalStateException("the engine's thread was interrupted", e);
    }
  }

  private Status now() {
    return new Status(
        batch.queued(),
        batch.running(),
        batch.pages() * ModelRunner.PAGE,
        batch.usedPages() * ModelRunner.PAGE);
  }

  /**
   * Cancels everything, and waits until all listeners have been called; a listener that calls this
   * does not wait, since the engine waits for it.
   */
  @Override
  public void close() {
    lock.lock();
    try {
      closing = true;
      work.signal();
    } finally {
      lock.unlock();
    }
    boolean interrupted = false;
    while (thread.isAlive() && Thread.currentThread() != thread) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
