package org.eellm.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.eellm.bench.HardwareBenchmark;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.LocalRanks;
import org.eellm.cli.option.Machine;
import org.eellm.cli.option.RankOptions;
import org.eellm.cli.option.Usage;
import org.eellm.config.yaml.StrictYaml;
import org.eellm.cost.Hardware;
import org.eellm.decode.engine.cpu.KernelProperties;
import org.eellm.distributed.collective.DistributedBackend;
import org.eellm.distributed.launch.RankInfo;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.kernel.machine.MachineMemory;
import org.eellm.tensor.DeviceThroughput;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** {@code eellm doctor}: what this machine has, how fast it is, and what is set up badly. */
@Command(
    name = "doctor",
    description = "Say what this machine has, measure it, and warn of what is set up badly.")
final class DoctorCommand extends EellmCommand {
  private static final double GIB = 1L << 30;

  @Mixin private JsonOption json;

  @Option(
      names = "--seconds",
      defaultValue = "1",
      description = "How long to measure each rate (default: ${DEFAULT-VALUE}).")
  private double seconds;

  @Option(
      names = "--profile",
      paramLabel = "FILE",
      description =
          "Measure instead what eellm plan --hardware needs to know of this machine's CPU, and"
              + " write it to a .yaml file; with --nproc, as many ranks as the plan will have"
              + " (docs/plan.md).")
  private Optional<Path> profile = Optional.empty();

  @Mixin private RankOptions ranks;

  /** The report of {@code --json}; rates are in FLOP/s and bytes/s. */
  private record Report(
      String eellm,
      String java,
      Machine machine,
      DecodingKernels decoding,
      List<SetupProblem> traps) {}

  @Override
  public Integer call() throws IOException {
    Optional<Integer> toLaunch = ranks.toLaunch(spec);
    if (profile.isPresent()) {
      return toLaunch.isPresent()
          ? ranks.launch(spec, toLaunch.get(), List::of)
          : measure(profile.get());
    }
    Usage.require(
        spec, toLaunch.isEmpty(), "--nproc: has no effect here; give --profile FILE as well");
    KernelProperties.check(); // what is wrong is said at once
    Machine machine = Machine.inspect(seconds);
    Report report =
        new Report(
            RootCommand.Version.number(),
            Runtime.version().toString(),
            machine,
            DecodingKernels.find(),
            SetupProblem.of(machine));
    json.print(out(), report, () -> print(report, out()));
    return ExitCode.OK;
  }

  private int measure(Path file) {
    int count =
        RankInfo.detect(System.getenv())
            .map(RankInfo::size)
            .filter(size -> size > 1)
            .orElseThrow(
                () ->
                    new ParameterException(
                        spec.commandLine(),
                        "--profile: ranks that compute and talk at the same time are measured; add"
                            + " --nproc 2, or as many as the plan has"));
    long memory = MachineMemory.bytes();
    return LocalRanks.inWorld(
        new Mesh(1, count, 1),
        Duration.ofMinutes(10),
        DistributedBackend.CPU,
        world -> {
          HardwareBenchmark.Report report = HardwareBenchmark.run(world, seconds, memory);
          if (world.rank() == 0) {
            write(report, file);
          }
          return ExitCode.OK;
        });
  }

  private void write(HardwareBenchmark.Report report, Path file) {
    PrintWriter out = out();
    try {
      StrictYaml.write(report.hardware(), file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    if (json.requested()) {
      JsonOption.print(out, report);
      return;
    }
    Hardware hardware = report.hardware();
    out.printf("%d ranks of %d threads, all at the same time%n", report.ranks(), report.threads());
    for (HardwareBenchmark.Product product : report.products()) {
      out.printf(
          "products       %6.0f GFLOP/s, [1024, %d] x [%2$d, %2$d] in %s%n",
          product.flopsPerSecond() / 1e9,
          product.width(),
          product.dtype().name().toLowerCase(Locale.ROOT));
    }
    out.printf(
        "attention      %6.0f GFLOP/s in float32, %.0f in bfloat16%n",
        1000 * hardware.float32().attention(), 1000 * hardware.bfloat16().attention());
    out.printf("elementwise    %6.1f GB/s%n", hardware.streamGbPerSecond());
    out.printf("update         %6.1f GB/s%n", hardware.memoryGbPerSecond());
    out.printf("an operation   %6.1f us%n", hardware.operationMicroseconds());
    print("messages", hardware.insideNode().message(), out);
    print("collectives", hardware.insideNode().collective(), out);
    out.printf("a process      %6.2f GiB beside its tensors%n", hardware.baseGib());
    out.printf("written to %s: use it with eellm plan --hardware %s%n", file, file);
  }

  private static void print(String name, Hardware.Link link, PrintWriter out) {
    out.printf("%-14s %6.1f us, %.2f GB/s%n", name, link.microseconds(), link.gbPerSecond());
  }

  private static void print(Report report, PrintWriter out) {
    Machine machine = report.machine();
    out.printf("eellm      %s on Java %s%n", report.eellm(), report.java());
    out.printf(
        "libtorch   %s%n",
        machine
            .libtorch()
            .map(found -> "%s with %s".formatted(found.version(), found.blas()))
            .or(machine::libtorchProblem)
            .orElse("none: this eellm decodes on CPUs; docs/operate.md says how to add it"));
    out.printf("system     %s, %s%n", machine.os(), machine.architecture());
    out.printf(
        "processor  %d cores%s; %s%n",
        machine.cores(),
        machine.libtorch().map(found -> ", %d threads".formatted(found.threads())).orElse(""),
        String.join(" ", machine.cpuFeatures()));
    out.printf("memory     %.1f GiB", machine.memoryBytes() / GIB);
    machine.memoryAvailableBytes().ifPresent(bytes -> out.printf(", %.1f free", bytes / GIB));
    out.printf("%ndisk       %.1f GiB free in this folder%n", machine.diskFreeBytes() / GIB);
    machine
        .libtorch()
        .ifPresent(
            found -> {
              out.printf(
                  "GPU        %s%n", found.cudaDevices() == 0 ? "none" : found.cudaDevices());
              print("CPU", found.cpu(), out);
              found.cuda().ifPresent(rates -> print("GPU", rates, out));
            });
    String name = "decoding";
    for (String line : report.decoding().lines()) {
      out.printf("%-10s %s%n", name, line);
      name = "";
    }
    out.println();
    for (SetupProblem trap : report.traps()) {
      out.println("warning: " + trap.problem());
      out.println("         " + trap.remedy());
    }
    if (report.traps().isEmpty()) {
      out.println("Everything is set up well.");
    }
  }

  private static void print(String device, DeviceThroughput.Measured rates, PrintWriter out) {
    out.printf(
        "%s rates  %.0f GFLOP/s in float32, %.0f in bfloat16; reads %.1f GB/s%n",
        device, rates.float32() / 1e9, rates.bfloat16() / 1e9, rates.memory() / 1e9);
  }
}
