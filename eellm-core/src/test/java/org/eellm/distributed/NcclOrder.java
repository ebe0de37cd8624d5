package org.eellm.distributed;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.collective.Reduction;
import org.eellm.distributed.collective.WorkHandle;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.distributed.mesh.RankGroup;
import org.eellm.distributed.rendezvous.Operation;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;

/**
 * Ranks as threads whose messages and sums keep NCCL's rules, without a GPU. All that a group
 * carries between two ranks, sends and receives alike, is done in the order in which each rank
 * starts it; a send ends with its receive, as nothing is stored on the way; messages are told apart
 * by their order alone; and two ranks connect with their first message, for which both have to
 * come. A group's sums are rounded as its ranks lie on nodes: those of two groups differ in their
 * last bits.
 *
 * <p>Ranks that wait for each other end with a message instead of waiting for ever.
 */
public final class NcclOrder {
  /** Of a red control: ranks share one group for both directions. */
  private final boolean oneGroup;

  private final Mesh mesh;
  private final Map<Pair, Queues> queues = new HashMap<>();
  private final Map<Integer, Waiter> waiting = new TreeMap<>();
  private final Set<Integer> gone = new HashSet<>();
  private Optional<String> failure = Optional.empty();

  private NcclOrder(Mesh mesh, boolean oneGroup) {
    this.mesh = mesh;
    this.oneGroup = oneGroup;
  }

  /** {@link InProcessRanks#run(Mesh, Function)} with messages that keep NCCL's rules. */
  public static <T> List<T> run(Mesh mesh, Function<World, T> body) {
    return new NcclOrder(mesh, false).run(body);
  }

  /** The same with one group for both directions between stages. */
  public static <T> List<T> runWithOneGroup(Mesh mesh, Function<World, T> body) {
    return new NcclOrder(mesh, true).run(body);
  }

  /** The same with groups whose ranks have not met before the body. */
  public static <T> List<T> runUnconnected(Mesh mesh, Function<World, T> body) {
    NcclOrder order = new NcclOrder(mesh, false);
    return order.run(
        world -> {
          world.all().barrier();
          order.forgetMeetings();
          world.all().barrier();
          return body.apply(world);
        });
  }

  private synchronized void forgetMeetings() {
    queues.clear();
  }

  private <T> List<T> run(Function<World, T> body) {
    return InProcessRanks.run(
        mesh,
        1,
        Duration.ofMinutes(1),
        InProcessRanks::transport,
        this::ordered,
        world -> {
          try {
            return body.apply(world);
          } finally {
            leave(world.rank());
          }
        });
  }

  private Communicator ordered(RankGroup group, Communicator delegate) {
    return new Ordered(group, delegate);
  }

  /** Two ranks of the world in a group. */
  private record Pair(String group, int lower, int upper) {}

  /** What each of two ranks has started and is not done. */
  private static final class Queues {
    final Deque<Message> lower = new ArrayDeque<>();
    final Deque<Message> upper = new ArrayDeque<>();
    boolean lowerCame;
    boolean upperCame;
  }

  private final class Message implements WorkHandle {
    private final int rank;
    private final Operation operation;
    private final boolean sends;
    private final int tag;
    private final RetainedTensors retained = new RetainedTensors();
    private final Tensor tensor;
    private boolean done;

    Message(int rank, Operation operation, boolean sends, int tag, Tensor tensor) {
      this.rank = rank;
      this.operation = operation;
      this.sends = sends;
      this.tag = tag;
      this.tensor = retained.retain(tensor);
    }

    @Override
    public void await() {
      synchronized (NcclOrder.this) {
        waitUntil(rank, operation, () -> done);
      }
    }
  }

  /** A rank that goes on once the condition holds, which it has perhaps not seen yet. */
  private record Waiter(Operation operation, BooleanSupplier condition) {
    @Override
    public String toString() {
      return operation.toString();
    }
  }

