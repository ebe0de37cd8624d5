package org.eellm.kernel.machine;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.locks.LockSupport;

/**
 * Threads that go through the same program in step: a region is a sequence of phases, and a phase a
 * number of items, which the members share out between them. A member begins with its own part, and
 * helps the others when it is done. A phase ends when its items are done, not when all members have
 * come: one whose core another program has taken delays the others by the item it is at, if any,
 * and catches up later. So does a region: it ends when the calling thread has passed its last
 * phase. Members that wait then, or have not come at all, never see the rest of it.
 *
 * <p>Who waits spins for some microseconds, then sleeps until woken: a core that is left idle soon
 * gets a member that waits behind another program. One thread at a time runs regions; it is the
 * first member.
 */
public final class ThreadTeam implements AutoCloseable {
  private static final long SPIN_NANOS = 30_000;

  /** How long a member is ready for the next region, between which a program does other things. */
  private static final long READY_NANOS = 300_000;

  private static final int SPINS_BETWEEN_LOOKS = 32;

  /** How often a member looks for the end of a phase before it lets the region end without it. */
  private static final int SPINS_INSIDE = 32;

  /** Numbers between those of two members, so that they do not share a cache line. */
  private static final int APART = 16;

  /**
   * Parts of a phase, at most: members of larger teams share them, so that nobody looks at more.
   */
  private static final int MOST_PARTS = 64;

  private static final int ITEM_BITS = 24;
  private static final Throwable NONE = new Throwable();

  private final List<Member> members = new ArrayList<>();
  private final int parts; // of a phase: the first is the first member's
  private final AtomicLongArray claimed; // phase and items, by part
  private final AtomicInteger sleeping = new AtomicInteger(); // members
  private final AtomicLong done = new AtomicLong(); // items of this region
  private volatile Program program = member -> {};
  private long regions; // so far
  private volatile long open; // the region that members may be in; 0 between regions
  private volatile long firstPhase;
  private volatile Throwable failure = NONE;
  private volatile boolean closed;
  private final Condition allOutside = this::allOutside;

  /**
   * The work of the members. All begin the same phases in the same order, and nothing that counts
   * is done outside of items: a member other than the first may be late, and do none of it.
   */
  @FunctionalInterface
  public interface Program {
    void run(Member member);
  }

  /** Ends a member's program: another member has failed, or all is done without this one. */
  private static final class RegionEnded extends RuntimeException {
    static final RegionEnded INSTANCE = new RegionEnded();

    private RegionEnded() {
      super("the region is over", null, false, false);
    }
  }

  /** Starts a team of the calling threads and {@code size - 1} others. */
  public ThreadTeam(int size) {
    if (size < 1) {
      throw new IllegalArgumentException("a team of " + size);
    }
    parts = Math.min(size, MOST_PARTS);
    claimed = new AtomicLongArray(parts * APART);
    for (int i = 0; i < size; i++) {
      members.add(new Member(i));
    }
    for (Member member : members.subList(1, size)) {
      Thread thread =
          Thread.ofPlatform().daemon().name("eellm-kernel-" + member.index).unstarted(member::work);
      member.thread = thread;
      thread.start();
    }
  }

  public int size() {
    return members.size();
  }

  /**
   * Runs a program on the calling thread and whichever other members are in time, and waits for its
   * end.
   */
  public void run(Program work) {
    if (closed) {
      throw new IllegalStateException("the team is closed");
    }
    Member first = members.getFirst();
    if (members.size() == 1) {
      first.begin(firstPhase);
      work.run(first);
      firstPhase = first.phase;
      return;
    }
    done.set(0);
    program = work;
    regions++;
    open = regions;
    first.thread = Thread.currentThread();
    wakeOthers(first);
    first.take(work);
    open = 0;
    first.await(allOutside, SPIN_NANOS);
    for (int i = 0; i < members.size(); i++) {
      firstPhase = Math.max(firstPhase, members.get(i).phase);
    }
    if (failure != NONE) {
      Throwable thrown = failure;
      failure = NONE;
      switch (thrown) {
        case RuntimeException e -> throw e;
        case Error e -> throw e;
        default -> throw new IllegalStateException(thrown);
      }
    }
  }

  private boolean allOutside() {
    for (int i = 1; i < members.size(); i++) {
      if (members.get(i).inside) {
        return false;
      }
    }
    return true;
  }

  /**
   * Wakes who sleeps, after something has changed that others may wait for. No wake-up is lost: a
   * member says that it sleeps before it looks a last time, and who changes something does so
   * before looking who sleeps. All of that is volatile, so one of the two sees the other.
   */
  private void wakeOthers(Member self) {
    for (int i = 0; i < members.size() && sleeping.get() > 0; i++) {
      Member member = members.get(i);
      if (member.asleep && member != self) {
        LockSupport.unpark(member.thread);
      }
    }
  }

  /** Ends the other threads. */
  @Override
  public void close() {
    closed = true;
    for (Member member : members.subList(1, members.size())) {
      LockSupport.unpark(member.thread);
    }
  }

  @FunctionalInterface
  private interface Condition {
    boolean holds();
  }

  public final class Member {
    private final int index;
    private volatile Thread thread = Thread.currentThread();
    private volatile boolean asleep;
    private volatile boolean inside; // may touch what the program touches
    private long seen; // region
    private long phase;
    private int items;
    private int passed; // parts of which all items are taken, its own first
    private int taken;
    private int itemsOfLast; // that were taken last
    private long target; // items of this region up to this phase
    private final Condition phaseEnds = this::phaseEnds;
    private final Condition regionBegins = this::regionBegins;

