package org.eellm.distributed.rendezvous;

import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.launch.Durations;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.tensor.Torch;

/**
 * Tells dead ranks from late ones. Every rank writes a heartbeat with what it is doing on the
 * {@link RendezvousStore} and reads those of the others. When an operation fails, which for Gloo
 * means no more than that some connection broke, {@link #explain} says who is behind it.
 */
public final class HeartbeatMonitor implements AutoCloseable {
  private static final Duration LONGEST_INTERVAL = Duration.ofSeconds(1);

  /** So many intervals without a heartbeat are more than a busy machine. */
  private static final int SILENT_INTERVALS = 3;

  /** Time that an answer of the store may take on a busy machine. */
  private static final Duration MIN_STORE_TIMEOUT = Duration.ofSeconds(10);

  /** From this size on, heartbeats become rarer, so that rank 0's store keeps up. */
  private static final int LARGE_WORLD = 64;

  private final RendezvousStore store;
  private final Mesh mesh;
  private final int rank;
  private final Duration timeout;
  private final Duration interval;
  private final Duration storeTimeout;
  private final List<PeerHeartbeat> heartbeats = Collections.synchronizedList(new ArrayList<>());
  private final Thread thread;
  private final AtomicLong beats = new AtomicLong();
  private volatile Optional<String> ended = Optional.empty(); // how, once it has
  private volatile Optional<Operation> operation = Optional.empty();
  private volatile long operationChanged = System.nanoTime();
  private volatile boolean storeLost;
  private volatile boolean storeUnresponsive;
  private volatile boolean closed;

  /** A rank's state by its own heartbeat: alive, ended by an error of its own, or ended. */
  private enum State {
    WORKING,
    FAILED,
    LEFT
  }

  /**
   * The last heartbeat of a rank.
   *
   * @param text where it works, or why it failed
   * @param changed when this rank first saw it
   */
  private record PeerHeartbeat(String beat, State state, String text, long changed) {
    Duration age() {
      return Durations.sinceNanos(changed);
    }
  }

  private HeartbeatMonitor(RendezvousStore store, Mesh mesh, int rank) {
    this.store = store;
    this.mesh = mesh;
    this.rank = rank;
    this.timeout = store.timeout();
    Duration base = Collections.min(List.of(timeout.dividedBy(10), LONGEST_INTERVAL));
    this.interval = base.multipliedBy(Math.ceilDiv(mesh.size(), LARGE_WORLD));
    Duration enough = interval.multipliedBy(SILENT_INTERVALS);
    Duration least = Collections.max(List.of(enough, MIN_STORE_TIMEOUT));
    this.storeTimeout = Collections.min(List.of(least, timeout));
    this.thread =
        Thread.ofPlatform().daemon().name("eellm-heartbeat-" + rank).unstarted(this::beat);
  }

  /**
   * Waits until all ranks have come, and goes on watching them.
   *
   * @throws DistributedException if ranks are missing after the store's timeout, or do not agree on
   *     the mesh
   */
  public static HeartbeatMonitor start(RendezvousStore store, Mesh mesh, int rank) {
    HeartbeatMonitor monitor = new HeartbeatMonitor(store.newConnection(), mesh, rank);
    store.put("mesh/" + rank, mesh.toString());
    monitor.publish();
    monitor.awaitAll();
    monitor.thread.start();
    return monitor;
  }