  private void waitUntil(int rank, Operation operation, BooleanSupplier condition) {
    waiting.put(rank, new Waiter(operation, condition));
    try {
      while (!condition.getAsBoolean()) {
        if (failure.isEmpty()
            && waiting.size() + gone.size() == mesh.size()
            && waiting.values().stream().noneMatch(each -> each.condition().getAsBoolean())) {
          fail("all ranks wait for each other: " + waiting);
        }
        if (failure.isPresent()) {
          throw new DistributedException(operation + ": " + failure.get());
        }
        wait();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new DistributedException(operation + ": interrupted", e);
    } finally {
      waiting.remove(rank);
    }
  }

  private void fail(String message) {
    failure = Optional.of(message);
    notifyAll();
  }

  private synchronized void leave(int rank) {
    gone.add(rank);
    notifyAll();
  }

  private synchronized WorkHandle start(Pair pair, Message message) {
    Queues both = queues.computeIfAbsent(pair, _ -> new Queues());
    boolean low = message.rank == pair.lower();
    both.lowerCame |= low;
    both.upperCame |= !low;
    notifyAll();
    waitUntil(message.rank, message.operation, () -> both.lowerCame && both.upperCame);
    (low ? both.lower : both.upper).add(message);
    while (!both.lower.isEmpty() && !both.upper.isEmpty()) {
      Message one = both.lower.element();
      Message other = both.upper.element();
      if (one.sends == other.sends || one.tag != other.tag) {
        fail(
            "%s does %s next, and %s does %s: neither ever ends"
                .formatted(
                    mesh.name(one.rank), one.operation, mesh.name(other.rank), other.operation));
        break;
      }
      copy(one.sends ? one : other, one.sends ? other : one);
      for (Message ended : List.of(both.lower.remove(), both.upper.remove())) {
        ended.done = true;
        ended.retained.close();
      }
      notifyAll();
    }
    return message;
  }

  private static void copy(Message sent, Message received) {
    try (Scope scope = Scope.open()) {
      received.tensor.view(-1).copy_(sent.tensor.view(-1));
    }
  }

  /** Messages in NCCL's order. */
  private final class Ordered extends ForwardingCommunicator {
    private final RankGroup group;

    Ordered(RankGroup group, Communicator delegate) {
      super(delegate);
      this.group = group;
    }

    @Override
    public WorkHandle send(Tensor tensor, int peer, int tag) {
      return message("send", true, tensor, peer, tag);
    }

    @Override
    public WorkHandle receive(Tensor into, int peer, int tag) {
      return message("receive", false, into, peer, tag);
    }

    private WorkHandle message(String what, boolean sends, Tensor tensor, int peer, int tag) {
      int here = group.ranks().get(group.rank());
      int there = group.ranks().get(peer);
      String name = oneGroup ? group.name().split(" ", -1)[0] : group.name();
      String where =
          "%s %s over %s, tag %d".formatted(sends ? "to" : "from", mesh.name(there), name, tag);
      return start(
          new Pair(name + group.ranks(), Math.min(here, there), Math.max(here, there)),
          new Message(here, new Operation(what, 0, where), sends, tag, tensor));
    }

    @Override
    public WorkHandle allReduce(Tensor tensor, Reduction reduction) {
      WorkHandle sum = delegate.allReduce(tensor, reduction);
      return reduction == Reduction.SUM ? rounded(tensor, sum) : sum;
    }

    @Override
    public WorkHandle reduceScatter(Tensor out, Tensor in) {
      return rounded(out, delegate.reduceScatter(out, in));
    }

    /** A sum that is off by as many of its last bits as the group's first rank says. */
    private WorkHandle rounded(Tensor sum, WorkHandle handle) {
      if (!sum.is_floating_point()) {
        return handle;
      }
      RetainedTensors retained = new RetainedTensors();
      Tensor result = retained.retain(sum);
      AtomicBoolean rounded = new AtomicBoolean();
      return () -> {
        handle.await();
        if (rounded.compareAndSet(false, true)) {
          try (retained;
              Scope scope = Scope.open()) {
            result.mul_(new Scalar(1 + 0x1p-23 * group.ranks().getFirst()));
          }
        }
      };
    }
  }
}
