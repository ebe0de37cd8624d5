package org.eellm.distributed.rendezvous;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.launch.Durations;
import org.eellm.distributed.mesh.Mesh;

/**
 * What one rank knows of the others. Each puts its heartbeats on a {@link Board}. Rank 0 reads all
 * of them at once and puts up the news, which the others read: who has ended, or the verdict that
 * ends the run. So the board has two requests a rank and interval. The first verdict stays, and all
 * ranks tell the same.
 *
 * <p>The caller gives the time, in nanoseconds as of {@link System#nanoTime}, and one thread at a
 * time calls what asks the board.
 */
final class Heartbeats {
  private static final Duration LONGEST_BASE = Duration.ofSeconds(1);

  /** Time that the board has for a rank's two requests. */
  private static final Duration PER_RANK = Duration.ofMillis(3);

  private static final Duration SHORTEST_PAUSE = Duration.ofMillis(10);

  /** More than a busy machine makes a rank wait. */
  private static final Duration SILENCE = Duration.ofSeconds(5);

  private static final int SILENT_INTERVALS = 3;
  private static final String NEWS = "news";
  private static final String VERDICT = "!";

  private final Board board;
  private final Mesh mesh;
  private final int rank;
  private final Duration interval;
  private final Duration pause;
  private final Duration silence;
  private final List<Heartbeat> seen = new ArrayList<>(); // by rank, on rank 0
  private final Set<Integer> ended = ConcurrentHashMap.newKeySet();
  private volatile Optional<String> verdict = Optional.empty();
  private String news = "";
  private long newsChanged;
  private long looked;
  private long beats;

  /** A rank's state by its own heartbeat. */
  enum State {
    WORKING,
    FAILED,
    LEFT
  }

  /**
   * A rank's heartbeat.
   *
   * @param beat its number, state and text
   * @param changed when rank 0 first saw it
   */
  private record Heartbeat(String beat, long changed) {
    State state() {
      return State.valueOf(beat.split(" ", 3)[1]);
    }

    /** Where the rank works, or why it failed. */
    String text() {
      return beat.split(" ", 3)[2];
    }
  }

  Heartbeats(Board board, Mesh mesh, int rank, Duration timeout) {
    this.board = board;
    this.mesh = mesh;
    this.rank = rank;
    Duration base = Collections.min(List.of(timeout.dividedBy(10), LONGEST_BASE));
    Duration share = PER_RANK.multipliedBy(mesh.size());
    this.interval = Collections.max(List.of(base, share));
    this.pause = Collections.max(List.of(SHORTEST_PAUSE, share));
    this.silence =
        Collections.max(
            List.of(
                interval.multipliedBy(SILENT_INTERVALS),
                Collections.min(List.of(SILENCE, timeout))));
  }

  /** Between two calls of {@link #exchange}. */
  Duration interval() {
    return interval;
  }

  /** Before the first call of {@link #haveAllCome}, so that ranks do not ask at the same time. */
  Duration turn() {
    return pause.multipliedBy(rank).dividedBy(mesh.size());
  }

  /** Between two calls of {@link #haveAllCome}. */
  Duration pause() {
    return pause;
  }

  /** After so long, a rank that has fallen silent is known to all. */
  Duration detection() {
    return silence.plus(interval.multipliedBy(SILENT_INTERVALS));
  }

  /** Says that this rank is here. */
  void arrive() {
    put(State.WORKING, mesh.toString());
  }

  /**
   * Whether all ranks are here, and agree on the mesh.
   *
   * @throws DistributedException if they do not agree
   */
  boolean haveAllCome(long now) {
    List<Integer> all = ranks().toList();
    if (!board.has(rank == 0 ? all.stream().map(Heartbeats::key).toList() : List.of(NEWS))) {
      return false;
    }
    looked = now;
    if (rank == 0) {
      read(all).forEach(beat -> seen.add(new Heartbeat(beat, now)));
      news = all.stream().flatMap(this::disagreement).findFirst().map(VERDICT::concat).orElse("0");
      board.put(NEWS, news);
      learn(news);
    } else {
      readNews(true, now);
    }
    if (verdict.isPresent()) {
      throw new DistributedException(verdict.get());
    }
    return true;
  }

  private Stream<String> disagreement(int other) {
    String its = seen.get(other).text();
    return its.equals(mesh.toString())
        ? Stream.empty()
        : Stream.of(
            "rank %d runs the mesh %s, but rank 0 runs %s; give all the same configuration"
                .formatted(other, its, mesh));
  }

