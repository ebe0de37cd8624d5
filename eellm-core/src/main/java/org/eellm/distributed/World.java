package org.eellm.distributed;

import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Device;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.collective.CommunicatorFactory;
import org.eellm.distributed.collective.DistributedBackend;
import org.eellm.distributed.launch.RankInfo;
import org.eellm.distributed.launch.RankInfo.StoreHost;
import org.eellm.distributed.mesh.Coordinate;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.distributed.mesh.RankGroup;
import org.eellm.distributed.message.PeerChannel;
import org.eellm.distributed.message.StageTransport;
import org.eellm.distributed.rendezvous.HeartbeatMonitor;
import org.eellm.distributed.rendezvous.RendezvousStore;
import org.eellm.tensor.Torch;

/**
 * One rank's view of all ranks: its place in the {@link Mesh}, and the groups it belongs to.
 *
 * <p>The same code runs with one rank ({@link #singleRank}), and with a process a rank on any
 * number of machines ({@link #fromEnvironment}). A world, its groups and its operations belong to
 * the thread that made it.
 */
public final class World implements AutoCloseable {
  /** How long the rank that hosts the store waits at the end for the others to need it no more. */
  private static final Duration GRACE = Duration.ofSeconds(5);

  private final Mesh mesh;
  private final int rank;
  private Optional<Device> device; // the CPU, where libtorch has not been asked for it yet
  private final Optional<Connected> connected;
  private final Communicator all;
  private final Communicator tp;
  private final Communicator cp;
  private final Communicator dp;
  private final Communicator pp;
  private final StageTransport transport;
  private final Map<String, Communicator> lasting = new LinkedHashMap<>(); // closed in order

  /** Store, communicators and heartbeats of several ranks, which a world of one has not. */
  private record Connected(
      RendezvousStore store,
      boolean hosts,
      CommunicatorFactory factory,
      HeartbeatMonitor monitor,
      BiFunction<RankGroup, Communicator, Communicator> groups) {}

  private World(DistributedBackend backend) {
    this.mesh = Mesh.ONE;
    this.rank = 0;
    this.device =
        backend == DistributedBackend.NCCL ? Optional.of(retained(Torch.cuda())) : Optional.empty();
    connected = Optional.empty();
    all = Communicator.singleRank();
    tp = Communicator.singleRank();
    cp = Communicator.singleRank();
    dp = Communicator.singleRank();
    pp = Communicator.singleRank();
    transport = new StageTransport(pp, pp);
  }

  private World(Mesh mesh, int rank, Connected connected) {
    this.mesh = mesh;
    this.rank = rank;
    this.device = Optional.of(connected.factory().device());
    this.connected = Optional.of(connected);
    Coordinate here = mesh.coordinate(rank);
    List<Integer> everyone = IntStream.range(0, mesh.size()).boxed().toList();
    all = group("all ranks", everyone);
    tp = group("tp", mesh.alongTp(here));
    cp = group("cp", mesh.alongCp(here));
    dp = group("dp", mesh.alongDp(here));
    pp = group("pp", mesh.alongPp(here));
    transport =
        new StageTransport(
            group("pp up", mesh.alongPp(here)), group("pp down", mesh.alongPp(here)));
    if (mesh.pp() > 1) {
      transport.connect(device());
    }
  }

  /** The world of a single rank, on the CPU; without libtorch until it is used. */
  public static World singleRank() {
    return new World(DistributedBackend.CPU);
  }

  /**
   * Joins the ranks that a launcher or a cluster's scheduler has started, or makes a world of one
   * where none has: see {@link RankInfo#detect}. Waits until all have come, and connects them.
   *
   * @param timeout how long ranks may take to come, and any operation to be done
   * @throws DistributedException if the mesh has another number of ranks, or if some do not come
   */
  public static World fromEnvironment(Mesh mesh, Duration timeout, DistributedBackend backend) {
    Optional<RankInfo> place = RankInfo.detect(System.getenv());
    if (place.isEmpty() && mesh.size() > 1) {
      throw new DistributedException(
          "the mesh %s has %d ranks, but this process was started alone; add --nproc %d, or start"
                  .formatted(mesh, mesh.size(), mesh.size())
              + " it with srun, mpirun, torchrun or Kubernetes (docs/cluster.md)");
    }
    RankInfo here = place.orElse(RankInfo.ALONE);
    return mesh.size() == 1 && here.size() == 1
        ? new World(backend)
        : connect(
            here,
            mesh,
            timeout,
            store -> new CommunicatorFactory(backend, store, here.localRank()),
            (_, group) -> group);
  }

  /**
   * Joins a world of several ranks.
   *
   * @param transport makes the groups
   * @param groups what becomes of each of them, such as one that delays messages
   */
  static World connect(
      RankInfo place,
      Mesh mesh,
      Duration timeout,
      Function<RendezvousStore, CommunicatorFactory> transport,
      BiFunction<RankGroup, Communicator, Communicator> groups) {
    mesh.requireSize(place.size());
    boolean hosts = place.rank() == 0 && place.storeHost() instanceof StoreHost.RankZero;
    String prefix =
        place.storeHost() instanceof StoreHost.Launcher(int attempt)
            ? "eellm/" + attempt + "/"
            : "";
    RendezvousStore store =
        hosts
            ? RendezvousStore.host(place.host(), place.port(), timeout)
            : RendezvousStore.open(place.host(), place.port(), prefix, timeout);
    CommunicatorFactory factory = transport.apply(store);
    HeartbeatMonitor monitor = HeartbeatMonitor.start(store, mesh, place.rank());
    return new World(mesh, place.rank(), new Connected(store, hosts, factory, monitor, groups));
  }