  private void awaitAll() {
    long start = System.nanoTime();
    List<Integer> missing = IntStream.range(0, mesh.size()).boxed().toList();
    while (true) {
      missing = missing.stream().filter(other -> !store.has(key(other))).toList();
      if (missing.isEmpty()) {
        break;
      }
      if (Durations.sinceNanos(start).compareTo(timeout) > 0) {
        throw new DistributedException(
            "%s: not here within %s; start all %d ranks of the mesh %s, and look at their logs"
                .formatted(names(missing), Durations.text(timeout), mesh.size(), mesh));
      }
      pause(Duration.ofMillis(10));
    }
    for (int other = 0; other < mesh.size(); other++) {
      String its = store.get("mesh/" + other);
      if (!its.equals(mesh.toString())) {
        throw new DistributedException(
            "rank %d runs the mesh %s, but this rank %d runs %s; give all the same configuration"
                .formatted(other, its, rank, mesh));
      }
      heartbeats.add(read(other));
    }
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
   * Lets the others know that this rank has an error of its own.
   *
   * @param reason one line
   */
  public void fail(String reason) {
    end(State.FAILED + " " + reason);
  }

  /** Lets the others know that this rank will be silent from now on. */
  public void leave() {
    if (ended.isEmpty()) {
      end(State.LEFT + " ");
    }
  }

  private synchronized void end(String how) {
    ended = Optional.of(how);
    reach(this::publish); // If that fails, rank 0 has ended before: it need not know.
  }

  /**
   * Does something with the store in a thread of its own: where rank 0 hangs, c10d waits without
   * end. What fails is told by the next operation that fails.
   */
  private void reach(Runnable work) {
    if (storeLost) {
      return;
    }
    Thread worker =
        Thread.ofPlatform()
            .daemon()
            .name("eellm-store-" + rank)
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

  /** Waits until every other rank has ended, or is silent, but no longer than {@code limit}. */
  public void awaitOthersEnd(Duration limit) {
    long start = System.nanoTime();
    while (!storeLost
        && others().anyMatch(other -> !hasEnded(other) && !isSilent(other))
        && Durations.sinceNanos(start).compareTo(limit) < 0) {
      refresh();
      pause(interval.dividedBy(10));
    }
  }

  /** Whether a rank is silent, or cannot be told to live: the store is gone. */
  public boolean isLost(int peer) {
    return storeLost || isSilent(peer);
  }

  /** Whether a rank has ended, or any has failed, as far as is known here. */
  public boolean hasFailure(int peer) {
    return hasEnded(peer)
        || others().anyMatch(other -> heartbeats.get(other).state() == State.FAILED);
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
    boolean late = Durations.sinceNanos(began).compareTo(timeout) >= 0;
    long start = System.nanoTime();
    Duration limit = interval.multipliedBy(SILENT_INTERVALS + 2);
    do {
      refresh();
      Optional<String> culprit = culprit();
      if (culprit.isPresent()) {
        return new DistributedException(culprit.get().formatted("(in " + failed + ")"), cause);
      }
      pause(interval.dividedBy(4));
    } while (!late && Durations.sinceNanos(start).compareTo(limit) < 0);
    List<Integer> suspects = peers.stream().filter(peer -> peer != rank).toList();
    List<Integer> ended = suspects.stream().filter(this::hasEnded).toList();
    if (!ended.isEmpty()) {
      return new DistributedException(
          names(ended) + " ended before the others (in " + failed + "); look at its log", cause);
    }
    if (late) {
      return new DistributedException(
          "%s was not done within %s: %s; raise the timeout if that is to be expected"
              .formatted(
                  failed,
                  Durations.text(timeout),
                  String.join("; ", suspects.stream().map(this::statusOf).toList())),
          cause);
    }
    return new DistributedException(
        failed + " failed, with all ranks alive: " + Torch.firstLine(cause), cause);
  }

  /** A rank that is dead or failed by itself, as a format with a place for the operation. */
  private Optional<String> culprit() {
    if (storeLost) {
      return Optional.of(
          mesh.name(0).replace("%", "%%")
              + ", which holds the world together, does not answer any more %s; look at its log");
    }
    Optional<Integer> silent =
        others()
            .filter(other -> !hasEnded(other) && isSilent(other))
            .max((a, b) -> heartbeats.get(a).age().compareTo(heartbeats.get(b).age()));
    if (silent.isPresent()) {
      Duration age = heartbeats.get(silent.get()).age();
      return Optional.of(
          mesh.name(silent.get())
              + " has sent no heartbeat for "
              + Durations.text(age)
              + " %s; it was killed, hangs, or has lost its network: look at its log");
    }
    return others()
        .filter(other -> heartbeats.get(other).state() == State.FAILED)
        .findFirst()
        .map(other -> mesh.name(other) + " failed %s: " + textOf(other).replace("%", "%%"));
  }

  private String statusOf(int other) {
    return mesh.name(other)
        + switch (heartbeats.get(other).state()) {
          case WORKING -> " is alive, " + textOf(other);
          case FAILED -> " failed: " + textOf(other);
          case LEFT -> " has ended";
        };
  }

  private String textOf(int other) {
    return heartbeats.get(other).text();
  }

  private Stream<Integer> others() {
    return IntStream.range(0, mesh.size()).filter(other -> other != rank).boxed();
  }

  private boolean hasEnded(int other) {
    return heartbeats.get(other).state() != State.WORKING;
  }

  private boolean isSilent(int other) {
    return heartbeats.get(other).age().compareTo(interval.multipliedBy(SILENT_INTERVALS)) > 0;
  }

  private void beat() {
    while (!closed && !storeLost) {
      LockSupport.parkNanos(interval.toNanos());
      refresh();
    }
  }

  /** Writes this rank's heartbeat and reads those of the others. */
  private synchronized void refresh() {
    if (!closed) {
      reach(this::exchange);
    }
  }

  private void exchange() {
    publish();
    for (int other = 0; other < mesh.size(); other++) {
      if (other != rank && !hasEnded(other)) {
        PeerHeartbeat last = heartbeats.get(other);
        PeerHeartbeat now = read(other);
        if (!now.beat().equals(last.beat())) {
          heartbeats.set(other, now);
        }
      }
    }
  }

  private void publish() {
    String since = Durations.text(Durations.sinceNanos(operationChanged));
    String at = operation.map(Operation::toString).orElse("none of these operations");
    String status = ended.orElse(State.WORKING + " in " + at + " for " + since);
    store.put(key(rank), beats.getAndIncrement() + " " + status);
  }

  private PeerHeartbeat read(int other) {
    String beat = store.get(key(other));
    String[] parts = beat.split(" ", 3);
    return new PeerHeartbeat(beat, State.valueOf(parts[1]), parts[2], System.nanoTime());
  }

  private static String key(int rank) {
    return "heartbeat/" + rank;
  }

  private String names(List<Integer> ranks) {
    return String.join(", ", ranks.stream().map(mesh::name).toList());
  }

  @Override
  public void close() {
    closed = true;
    LockSupport.unpark(thread);
    ends(thread, ChronoUnit.FOREVER.getDuration()); // for it may be at the store
    if (!storeUnresponsive) { // Closing would wait, too.
      store.close();
    }
  }
}