  /** Ranks that have not come. */
  List<Integer> missing() {
    return ranks().filter(other -> !board.has(List.of(key(other)))).toList();
  }

  /** Puts up this rank's heartbeat, and reads what there is to know. */
  void exchange(State state, String text, long now) {
    put(state, text);
    boolean slept = now - looked > silence.toNanos() / 2; // and so judges nobody
    looked = now;
    if (rank != 0) {
      readNews(slept, now);
      return;
    }
    if (state != State.WORKING) {
      ended.add(rank);
    }
    readAll(slept, now);
    ranks()
        .filter(other -> other != rank && !ended.contains(other))
        .min(Comparator.comparing(other -> seen.get(other).changed()))
        .ifPresent(other -> judge(other, seen.get(other).changed(), now));
    if (verdict.isEmpty()) {
      String gone = String.join(" ", ended.stream().map(Object::toString).toList());
      learn(board.replace(NEWS, news, beats + " " + gone));
    }
  }

  /**
   * Lets all know how the run ends, unless they know already.
   *
   * @param how a format with a place for an operation
   */
  void decide(String how) {
    while (verdict.isEmpty()) {
      learn(board.replace(NEWS, news, VERDICT + how));
    }
  }

  /** How the run ends, once that is known: a format with a place for an operation. */
  Optional<String> verdict() {
    return verdict;
  }

  /** Whether every other rank has ended or is silent; rank 0 knows. */
  boolean isAlone(long now) {
    return ranks()
        .allMatch(
            other ->
                other == rank || ended.contains(other) || isSilent(seen.get(other).changed(), now));
  }

  /** Whether a rank has ended, as far as is known here. */
  boolean hasEnded(int other) {
    return ended.contains(other);
  }

  /** What ranks do now, in words. */
  List<String> statuses(List<Integer> of) {
    List<String> beats = read(of);
    return IntStream.range(0, of.size())
        .mapToObj(
            i -> {
              Heartbeat beat = new Heartbeat(beats.get(i), 0);
              return mesh.name(of.get(i))
                  + switch (beat.state()) {
                    case WORKING -> " is alive, " + beat.text();
                    case FAILED -> " failed: " + beat.text();
                    case LEFT -> " has ended";
                  };
            })
        .toList();
  }

  private void put(State state, String text) {
    board.put(key(rank), beats++ + " " + state + " " + text);
  }

  private List<String> read(List<Integer> ranks) {
    return ranks.isEmpty() ? List.of() : board.get(ranks.stream().map(Heartbeats::key).toList());
  }

  private void readAll(boolean slept, long now) {
    List<Integer> others = ranks().filter(other -> !ended.contains(other)).toList();
    List<String> beats = read(others);
    for (int i = 0; i < beats.size(); i++) {
      int other = others.get(i);
      if (slept || !beats.get(i).equals(seen.get(other).beat())) {
        seen.set(other, new Heartbeat(beats.get(i), now));
      }
      if (seen.get(other).state() != State.WORKING) {
        ended.add(other);
      }
    }
  }

  private void readNews(boolean slept, long now) {
    String next = board.get(List.of(NEWS)).getFirst();
    if (slept || !next.equals(news)) {
      newsChanged = now;
      learn(next);
    } else if (!ended.contains(0)) {
      judge(0, newsChanged, now);
    }
  }

  private boolean isSilent(long changed, long now) {
    return now - changed > silence.toNanos();
  }

  private void judge(int other, long changed, long now) {
    if (isSilent(changed, now)) {
      decide(
          mesh.name(other)
              + " has sent no heartbeat for "
              + Durations.text(Duration.ofNanos(now - changed))
              + " %s; it was killed, hangs, or has lost its network: look at its log");
    }
  }

  /** Takes what the news say. */
  private void learn(String next) {
    news = next;
    if (news.startsWith(VERDICT)) {
      verdict = Optional.of(news.substring(VERDICT.length()));
    } else {
      Stream.of(news.split(" ")).skip(1).map(Integer::valueOf).forEach(ended::add);
    }
  }

  private Stream<Integer> ranks() {
    return IntStream.range(0, mesh.size()).boxed();
  }

  private static String key(int rank) {
    return "heartbeat/" + rank;
  }
}