  /** The mesh of all ranks. */
  public Mesh mesh() {
    return mesh;
  }

  /** This rank. */
  public int rank() {
    return rank;
  }

  /** Where this rank is in the mesh. */
  public Coordinate coordinate() {
    return mesh.coordinate(rank);
  }

  /** How long any operation between ranks may take; nothing in a world of one. */
  public Duration timeout() {
    return connected.map(how -> how.store().timeout()).orElse(Duration.ZERO);
  }

  /** The device of this rank's tensors: the CPU, or this rank's own GPU. */
  public Device device() {
    if (device.isEmpty()) {
      device = Optional.of(retained(Torch.cpu()));
    }
    return device.get();
  }

  /** Or a scope around this call would free it. */
  private static Device retained(Device device) {
    return device.retainReference();
  }

  /** All ranks. */
  public Communicator all() {
    return all;
  }

  /** The ranks that share this one's layers and tokens; {@code tp} is the rank in it. */
  public Communicator tp() {
    return tp;
  }

  /** The ranks that share this one's sequences; {@code cp} is the rank in it. */
  public Communicator cp() {
    return cp;
  }

  /**
   * The ranks with the same parameters: those of {@code dp}, and in each place of it {@code cp}.
   */
  public Communicator dp() {
    return dp;
  }

  /** The stages of this rank's pipeline; the stage is the rank in it. */
  public Communicator pp() {
    return pp;
  }

  /** The transport of tensors between the stages of this rank's pipeline. */
  public StageTransport transport() {
    return transport;
  }

  /** All ranks of this one's stage. The first call connects them: each of them makes it. */
  public Communicator stage() {
    Coordinate here = coordinate();
    return lasting("stage", mesh.ranks(at -> at.pp() == here.pp()));
  }

  /**
   * The ranks of this one's tensor-parallel place on some stages, in all replicas. The first call
   * connects them: each of them makes it, and in the same order where it belongs to several.
   *
   * @param stages this rank's among them
   */
  public Communicator replicasOnStages(List<Integer> stages) {
    Coordinate here = coordinate();
    if (!stages.contains(here.pp())) {
      throw new DistributedException(
          "stages " + stages + " asked for by stage " + here.pp() + ", which is none of them");
    }
    return lasting(
        "stages " + stages, mesh.ranks(at -> at.tp() == here.tp() && stages.contains(at.pp())));
  }

  /** A group that this world closes. */
  private Communicator lasting(String name, List<Integer> ranks) {
    // A second group of the same name would find the first one's addresses on the store.
    return lasting.computeIfAbsent(name, _ -> group(name, ranks));
  }

  /**
   * Connects the stages of this rank's pipeline, of which there are several, for messages; each of
   * them calls this. The rank in the channel is the stage. The caller closes it.
   */
  public PeerChannel stageChannel() {
    return channel(pp, "pp", mesh.alongPp(coordinate()));
  }

  /**
   * Connects the ranks that share this one's layers, of which there are several, for messages; each
   * of them calls this. The rank in the channel is that in {@link #tp}. The caller closes it.
   */
  public PeerChannel tensorChannel() {
    return channel(tp, "tp", mesh.alongTp(coordinate()));
  }

  private PeerChannel channel(Communicator communicator, String name, List<Integer> ranks) {
    Connected how = connected.orElseThrow();
    return PeerChannel.connect(communicator, members(name, ranks), how.store(), how.monitor());
  }

  private Communicator group(String name, List<Integer> ranks) {
    RankGroup members = members(name, ranks);
    return connected
        .filter(_ -> members.size() > 1)
        .map(how -> how.groups().apply(members, how.factory().connect(members, how.monitor())))
        .orElseGet(Communicator::singleRank);
  }

  private RankGroup members(String name, List<Integer> ranks) {
    return new RankGroup(name, mesh, ranks, ranks.indexOf(rank));
  }

  /**
   * Lets the other ranks know that this one has failed, so that their messages name it and its
   * reason. To be followed by {@link #close}.
   */
  public void fail(Throwable reason) {
    connected.ifPresent(how -> how.monitor().fail(Torch.firstLine(reason)));
  }

  /**
   * Leaves the world. Operations under way are given up, here and on the other ranks: after a
   * failure they end soon, too.
   */
  @Override
  public void close() {
    connected.ifPresent(how -> how.monitor().leave());
    lasting.values().forEach(Communicator::close);
    transport.close();
    pp.close();
    dp.close();
    cp.close();
    tp.close();
    all.close();
    if (connected.isPresent()) {
      disconnect(connected.get());
    } else if (device.isPresent()) { // no lambda, which would need libtorch's classes
      device.get().releaseReference();
    }
  }

  private static void disconnect(Connected how) {
    if (how.hosts()) {
      how.monitor().awaitOthersEnd(GRACE);
    }
    how.monitor().close();
    how.store().close();
    how.factory().close();
  }
}
