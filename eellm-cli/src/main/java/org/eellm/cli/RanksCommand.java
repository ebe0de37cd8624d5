package org.eellm.cli;

import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.LocalRanks;
import org.eellm.cli.option.RankOptions;
import org.eellm.cli.option.Usage;
import org.eellm.distributed.MeshCheck;
import org.eellm.distributed.World;
import org.eellm.distributed.collective.DistributedBackend;
import org.eellm.distributed.launch.RankInfo;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.tensor.Torch;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm ranks}: whether the ranks of a job find and understand each other. */
@Command(
    name = "ranks",
    description = {
      "Connects the ranks of a job as eellm train would, says where each one is, and measures every"
          + " axis of the mesh.",
      "Start it as you would start the training: docs/cluster.md."
    })
final class RanksCommand extends EellmCommand {
  @Mixin private RankOptions ranks;
  @Mixin private JsonOption json;

  @Option(names = "--tp", defaultValue = "1", description = "Tensor-parallel size.")
  private int tp;

  @Option(names = "--cp", defaultValue = "1", description = "Context-parallel size.")
  private int cp;

  @Option(names = "--pp", defaultValue = "1", description = "Pipeline stages.")
  private int pp;

  @Option(names = "--dp", description = "Data-parallel size (default: what is left).")
  private Optional<Integer> dp = Optional.empty();

  @Option(
      names = "--transport",
      defaultValue = "cpu",
      description =
          "cpu, which is memory within a machine and Gloo between machines; gloo alone; or nccl,"
              + " for GPUs (default: ${DEFAULT-VALUE}).")
  private DistributedBackend transport;

  @Option(
      names = "--timeout",
      defaultValue = "60",
      paramLabel = "SECONDS",
      description = "How long to wait for ranks (default: ${DEFAULT-VALUE}).")
  private int timeout;

  /** The report of {@code --json}. */
  private record Report(String mesh, List<String> ranks, List<MeshCheck.Axis> axes) {}

  @Override
  public Integer call() throws UnknownHostException {
    Usage.require(spec, timeout >= 1, "--timeout: %d: use at least 1", timeout);
    Optional<Integer> toLaunch = ranks.toLaunch(spec);
    int size = toLaunch.or(() -> RankInfo.detect(System.getenv()).map(RankInfo::size)).orElse(1);
    int left = Math.max(1, size / Math.max(1, tp * cp * pp));
    Mesh mesh = new Mesh(tp, cp, dp.orElse(left), pp);
    mesh.requireSize(size);
    if (toLaunch.isPresent()) {
      return ranks.launch(spec, size, List::of);
    }
    String host = InetAddress.getLocalHost().getHostName();
    return LocalRanks.inWorld(
        mesh, Duration.ofSeconds(timeout), transport, world -> meet(world, host));
  }

  private int meet(World world, String host) {
    String here =
        "%s  %s, process %d, %s, threads: %d"
            .formatted(
                world.mesh().name(world.rank()),
                host,
                ProcessHandle.current().pid(),
                transport == DistributedBackend.NCCL ? "cuda" : "cpu",
                Torch.threads());
    List<String> places =
        world.all().gatherBytes(here.getBytes(StandardCharsets.UTF_8)).stream()
            .map(bytes -> new String(bytes, StandardCharsets.UTF_8))
            .toList();
    List<MeshCheck.Axis> axes = MeshCheck.run(world);
    if (world.rank() == 0) {
      print(new Report(world.mesh().toString(), places, axes));
    }
    return ExitCode.OK;
  }

  private void print(Report report) {
    PrintWriter out = out();
    if (json.requested()) {
      JsonOption.print(out, report);
      return;
    }
    out.printf("%d ranks, %s%n", report.ranks().size(), report.mesh());
    report.ranks().forEach(out::println);
    for (MeshCheck.Axis axis : report.axes()) {
      out.printf(
          "all-reduce over %s (%d ranks)  %.2f ms for a number, %.2f GB/s for 8 MiB%n",
          axis.axis(), axis.size(), axis.seconds() * 1e3, axis.bytesPerSecond() / 1e9);
    }
    out.println("All ranks understand each other.");
  }
}
