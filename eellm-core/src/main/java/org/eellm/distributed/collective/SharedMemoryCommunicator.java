package org.eellm.distributed.collective;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.launch.LocalLauncher;
import org.eellm.distributed.memory.PartSink;
import org.eellm.distributed.memory.SharedMemory;
import org.eellm.distributed.memory.SharedMessages;
import org.eellm.distributed.memory.Transfer;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.distributed.mesh.RankGroup;
import org.eellm.distributed.rendezvous.HeartbeatMonitor;
import org.eellm.distributed.rendezvous.Operation;
import org.eellm.distributed.rendezvous.RendezvousStore;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A group whose ranks share memory, as they are on one machine. A message is copied once in and
 * once out, or added to what is there, where Gloo's connections over the loopback interface pass
 * through the kernel.
 */
final class SharedMemoryCommunicator extends PeerCommunicator {
  private static final Logger LOG = LoggerFactory.getLogger(SharedMemoryCommunicator.class);

  /** In place of a file's name. */
  private static final String NO_FILE = "none";

  /** How long to look for a message without sleeping, if each rank has a processor. */
  private static final long AWAKE_NANOS = 200_000;

  private static final long MIN_PAUSE_NANOS = 20_000;
  private static final long MAX_PAUSE_NANOS = 1_000_000;

  /** After so long, messages that nobody expects may be what others wait to get rid of. */
  private static final long PATIENCE_NANOS = 5_000_000;

  /** Patience with other groups, where much may come early that nobody waits to get rid of. */
  private static final long LONG_PATIENCE_NANOS = 1_000_000_000;

  /** How often one who waits asks whether the others are alive. */
  private static final long CHECK_NANOS = 20_000_000;

  private final SharedMessages messages;
  private final List<Optional<ProcessHandle>> processes;
  private final List<SharedMessages> ofAllGroups;
  private final HeartbeatMonitor watch;
  private final Duration timeout;
  private final long awakeNanos;
  private final Set<StartedTransfer> started = ConcurrentHashMap.newKeySet();
  private volatile boolean closed;

  private SharedMemoryCommunicator(
      RankGroup group,
      Device device,
      Handshake handshake,
      List<SharedMessages> ofAllGroups,
      HeartbeatMonitor watch,
      Duration timeout) {
    super(group, device);
    this.messages = new SharedMessages(handshake.memory(), group.rank(), group.size());
    this.processes = handshake.processes();
    this.ofAllGroups = ofAllGroups;
    this.watch = watch;
    this.timeout = timeout;
    this.awakeNanos = hasProcessorEach(group.mesh(), handshake) ? AWAKE_NANOS : 0;
    ofAllGroups.add(messages);
  }

  /**
   * Connects a group; all its members call this. Empty, for all of them, if not all share a memory.
   *
   * @param ofAllGroups gets this group's messages
   */
  static Optional<Communicator> connect(
      RankGroup group,
      Device device,
      RendezvousStore store,
      HeartbeatMonitor watch,
      List<SharedMessages> ofAllGroups) {
    return share(group, store)
        .map(
            handshake ->
                new SharedMemoryCommunicator(
                    group, device, handshake, ofAllGroups, watch, store.timeout()));
  }

  /**
   * The group's shared memory, and its members' processes.
   *
   * @param processes in the group's order; empty where this rank sees none of that number and age,
   *     as between containers
   */
  private record Handshake(MemorySegment memory, List<Optional<ProcessHandle>> processes) {}

