package org.eellm.distributed.rendezvous;

import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.locks.LockSupport;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.launch.Durations;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.distributed.rendezvous.Heartbeats.State;
import org.eellm.distributed.rendezvous.Watched.Awaited;
import org.eellm.tensor.Torch;

/**
 * Ends what waits in vain. Every rank puts heartbeats, with what it is doing, on the {@link
 * RendezvousStore}, and learns of ranks that are silent or have failed. Then, or when an operation
 * takes longer than the timeout, the groups of this rank are broken off, whatever their transport.
 * {@link #explain} says who is behind it.
 */
public final class HeartbeatMonitor implements AutoCloseable {
  /** Time that an answer of the store may take on a busy machine. */
  private static final Duration STORE_TIMEOUT = Duration.ofSeconds(10);

  /** Between two looks at the operations under way, or at what is known of the others. */
  private static final Duration GLANCE = Duration.ofMillis(50);

  private final RendezvousStore store;
  private final Mesh mesh;
  private final int rank;
  private final Duration timeout;
  private final Duration storeTimeout;
  private final Heartbeats heartbeats;
  private final List<Watched> groups = new CopyOnWriteArrayList<>();
  private final Thread heart;
  private volatile State state = State.WORKING;
  private volatile String reason = ""; // of a failure
  private volatile Optional<Operation> operation = Optional.empty();
  private volatile long operationChanged = System.nanoTime();
  private volatile Optional<Awaited> longest = Optional.empty();
  private volatile Optional<String> ownVerdict = Optional.empty();
  private volatile boolean storeLost;
  private volatile boolean storeUnresponsive;
  private volatile boolean closed;

  private HeartbeatMonitor(RendezvousStore store, Mesh mesh, int rank) {
    this.store = store;
    this.mesh = mesh;
    this.rank = rank;
    this.timeout = store.timeout();
    this.heartbeats = new Heartbeats(store, mesh, rank, timeout);
    Duration least = Collections.max(List.of(heartbeats.interval(), STORE_TIMEOUT));
    this.storeTimeout = Collections.min(List.of(least, timeout));
    this.heart = thread("eellm-heartbeat-").unstarted(this::beat);
  }

  private Thread.Builder thread(String name) {
    return Thread.ofPlatform().daemon().name(name + rank);
  }

  /**
   * Waits until all ranks have come, and goes on watching them.
   *
   * @throws DistributedException if ranks are missing after the store's timeout, or do not agree on
   *     the mesh
   */
  public static HeartbeatMonitor start(RendezvousStore store, Mesh mesh, int rank) {
    HeartbeatMonitor monitor = new HeartbeatMonitor(store.newConnection(), mesh, rank);
    monitor.awaitAll();
    monitor.heart.start();
    // Another thread, for a GPU that hangs may keep whoever asks about its operations.
    monitor.thread("eellm-watchdog-").start(monitor::guard);
    return monitor;
  }

  private void awaitAll() {
    long start = System.nanoTime();
    heartbeats.arrive();
    pause(heartbeats.turn());
    while (!heartbeats.haveAllCome(System.nanoTime())) {
      if (Durations.sinceNanos(start).compareTo(timeout) > 0) {
        List<Integer> missing = heartbeats.missing();
        throw new DistributedException(
            "%s: not here within %s; start all %d ranks of the mesh %s, and look at their logs"
                .formatted(
                    names(missing.isEmpty() ? List.of(0) : missing),
                    Durations.text(timeout),
                    mesh.size(),
                    mesh));
      }
      pause(heartbeats.pause());
    }
  }

  /** Ends a group's operations, too, when it is time. */
  public void watch(Watched group) {
    groups.add(group);
  }

  /** Leaves a group alone from now on. */
  public void unwatch(Watched group) {
    groups.remove(group);
  }

  /** Says what this rank waits for. */
  public void begin(Operation waiting) {
    operation = Optional.of(waiting);
    operationChanged = System.nanoTime();
  }

  /** Says that this rank goes on. */
  public void goOn() {
    operation = Optional.empty();
    operationChanged = System.nanoTime();
  }

  /**
   * Lets the others know that this rank has an error of its own, with which the run ends.
   *
   * @param reason one line
   */
  public void fail(String reason) {
    this.reason = reason;
    state = State.FAILED;
    reach(
        () -> {
          heartbeats.decide(mesh.name(rank) + " failed %s: " + reason.replace("%", "%%"));
          exchange();
        });
  }

  /** Lets the others know that this rank will be silent from now on. */
  public void leave() {
    if (state == State.WORKING) {
      state = State.LEFT;
      refresh(); // If that fails, rank 0 has ended before: it need not know.
    }
  }

  /**
   * Does something with the store in a thread of its own: where rank 0 hangs, c10d waits without
   * end. What fails is told by the next operation that fails.
   */
  private synchronized void reach(Runnable work) {
    if (storeLost || closed) {
      return;
    }
    Thread worker =
        thread("eellm-store-")
            .start(
                () -> {
                  try {
                    work.run();
                  } catch (RuntimeException _) {
                    storeLost = true;
                  }
                });
    if (!ends(worker, storeTimeout)) {
      storeLost = true;
      storeUnresponsive = true;
    }
  }

