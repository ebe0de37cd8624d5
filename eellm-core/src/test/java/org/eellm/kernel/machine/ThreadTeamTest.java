package org.eellm.kernel.machine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(120)
final class ThreadTeamTest {
  private static final Duration ALLOWED_WORK = Duration.ofMillis(5);

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 8})
  void run_randomRegions_doesEveryItemOnceAndPhasesInTurn(int size) {
    Random random = new Random(size);
    try (ThreadTeam team = new ThreadTeam(size)) {
      for (int region = 0; region < 2_000; region++) {
        int[] counts = random.ints(random.nextInt(8), 0, 3 * size + 2).toArray();
        assertRegion(team, counts);
      }
    }
  }

  /** Where members share parts of a phase. */
  @Test
  void run_teamOfMany_doesEveryItemOnceAndPhasesInTurn() {
    int size = 150;
    Random random = new Random(size);
    try (ThreadTeam team = new ThreadTeam(size)) {
      for (int region = 0; region < 200; region++) {
        assertRegion(team, random.ints(random.nextInt(8), 0, 3 * size).toArray());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 8})
  void run_slowMembers_losesNothing(int size) {
    Random random = new Random(size);
    try (ThreadTeam team = new ThreadTeam(size)) {
      for (int region = 0; region < 30; region++) {
        int[] counts = random.ints(6, 0, 3 * size).toArray();
        Phases phases = new Phases(counts);
        team.run(
            member -> {
              for (int phase = 0; phase < counts.length; phase++) {
                if (ThreadLocalRandom.current().nextInt(10) == 0) {
                  LockSupport.parkNanos(1_000_000); // lags behind
                }
                phases.work(member, phase, true);
              }
            });
        phases.assertAllDone();
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 8})
  void next_severalAtOnce_givesEachItemOnceAndHalfOfWhatIsLeft(int size) {
    try (ThreadTeam team = new ThreadTeam(size)) {
      for (int items : new int[] {0, 1, 2, 7, 64, 501}) {
        AtomicIntegerArray done = new AtomicIntegerArray(items);
        AtomicInteger calls = new AtomicInteger();
        team.run(
            member -> {
              member.begin(items);
              for (int i = member.next(16); i >= 0; i = member.next(16)) {
                assertThat(member.count()).isBetween(1, 16);
                calls.incrementAndGet();
                for (int j = 0; j < member.count(); j++) {
                  done.incrementAndGet(i + j);
                }
              }
              member.end();
            });
        for (int i = 0; i < items; i++) {
          assertThat(done.get(i)).as("item %d of %d", i, items).isEqualTo(1);
        }
        int each = Math.ceilDiv(items, size); // whole 16s, then 15 and less by halves: 8, 4, 2, 1
        assertThat(calls).hasValueLessThanOrEqualTo(size * (each / 16 + 6));
      }
    }
  }

  @Test
  void run_memberThatSleepsInAnItem_delaysThePhase() {
    try (ThreadTeam team = new ThreadTeam(2)) {
      int[] counts = {2, 5, 1};
      Phases phases = new Phases(counts);
      AtomicInteger slept = new AtomicInteger();
      team.run(
          member -> {
            member.begin(2);
            for (int i = member.next(); i >= 0; i = member.next()) {
              if (i == 1) {
                sleep(50);
                slept.incrementAndGet();
              }
              phases.markDone(0, i);
            }
            member.end();
            assertThat(slept).as("slept before the phase ends").hasValue(1);
            phases.work(member, 1, false);
            phases.work(member, 2, false);
          });
      phases.assertAllDone();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 8})
  void run_failingItem_reachesTheCallerAndTheTeamGoesOn(int size) {
    try (ThreadTeam team = new ThreadTeam(size)) {
      for (int round = 0; round < 50; round++) {
        int failing = round % (2 * size);
        int phase = round % 3;
        assertThatThrownBy(
                () ->
                    team.run(
                        member -> {
                          for (int i = 0; i < 3; i++) {
                            boolean fails = i == phase;
                            each(
                                member,
                                2 * size,
                                item -> {
                                  if (fails && item == failing) {
                                    throw new IllegalArgumentException("item " + item);
                                  }
                                });
                          }
                        }))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessage("item " + failing);
        assertRegion(team, 3, 2 * size, 1);
      }
    }
  }

  @Test
  void run_error_reachesTheCaller() {
    CountDownLatch come = new CountDownLatch(1);
    try (ThreadTeam team = new ThreadTeam(2)) {
      assertThatThrownBy(
              () ->
                  team.run(
                      member -> {
                        if (member.index() == 1) {
                          come.countDown();
                          throw new AssertionError("member 1");
                        }
                        each(member, 1, item -> await(come));
                      }))
          .isInstanceOf(AssertionError.class)
          .hasMessage("member 1");
    }
  }

  @Test
  void run_afterLongIdleTimes_wakesTheMembers() {
    try (ThreadTeam team = new ThreadTeam(3)) {
      for (int i = 0; i < 20; i++) {
        assertThat(meet(team)).hasSize(3);
        sleep(i % 4);
      }
    }
  }

  /** Too many members for any machine: there are always some that come late. */
  @Test
  void run_lateMembers_areNotWaitedForAndSeeNothingOfARegionThatIsOver() {
    int regions = 3_000;
    AtomicInteger come = new AtomicInteger();
    AtomicInteger late = new AtomicInteger();
    int size = 3 * Runtime.getRuntime().availableProcessors() + 5;
    try (ThreadTeam team = new ThreadTeam(size)) {
      for (int region = 0; region < regions; region++) {
        int[] counts = {1, region % 5, 2 * size, 1};
        Phases phases = new Phases(counts);
        AtomicBoolean over = new AtomicBoolean();
        team.run(
            member -> {
              come.incrementAndGet();
              for (int phase = 0; phase < counts.length; phase++) {
                late.addAndGet(over.get() ? 1 : 0);
                phases.work(member, phase, false);
                late.addAndGet(over.get() ? 1 : 0);
              }
            });
        over.set(true);
        phases.assertAllDone();
      }
    }
    assertThat(late).hasValue(0);
    assertThat(come.get()).isBetween(regions, regions * size - 1);
  }

  @Test
  void idleTeam_usesNoProcessorTime() {
    try (ThreadTeam team = new ThreadTeam(3)) {
      assertRegion(team, 10, 10);
      sleep(100);
      List<Thread> threads = threadsOf(team);
      long before = processorNanos(threads);
      sleep(500);
      assertThat(Duration.ofNanos(processorNanos(threads) - before)).isLessThan(ALLOWED_WORK);
    }
  }

  @Test
  void close_idleTeam_endsItsThreads() throws InterruptedException {
    ThreadTeam team = new ThreadTeam(3);
    List<Thread> threads = threadsOf(team);
    team.close();
    for (Thread thread : threads) {
      thread.join(10_000);
      assertThat(thread.isAlive()).isFalse();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void run_closedTeam_isRefused(int size) {
    ThreadTeam team = new ThreadTeam(size);
    team.close();
    assertThatThrownBy(() -> team.run(member -> {}))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the team is closed");
  }

  @Test
  void newTeam_ofNobody_isRefused() {
    assertThatThrownBy(() -> new ThreadTeam(0)).hasMessage("a team of 0");
  }

  private static void assertRegion(ThreadTeam team, int... counts) {
    Phases phases = new Phases(counts);
    team.run(
        member -> {
          for (int phase = 0; phase < counts.length; phase++) {
            phases.work(member, phase, false);
          }
        });
    phases.assertAllDone();
  }

  private static void each(ThreadTeam.Member member, int count, IntConsumer action) {
    member.begin(count);
    for (int item = member.next(); item >= 0; item = member.next()) {
      action.accept(item);
    }
    member.end();
  }

  /** What has been done of each phase. */
  private static final class Phases {
    private final AtomicIntegerArray[] done;
    private final int[][] plain; // so that memory is only visible by way of the team

    Phases(int... counts) {
      done = new AtomicIntegerArray[counts.length];
      plain = new int[counts.length][];
      for (int i = 0; i < counts.length; i++) {
        done[i] = new AtomicIntegerArray(counts[i]);
        plain[i] = new int[counts[i]];
      }
    }

    void work(ThreadTeam.Member member, int phase, boolean slow) {
      each(
          member,
          plain[phase].length,
          item -> {
            for (int earlier = 0; earlier < phase; earlier++) {
              for (int seen : plain[earlier]) {
                if (seen != earlier + 1) {
                  throw new AssertionError("phase " + phase + " overlaps " + earlier);
                }
              }
            }
            if (slow && ThreadLocalRandom.current().nextInt(20) == 0) {
              sleep(1);
            }
            markDone(phase, item);
          });
    }

    void markDone(int phase, int item) {
      plain[phase][item] = phase + 1;
      done[phase].incrementAndGet(item);
    }

    void assertAllDone() {
      for (AtomicIntegerArray items : done) {
        for (int i = 0; i < items.length(); i++) {
          assertThat(items.get(i)).isEqualTo(1);
        }
      }
    }
  }

  /** The members beyond the calling thread. */
  private static List<Thread> threadsOf(ThreadTeam team) {
    List<Thread> threads = meet(team);
    threads.remove(Thread.currentThread());
    return threads;
  }

  /** Has all members come, each of which begins with an item of its own. */
  private static List<Thread> meet(ThreadTeam team) {
    List<Thread> threads = Collections.synchronizedList(new ArrayList<>());
    CountDownLatch come = new CountDownLatch(team.size());
    team.run(
        member ->
            each(
                member,
                team.size(),
                item -> {
                  threads.add(Thread.currentThread());
                  come.countDown();
                  await(come);
                }));
    return threads;
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  private static long processorNanos(List<Thread> threads) {
    return threads.stream()
        .mapToLong(
            thread -> ManagementFactory.getThreadMXBean().getThreadCpuTime(thread.threadId()))
        .sum();
  }

  private static void sleep(int millis) {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}
