package org.eellm.cli;

import static picocli.CommandLine.Help.Ansi.AUTO;

import java.io.IOException;
import java.io.PrintWriter;
import java.util.List;
import java.util.concurrent.Callable;
import org.eellm.tensor.Rates;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code eellm doctor}: what this machine has, how fast it is, and what is set up badly. */
@Command(
    name = "doctor",
    description = "Say what this machine has, measure it, and warn of what is set up badly.")
final class DoctorCommand implements Callable<Integer> {
  private static final double GIB = 1L << 30;

  @Spec private CommandSpec spec;
  @Mixin private JsonOption json;

  @Option(
      names = "--seconds",
      defaultValue = "1",
      description = "How long to measure each rate (default: ${DEFAULT-VALUE}).")
  private double seconds;

  /** The report of {@code --json}; rates are in FLOP/s and bytes/s. */
  private record Report(String eellm, String java, Machine machine, List<Trap> traps) {}

  @Override
  public Integer call() throws IOException {
    Machine machine = Machine.inspect(seconds);
    Report report =
        new Report(
            RootCommand.Version.number(), Runtime.version().toString(), machine, Trap.of(machine));
    PrintWriter out = spec.commandLine().getOut();
    if (json.requested()) {
      JsonOption.print(out, report);
    } else {
      print(report, out);
    }
    return ExitCode.OK;
  }

  private static void print(Report report, PrintWriter out) {
    Machine machine = report.machine();
    out.printf("eellm      %s on Java %s%n", report.eellm(), report.java());
    out.printf("libtorch   %s with %s%n", machine.libtorch(), machine.blas());
    out.printf("system     %s, %s%n", machine.os(), machine.architecture());
    out.printf(
        "processor  %d cores, %d threads; %s%n",
        machine.cores(), machine.threads(), String.join(" ", machine.cpuFeatures()));
    out.printf("memory     %.1f GiB", machine.memoryBytes() / GIB);
    machine.memoryAvailableBytes().ifPresent(bytes -> out.printf(", %.1f free", bytes / GIB));
    out.printf("%ndisk       %.1f GiB free in this folder%n", machine.diskFreeBytes() / GIB);
    out.printf("GPU        %s%n", machine.cudaDevices() == 0 ? "none" : machine.cudaDevices());
    print("CPU", machine.cpu(), out);
    machine.cuda().ifPresent(rates -> print("GPU", rates, out));
    out.println();
    for (Trap trap : report.traps()) {
      out.println(AUTO.string("@|yellow warning:|@ ") + trap.problem());
      out.println("         " + trap.remedy());
    }
    if (report.traps().isEmpty()) {
      out.println("Everything is set up well.");
    }
    out.flush();
  }

  private static void print(String device, Rates.Measured rates, PrintWriter out) {
    out.printf(
        "%s rates  %.0f GFLOP/s in float32, %.0f in bfloat16; reads %.1f GB/s%n",
        device, rates.float32() / 1e9, rates.bfloat16() / 1e9, rates.memory() / 1e9);
  }
}
