package org.eellm.cli.bench;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import org.eellm.bench.PipelineBenchmark;
import org.eellm.bench.PipelineBenchmark.Measured;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.MeshOptions;
import org.eellm.cli.option.ModelOptions;
import org.eellm.config.ConfigException;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.Sampler;
import org.eellm.distributed.World;
import org.eellm.tensor.Torch;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code eellm bench pipeline}: generation on several ranks, beside one. */
@Command(
    name = "pipeline",
    description = {
      "Time generation with early exits on several ranks beside a single one, in turns.",
      "Give --pp N --nproc N --threads 1 for pipeline stages of one thread each."
    })
final class BenchPipelineCommand implements Callable<Integer> {
  /**
   * Before the first threshold, until Java has compiled most of it; it takes that long on two
   * cores.
   */
  private static final Duration WARM_UP = Duration.ofSeconds(20);

  @Spec private CommandSpec spec;
  @Mixin private ModelOptions modelOptions;
  @Mixin private MeshOptions meshOptions;
  @Mixin private JsonOption json;

  @Option(
      names = "--prompt",
      required = true,
      paramLabel = "TEXT",
      description = "A text to continue; may be given several times.")
  private List<String> prompts;

  @Option(
      names = "--threshold",
      split = ",",
      paramLabel = "X",
      defaultValue = "0.8,0.4,0.2,0.1",
      description = "Thresholds of max-probability to measure at (default: ${DEFAULT-VALUE}).")
  private List<Double> thresholds;

  @Option(
      names = "--max-tokens",
      defaultValue = "100",
      paramLabel = "N",
      description = "Tokens of each text (default: ${DEFAULT-VALUE}).")
  private int maxTokens;

  @Option(
      names = "--rounds",
      defaultValue = "5",
      paramLabel = "N",
      description = "Measurements of each kind (default: ${DEFAULT-VALUE}).")
  private int rounds;

  /** The object that {@code --json} prints for a threshold. */
  private record Row(double threshold, Measured measured) {}

  @Override
  public Integer call() {
    BenchOptions.requireAtLeast(spec, "--max-tokens", maxTokens, 2);
    BenchOptions.requireAtLeast(spec, "--rounds", rounds, 1);
    Optional<Integer> toLaunch = meshOptions.toLaunch(spec);
    if (meshOptions.isAlone()) {
      throw new ConfigException("there is one rank to measure; give --pp 2 --nproc 2, or --tp");
    }
    if (toLaunch.isPresent()) {
      return MeshOptions.launch(spec, toLaunch.get());
    }
    return meshOptions.inWorld(
        modelOptions.device(),
        world -> {
          if (world.rank() == 0) {
            try (LoadedModel whole = modelOptions.load();
                LoadedModel part = part(world)) {
              measure(whole, part, world);
            }
          } else {
            try (LoadedModel part = part(world)) {
              thresholds.forEach(
                  threshold ->
                      PipelineBenchmark.takePart(part.decoder(), world, requests(part, threshold)));
            }
          }
          return ExitCode.OK;
        });
  }

  private LoadedModel part(World world) {
    return meshOptions.load(modelOptions, world);
  }

  private void measure(LoadedModel whole, LoadedModel part, World world) {
    PrintWriter out = spec.commandLine().getOut();
    if (!json.requested()) {
      out.printf(
          "%s, threads a rank: %d, %d texts of %d tokens, median of %d rounds%n",
          world.mesh(), Torch.threads(), prompts.size(), maxTokens, rounds);
      out.println("threshold  one rank ms  this mesh ms  faster by  left at each head, %");
    }
    Duration warmUp = WARM_UP;
    for (double threshold : thresholds) {
      Measured measured =
          PipelineBenchmark.measure(
              whole.decoder(), part.decoder(), world, requests(part, threshold), warmUp, rounds);
      warmUp = Duration.ZERO;
      json.print(out, new Row(threshold, measured), () -> print(threshold, measured, out));
    }
  }

  private List<Request> requests(LoadedModel part, double threshold) {
    ExitPolicy policy = ExitPolicies.maxProbability(Threshold.of(threshold));
    return part.prompts(prompts).stream()
        .map(ids -> new Request(ids, maxTokens, Set.of(), policy, Sampler.greedy()))
        .toList();
  }

  private static void print(double threshold, Measured row, PrintWriter out) {
    out.printf(
        "%9.2f %12.2f %13.2f %8.0f %%  %s%s%n",
        threshold,
        1e3 * row.alone(),
        1e3 * row.staged(),
        100 * (row.ratio() - 1),
        String.join(" ", row.left().stream().map(share -> "%.0f".formatted(100 * share)).toList()),
        row.same() ? "" : "  (other ids)");
    out.flush();
  }
}