    private Member(int index) {
      this.index = index;
    }

    /** From 0, below {@link ThreadTeam#size}. */
    public int index() {
      return index;
    }

    /** Begins a phase of so many items. */
    public void begin(int count) {
      if (count >= 1 << ITEM_BITS) {
        throw new IllegalArgumentException(count + " items are too many for a phase");
      }
      phase++;
      items = count;
      passed = 0;
      taken = 0;
      target += count;
    }

    /** The next item to do, or -1 where none is left; then {@link #end} is called. */
    public int next() {
      return next(1);
    }

    /**
     * The first of the next items to do, {@link #count} in a row, or -1 where none is left. They
     * are half of what is left of a member's part: many at first, and one each at the end, so that
     * all members end at the same time.
     *
     * @param most how many at most, 1 or more; a member that is alone gets as many as there may be
     */
    public int next(int most) {
      if (most < 1) {
        throw new IllegalArgumentException(most + " items at once");
      }
      for (; passed < parts; passed++) {
        int of = (index + passed) % parts;
        int from = (int) ((long) items * of / parts);
        int count = (int) ((long) items * (of + 1) / parts) - from;
        int item = count == 0 ? -1 : claim(of * APART, count, most);
        if (item >= 0) {
          taken += itemsOfLast;
          return from + item;
        }
      }
      return -1;
    }

    /** How many items {@link #next(int)} gave. */
    public int count() {
      return itemsOfLast;
    }

    private int claim(int at, int count, int most) {
      if (members.size() == 1) {
        itemsOfLast = Math.min(most, count - taken);
        return taken < count ? taken : -1;
      }
      while (true) {
        long now = claimed.get(at);
        long known = now >>> ITEM_BITS;
        if (known > phase) {
          return -1; // the others have gone on
        }
        int item = known == phase ? (int) (now & (1L << ITEM_BITS) - 1) : 0;
        if (item >= count) {
          return -1;
        }
        int several = Math.min(most, (count - item + 1) / 2);
        if (claimed.compareAndSet(at, now, phase << ITEM_BITS | item + several)) {
          itemsOfLast = several;
          return item;
        }
      }
    }

    /** Ends the phase: waits until all of its items are done. */
    public void end() {
      if (members.size() == 1) {
        return;
      }
      // Nobody passes a phase before its items are done, so `done` counts no item of a later phase.
      // A member that comes late takes nothing in phases that have ended, and passes them. What
      // items have written is visible then: each member adds to `done` after its items, and all
      // read it before they go on.
      if (taken > 0 && done.addAndGet(taken) >= target) {
        wakeOthers(this);
      }
      for (int spins = 0; done.get() < target && failure == NONE; spins++) {
        if (spins == SPINS_INSIDE) {
          awaitPhase();
          return;
        }
        Thread.onSpinWait();
      }
      if (failure != NONE) {
        throw RegionEnded.INSTANCE;
      }
    }

    private void awaitPhase() {
      if (index == 0) {
        await(phaseEnds, SPIN_NANOS);
      } else {
        inside = false; // from here on the region may end without this member
        await(phaseEnds, SPIN_NANOS);
        enter();
      }
      if (failure != NONE) {
        throw RegionEnded.INSTANCE;
      }
    }

    /**
     * Enters the region that was seen last, unless it is over. Who ends it first says so, and then
     * looks who is inside; a member says that it is before it looks whether the region is over. All
     * of that is volatile, so one of the two sees the other.
     */
    private void enter() {
      inside = true;
      if (open != seen) {
        throw RegionEnded.INSTANCE;
      }
    }

    private boolean phaseEnds() {
      return done.get() >= target || failure != NONE || index > 0 && open != seen;
    }

    private boolean regionBegins() {
      long now = open;
      return now != 0 && now != seen || closed;
    }

    private void begin(long first) {
      phase = first;
      target = 0;
    }

    /** Runs the first member's program. */
    private void take(Program work) {
      begin(firstPhase);
      try {
        work.run(this);
      } catch (RegionEnded e) {
        // The one that failed tells why.
      } catch (Throwable e) {
        failure = e;
        wakeOthers(this);
      }
    }

    /** Takes part in a region, if it is not over. */
    private void take() {
      try {
        enter();
        take(program);
      } catch (RegionEnded e) {
        // All has been done meanwhile.
      } finally {
        inside = false;
        wakeOthers(this);
      }
    }

    private void work() {
      while (true) {
        await(regionBegins, READY_NANOS);
        long now = open;
        if (closed) {
          return;
        }
        if (now != 0) {
          seen = now;
          take();
        }
      }
    }

    /** Waits: spins, then yields for up to so long, then sleeps. */
    private void await(Condition condition, long awakeNanos) {
      long start = 0;
      for (int spins = 1; !condition.holds(); spins++) {
        Thread.onSpinWait();
        if (spins % SPINS_BETWEEN_LOOKS == 0) {
          long now = System.nanoTime();
          if (start == 0) {
            start = now;
          } else if (now - start > awakeNanos) {
            sleep(condition);
          } else if (now - start > SPIN_NANOS) {
            Thread.yield();
          }
        }
      }
    }

    private void sleep(Condition condition) {
      asleep = true;
      sleeping.incrementAndGet();
      while (!condition.holds()) {
        LockSupport.park();
      }
      sleeping.decrementAndGet();
      asleep = false;
    }
  }
}