  /** Waits for a thread's end, interrupted or not; whether it has come. */
  private static boolean ends(Thread worker, Duration limit) {
    long start = System.nanoTime();
    boolean interrupted = false;
    try {
      while (true) {
        try {
          return worker.join(limit.minus(Durations.sinceNanos(start)));
        } catch (InterruptedException _) {
          interrupted = true;
        }
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** Sleeps for a while; one who is interrupted, too, is not to ask the store without a pause. */
  private static void pause(Duration time) {
    boolean interrupted = Thread.interrupted();
    LockSupport.parkNanos(time.toNanos());
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** On rank 0, waits until every other rank has ended, or is silent, for {@code limit} at most. */
  public void awaitOthersEnd(Duration limit) {
    long start = System.nanoTime();
    while (!storeLost && !isAlone() && Durations.sinceNanos(start).compareTo(limit) < 0) {
      pause(heartbeats.interval().dividedBy(10));
      refresh();
    }
  }

  private synchronized boolean isAlone() {
    return heartbeats.isAlone(System.nanoTime());
  }

  /** Whether a rank is lost or has failed, with which the run ends. */
  public boolean hasFailure() {
    return failure().isPresent();
  }

  /** Whether a rank has ended, as far as is known here. */
  public boolean hasEnded(int peer) {
    return heartbeats.hasEnded(peer);
  }

  /** Why the run ends, as a format with a place for the operation. */
  private Optional<String> failure() {
    // Rank 0 may leave before the others, and take the store along.
    return verdict().or(() -> hasEnded(0) ? Optional.empty() : storeLoss());
  }

  private Optional<String> verdict() {
    return heartbeats.verdict().or(() -> ownVerdict);
  }

  private Optional<String> storeLoss() {
    return storeLost
        ? Optional.of(
            mesh.name(0)
                + ", which holds the world together, does not answer any more %s; look at its log")
        : Optional.empty();
  }

  /**
   * Finds out who is to blame for an operation that failed.
   *
   * @param failed what failed
   * @param began when its wait began, {@link System#nanoTime}
   * @param peers the ranks it involved
   */
  public DistributedException explain(
      Operation failed, long began, List<Integer> peers, RuntimeException cause) {
    boolean isLate = Durations.sinceNanos(began).compareTo(timeout) >= 0;
    List<Integer> suspects = peers.stream().filter(peer -> peer != rank).toList();
    long start = System.nanoTime();
    refresh();
    while (verdict().isEmpty()
        && !storeLost
        && !isLate
        && suspects.stream().noneMatch(this::hasEnded)
        && Durations.sinceNanos(start).compareTo(heartbeats.detection()) < 0) {
      pause(GLANCE);
    }
    Optional<String> failure = verdict().or(this::storeLoss);
    if (failure.isPresent()) {
      return new DistributedException(failure.get().formatted("(in " + failed + ")"), cause);
    }
    List<Integer> ended = suspects.stream().filter(this::hasEnded).toList();
    if (!ended.isEmpty()) {
      return new DistributedException(
          names(ended) + " ended before the others (in " + failed + "); look at its log", cause);
    }
    return new DistributedException(
        isLate
            ? lateness(failed, peers)
            : failed + " failed, with all ranks alive: " + Torch.firstLine(cause),
        cause);
  }

  private String lateness(Operation operation, List<Integer> peers) {
    List<Integer> suspects = peers.stream().filter(peer -> peer != rank).toList();
    List<String> statuses = new CopyOnWriteArrayList<>();
    reach(() -> statuses.addAll(heartbeats.statuses(suspects)));
    return "%s was not done within %s: %s; raise the timeout if that is to be expected"
        .formatted(operation, Durations.text(timeout), String.join("; ", statuses));
  }

  private void beat() {
    while (!closed && !storeLost) {
      LockSupport.parkNanos(heartbeats.interval().toNanos());
      refresh();
    }
  }

  private void refresh() {
    reach(this::exchange);
  }

  private void exchange() {
    heartbeats.exchange(state, state == State.WORKING ? status() : reason, System.nanoTime());
  }

  private String status() {
    Optional<Awaited> running = longest.filter(_ -> operation.isEmpty());
    Duration since = Durations.sinceNanos(running.map(Awaited::since).orElse(operationChanged));
    String at =
        running
            .map(Awaited::operation)
            .or(() -> operation)
            .map(Operation::toString)
            .orElse("none of these operations");
    return "in " + at + " for " + Durations.text(since);
  }

  /** Ends all operations once there is a reason to. */
  private void guard() {
    while (!closed) {
      LockSupport.parkNanos(GLANCE.toNanos());
      if (!hasFailure()) {
        ownVerdict = lookAtOperations().map(verdict -> verdict.replace("%", "%%"));
      }
      if (hasFailure()) {
        groups.forEach(Watched::abort);
      }
    }
  }

  /** Why the operations under way are to be ended, if they are. */
  private Optional<String> lookAtOperations() {
    try {
      longest =
          groups.stream()
              .flatMap(group -> group.longestAwaited().stream())
              .min((a, b) -> Long.signum(a.since() - b.since()));
    } catch (RuntimeException e) { // of a GPU that has failed
      return Optional.of(Torch.firstLine(e));
    }
    return longest
        .filter(its -> Durations.sinceNanos(its.since()).compareTo(timeout) > 0)
        .map(its -> lateness(its.operation(), its.peers()));
  }

  private String names(List<Integer> ranks) {
    return String.join(", ", ranks.stream().map(mesh::name).toList());
  }

  @Override
  public void close() {
    closed = true;
    LockSupport.unpark(heart);
    ends(heart, ChronoUnit.FOREVER.getDuration()); // for it may be at the store
    synchronized (this) {
      if (!storeUnresponsive) { // Closing would wait, too.
        store.close();
      }
    }
  }
}