  private static Optional<Handshake> share(RankGroup group, RendezvousStore store) {
    long bytes = SharedMessages.bytes(group.size());
    String key = "memory/" + group.key();
    Optional<Path> made = Optional.empty();
    if (group.rank() == 0) {
      made = create(group, bytes);
      store.put(key, made.map(Path::toString).orElse(NO_FILE));
    }
    try {
      String file = store.get(key);
      Optional<MemorySegment> memory =
          file.equals(NO_FILE) ? Optional.empty() : map(Path.of(file), bytes);
      store.put(
          key + "/" + group.rank(), memory.isPresent() ? name(ProcessHandle.current()) : NO_FILE);
      if (group.rank() == 0) { // who reads what all have said, for all
        store.put(
            key + "/all",
            IntStream.range(0, group.size())
                .mapToObj(i -> store.get(key + "/" + i))
                .collect(Collectors.joining("\n")));
      }
      List<String> members = store.get(key + "/all").lines().toList();
      return members.contains(NO_FILE)
          ? Optional.empty()
          : memory.map(
              its -> new Handshake(its, members.stream().map(name -> process(name)).toList()));
    } finally {
      made.ifPresent(SharedMemory::delete); // all have mapped it
    }
  }

  /** Whether no rank waits for a processor, so that those who wait for a message may have one. */
  private static boolean hasProcessorEach(Mesh mesh, Handshake handshake) {
    long processes = handshake.processes().stream().distinct().count();
    return processes == 1 // ranks are threads
        ? mesh.size() <= Runtime.getRuntime().availableProcessors()
        : !Boolean.getBoolean(LocalLauncher.CROWDED);
  }

  /** A process's number and when it started, by which others see whether it is the same one. */
  private static String name(ProcessHandle process) {
    return process.pid() + " " + process.info().startInstant().map(Instant::toString).orElse("");
  }

  private static Optional<ProcessHandle> process(String name) {
    return ProcessHandle.of(Long.parseLong(name.split(" ", 2)[0]))
        .filter(process -> name(process).equals(name));
  }

  private static Optional<Path> create(RankGroup group, long bytes) {
    if (!SharedMemory.isSupported()) {
      return Optional.empty();
    }
    try {
      return Optional.of(SharedMemory.create(bytes));
    } catch (IOException e) {
      LOG.warn(
          "{} has no room for {} MB of messages over {} ({}), which take the network; make it"
              + " larger, as with docker run --shm-size",
          SharedMemory.FOLDER,
          Math.ceilDiv(bytes, 1_000_000),
          group.name(),
          e.getMessage());
      return Optional.empty();
    }
  }

  private static Optional<MemorySegment> map(Path file, long bytes) {
    try {
      return Optional.of(SharedMemory.map(file, bytes));
    } catch (NoSuchFileException _) {
      return Optional.empty(); // of another machine
    } catch (IOException e) {
      LOG.warn("{} cannot be mapped ({}); its messages take the network", file, e.getMessage());
      return Optional.empty();
    }
  }

  @Override
  WorkHandle startSend(Operation operation, Tensor tensor, int peer, int tag) {
    requireOpen(operation);
    Transfer transfer = messages.send(peer, tag, Tensors.bytes(tensor));
    return transfer.isDone() ? WorkHandle.done() : started(operation, peer, transfer, tensor);
  }

  @Override
  WorkHandle startReceive(Operation operation, Tensor into, int peer, int tag) {
    return receive(operation, peer, tag, PartSink.copyTo(Tensors.bytes(into)), into);
  }

  /** Adds what arrives where it lies, so that no copy of it goes through the memory. */
  @Override
  WorkHandle startReceiveSum(Operation operation, Tensor sum, Tensor mine, int peer, int tag) {
    MemorySegment out = Tensors.bytes(sum);
    MemorySegment own = Tensors.bytes(mine);
    ScalarType type = Tensors.scalarType(sum);
    long elementBytes = sum.element_size();
    PartSink adding =
        (offset, part) -> {
          try (Scope scope = Scope.open();
              Arena arena = Arena.ofConfined()) {
            long bytes = part.byteSize();
            long count = bytes / elementBytes;
            MemorySegment there =
                part.isNative() ? part : arena.allocate(bytes, elementBytes).copyFrom(part);
            torch.add_out(
                Tensors.view(out.asSlice(offset, bytes), type, count),
                Tensors.view(own.asSlice(offset, bytes), type, count),
                Tensors.view(there, type, count));
          }
        };
    return receive(operation, peer, tag, adding, sum, mine);
  }

