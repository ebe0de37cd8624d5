package org.eellm.distributed.rendezvous;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.PriorityQueue;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.distributed.rendezvous.Heartbeats.State;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Ranks in one thread, on a clock that jumps from one's turn to the next one's. */
final class HeartbeatsTest {
  private static final Mesh LARGE = new Mesh(8, 16, 4);
  private static final long SECOND = 1_000_000_000;
  private static final Duration TIMEOUT = Duration.ofMinutes(10);

  private final Map<String, String> board = new HashMap<>();
  private final Map<Long, Integer> requests = new HashMap<>(); // by second
  private final List<Rank> ranks = new ArrayList<>();
  private final PriorityQueue<Rank> turns =
      new PriorityQueue<>(Comparator.comparingLong(rank -> rank.next));
  private long now = SECOND;

  /** Counts what is asked of it. */
  private final class Counted implements Board {
    private void count() {
      requests.merge(now / SECOND, 1, Integer::sum);
    }

    @Override
    public void put(String key, String value) {
      count();
      board.put(key, value);
    }

    @Override
    public boolean has(List<String> keys) {
      count();
      return board.keySet().containsAll(keys);
    }

    @Override
    public List<String> get(List<String> keys) {
      count();
      return keys.stream().map(key -> Optional.ofNullable(board.get(key)).orElseThrow()).toList();
    }

    @Override
    public String replace(String key, String expected, String value) {
      count();
      board.replace(key, expected, value);
      return Optional.ofNullable(board.get(key)).orElseThrow();
    }
  }

  private final class Rank {
    final int number;
    final Heartbeats heartbeats;
    long next;
    boolean came;
    boolean arrived;
    State state = State.WORKING;
    boolean silent;

    Rank(int number, Mesh mesh, long start) {
      this.number = number;
      this.heartbeats = new Heartbeats(new Counted(), mesh, number, TIMEOUT);
      this.next = start;
    }

    void turn() {
      Duration wait = heartbeats.interval();
      if (arrived) {
        heartbeats.exchange(state, "a step", now);
      } else if (came) {
        arrived = heartbeats.haveAllCome(now);
        wait = heartbeats.pause();
      } else {
        heartbeats.arrive();
        came = true;
        wait = heartbeats.turn();
      }
      next = now + wait.toNanos();
    }
  }

  /** Starts all ranks at once. */
  private void start(Mesh mesh) {
    for (int number = 0; number < mesh.size(); number++) {
      ranks.add(new Rank(number, mesh, now));
    }
    turns.addAll(ranks);
  }

  private void pass(Duration time) {
    long end = now + time.toNanos();
    while (turns.element().next <= end) {
      Rank rank = turns.remove();
      now = rank.next;
      if (!rank.silent) {
        rank.turn();
        turns.add(rank);
      }
    }
    now = end;
  }

  private Stream<Heartbeats> others(int but) {
    return ranks.stream().filter(rank -> rank.number != but).map(rank -> rank.heartbeats);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 317, 511})
  void exchange_of512Ranks_asksLittleAndFindsTheSilentOne(int lost) {
    start(LARGE);
    pass(Duration.ofSeconds(60));
    assertThat(ranks).allMatch(rank -> rank.arrived);
    assertThat(others(-1)).allMatch(its -> its.verdict().isEmpty());
    ranks.get(lost).silent = true;
    pass(Duration.ofSeconds(10));

    assertThat(others(lost))
        .allSatisfy(
            its ->
                assertThat(its.verdict().orElseThrow())
                    .startsWith(LARGE.name(lost) + " has sent no heartbeat for"));
    assertThat(requests.values()).allMatch(count -> count < 1000);
  }

  @Test
  void exchange_afterAllSlept_blamesNobody() {
    start(new Mesh(1, 4, 1));
    pass(Duration.ofSeconds(10));
    now += 3600 * SECOND; // as of a notebook that was closed
    ranks.forEach(rank -> rank.next += 3600 * SECOND);
    turns.clear();
    turns.addAll(ranks);
    pass(Duration.ofSeconds(20));

    assertThat(others(-1)).allMatch(its -> its.verdict().isEmpty());
  }

  @Test
  void exchange_ranksLeave_areKnownToHaveEndedAndAreNotLost() {
    start(new Mesh(1, 4, 1));
    pass(Duration.ofSeconds(10));
    for (int number : List.of(2, 0)) {
      Rank leaving = ranks.get(number);
      leaving.state = State.LEFT;
      leaving.turn();
      leaving.silent = true;
      pass(Duration.ofSeconds(20));
    }

    assertThat(List.of(1, 3))
        .map(ranks::get)
        .allSatisfy(
            rank -> {
              assertThat(rank.heartbeats.verdict()).isEmpty();
              assertThat(IntStream.range(0, 4).filter(rank.heartbeats::hasEnded))
                  .containsExactly(0, 2);
            });
  }

  @Test
  void decide_byTwoRanks_isWhatTheFirstSaidForAll() {
    start(new Mesh(1, 4, 1));
    pass(Duration.ofSeconds(10));
    ranks.get(3).heartbeats.decide("rank 3 failed");
    ranks.get(1).heartbeats.decide("rank 1 failed");
    pass(Duration.ofSeconds(3));

    assertThat(others(-1)).allMatch(its -> its.verdict().orElseThrow().equals("rank 3 failed"));
  }

  @Test
  void haveAllCome_withAnotherMesh_namesIt() {
    ranks.add(new Rank(0, new Mesh(1, 2, 1), now));
    ranks.add(new Rank(1, new Mesh(2, 1, 1), now));
    ranks.forEach(Rank::turn);

    assertThatThrownBy(ranks.get(0)::turn)
        .isInstanceOf(DistributedException.class)
        .hasMessage(
            "rank 1 runs the mesh tp 2 x dp 1 x pp 1, but rank 0 runs tp 1 x dp 2 x pp 1; give all"
                + " the same configuration");
    assertThatThrownBy(ranks.get(1)::turn).hasMessageStartingWith("rank 1 runs the mesh tp 2");
  }
}