  /** Starts to receive as many bytes as each of these tensors has. */
  private WorkHandle receive(
      Operation operation, int peer, int tag, PartSink sink, Tensor... tensors) {
    requireOpen(operation);
    try {
      long bytes = Tensors.bytes(tensors[0]).byteSize();
      Transfer transfer = messages.receive(peer, tag, bytes, sink);
      return started(operation, peer, transfer, tensors);
    } catch (IllegalStateException e) {
      throw failed(operation, e);
    }
  }

  private WorkHandle started(Operation operation, int peer, Transfer transfer, Tensor... tensors) {
    StartedTransfer pending =
        new StartedTransfer(operation, peer, transfer, new RetainedTensors(tensors));
    started.add(pending);
    if (closed) { // meanwhile, by another thread
      pending.free();
      requireOpen(operation);
    }
    return pending;
  }

  private void requireOpen(Operation operation) {
    if (closed) {
      throw new DistributedException(operation + ": the group is closed");
    }
  }

  /** Ends the group, whose ranks do not agree any more. */
  private DistributedException failed(Operation operation, RuntimeException cause) {
    close();
    return new DistributedException(operation + ": " + cause.getMessage(), cause);
  }

  @Override
  public void close() {
    closed = true;
    ofAllGroups.remove(messages);
    messages.close(); // touches no tensor after this
    List.copyOf(started).forEach(StartedTransfer::free);
  }

  private final class StartedTransfer implements WorkHandle {
    private final Operation operation;
    private final int peer; // rank in the group
    private final Transfer transfer;
    private final RetainedTensors retained;

    StartedTransfer(Operation operation, int peer, Transfer transfer, RetainedTensors retained) {
      this.operation = operation;
      this.peer = peer;
      this.transfer = transfer;
      this.retained = retained;
    }

    @Override
    public void await() {
      if (!started.contains(this)) {
        if (!transfer.isDone()) {
          requireOpen(operation);
        }
        return;
      }
      long began = System.nanoTime();
      try {
        while (!transfer.isDone()) {
          if (!messages.advance(false)) {
            if (System.nanoTime() - began < awakeNanos) {
              Thread.onSpinWait();
            } else {
              awaitLong(began);
            }
          }
          requireOpen(operation);
        }
      } catch (DistributedException e) {
        throw e;
      } catch (RuntimeException e) { // of another length, or one that could not be added
        throw failed(operation, e);
      }
      free();
    }

    /**
     * Waits with pauses, in which others have the processor, and sees whether the peer is alive.
     */
    private void awaitLong(long began) {
      long checked = System.nanoTime();
      long pause = MIN_PAUSE_NANOS;
      watch.begin(operation);
      try {
        while (!transfer.isDone() && !closed) {
          long now = System.nanoTime();
          boolean moved = false;
          for (SharedMessages group : ofAllGroups) {
            long patience = group == messages ? PATIENCE_NANOS : LONG_PATIENCE_NANOS;
            moved |= group.advance(now - began > patience);
          }
          if (moved) {
            pause = MIN_PAUSE_NANOS;
            continue;
          }
          if (now - checked > CHECK_NANOS) {
            requireAlive(began);
            checked = now;
          }
          LockSupport.parkNanos(pause);
          pause = Math.min(2 * pause, MAX_PAUSE_NANOS);
        }
      } finally {
        watch.goOn();
      }
    }

    private void requireAlive(long began) {
      int rank = group().ranks().get(peer);
      boolean gone =
          watch.hasFailure()
              || watch.hasEnded(rank)
              || processes.get(peer).filter(process -> !process.isAlive()).isPresent();
      boolean late = System.nanoTime() - began > timeout.toNanos();
      boolean interrupted = Thread.currentThread().isInterrupted();
      messages.advance(true); // what it sent before
      if (transfer.isDone() || !(gone || late || interrupted)) {
        return;
      }
      close();
      if (interrupted) {
        throw new DistributedException("interrupted in " + operation);
      }
      String reason = gone ? "another rank has ended" : "it takes too long";
      throw watch.explain(operation, began, List.of(rank), new DistributedException(reason));
    }

    private void free() {
      if (started.remove(this)) {
        retained.close();
      }
    }
  }
}
