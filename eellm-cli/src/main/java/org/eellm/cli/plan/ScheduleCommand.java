package org.eellm.cli.plan;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.PlainOutput;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.schedule.Costs;
import org.eellm.schedule.FillSearch;
import org.eellm.schedule.FillSearch.Count;
import org.eellm.schedule.Fills;
import org.eellm.schedule.MicrobatchId;
import org.eellm.schedule.MicrobatchId.CooldownFill;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.MicrobatchId.WarmupFill;
import org.eellm.schedule.Schedule;
import org.eellm.schedule.ScheduleException;
import org.eellm.schedule.ScheduleKind;
import org.eellm.schedule.Schedules;
import org.eellm.schedule.Timeline;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.TypeConversionException;

/** {@code eellm schedule}: simulates a pipeline schedule and draws its timeline. */
@Command(
    name = "schedule",
    description =
        "Simulate a pipeline schedule and draw its timeline; docs/pipeline.md explains it.",
    footerHeading =
        "%nTime is counted in forward passes of one layer; backward takes twice that, half of it"
            + " for the weights' gradients.%n")
public final class ScheduleCommand extends EellmCommand {
  /** Of the time that forward passes take. */
  private static final double BACKWARD = 2;

  private static final Map<String, ScheduleKind> KINDS = new LinkedHashMap<>();

  static {
    KINDS.put("1f1b", ScheduleKind.ONE_F_ONE_B);
    KINDS.put("afab", ScheduleKind.ALL_FORWARD_ALL_BACKWARD);
    KINDS.put("interleaved", ScheduleKind.INTERLEAVED);
    KINDS.put("zero-bubble", ScheduleKind.ZERO_BUBBLE);
    KINDS.put("tuning", ScheduleKind.TUNING);
  }

  @Option(names = "--pp", required = true, paramLabel = "STAGES", description = "Pipeline stages.")
  private int stages;

  @Option(
      names = "--microbatches",
      required = true,
      paramLabel = "N",
      description = "Microbatches of a step.")
  private int microbatches;

  @Option(
      names = "--layers",
      defaultValue = "32",
      paramLabel = "N",
      description = "Layers of the model (default: ${DEFAULT-VALUE}).")
  private int layers;

  @Option(
      names = "--exits",
      split = ",",
      paramLabel = "LAYER",
      description = "Layers, from 1, after which there are exits, as in --exits 8,16.")
  private List<Integer> exits = List.of();

  @Option(
      names = "--pre-exit",
      description =
          "An exit after a stage's last layer runs behind the boundary, on the next stage.")
  private boolean preExit;

  @Option(
      names = "--kind",
      defaultValue = "1f1b",
      converter = KindConverter.class,
      description =
          "1f1b; afab, all forward, all backward; interleaved; zero-bubble; or tuning, forward only"
              + " (default: ${DEFAULT-VALUE}).")
  private ScheduleKind kind = ScheduleKind.ONE_F_ONE_B;

  @Option(
      names = "--chunks",
      paramLabel = "N",
      description = "Chunks a stage (default: 2 for interleaved, 1 for the others).")
  private Optional<Integer> chunks = Optional.empty();

  @Option(
      names = "--fill-warmup",
      defaultValue = "0",
      converter = CountConverter.class,
      paramLabel = "N|auto",
      description =
          "Extra microbatches in the first bubble; auto: the most that cost no time (default:"
              + " ${DEFAULT-VALUE}).")
  private Count warmup = new Count.Exactly(0);

  @Option(
      names = "--fill-cooldown",
      defaultValue = "0",
      converter = CountConverter.class,
      paramLabel = "N|auto",
      description = "The same for the last bubble (default: ${DEFAULT-VALUE}).")
  private Count cooldown = new Count.Exactly(0);

  @Option(
      names = "--head-cost",
      defaultValue = "3",
      paramLabel = "X",
      description =
          "Time of a head forward and backward (default: ${DEFAULT-VALUE}, like a layer).")
  private double headCost;

  @Option(
      names = "--transfer-cost",
      defaultValue = "0",
      paramLabel = "X",
      description = "Time of a message between stages (default: ${DEFAULT-VALUE}).")
  private double transferCost;

  @Option(names = "--svg", paramLabel = "FILE", description = "Draw an SVG picture, too.")
  private Optional<Path> picture = Optional.empty();

  @Override
  public Integer call() throws IOException {
    try {
      report();
    } catch (ScheduleException e) {
      throw new ParameterException(spec.commandLine(), e.getMessage(), e);
    }
    return ExitCode.OK;
  }

  private void report() throws IOException {
    int chunkCount = chunks.orElse(kind == ScheduleKind.INTERLEAVED ? 2 : 1);
    // Before anything is computed from the shape, it has to be possible.
    Schedule plain = Schedules.emit(kind, stages, chunkCount, microbatches);
    requireModel(plain.virtualStages());
    List<Slice> slices =
        StageLayout.even(
                layers,
                exits.stream().sorted().toList(),
                plain.virtualStages(),
                preExit,
                kind != ScheduleKind.TUNING)
            .slices();
    Costs costs = costs(slices);
    Fills fills = fills(slices, costs);
    Schedule schedule = Schedules.emit(kind, stages, chunkCount, microbatches, fills);
    Timeline timeline = Timeline.of(schedule, costs);
    if (picture.isPresent()) {
      Files.writeString(
          picture.get(),
          TimelineSvg.draw(
              timeline, title(schedule), summary(timeline), "forward passes of one layer"));
    }
    print(timeline, slices, out());
  }

  private void requireModel(int virtualStages) {
    require(
        layers >= virtualStages,
        "--layers: %d layers cannot be cut into %d virtual stages; use at least %d layers"
            .formatted(layers, virtualStages, virtualStages));
    for (int exit : exits) {
      require(
          exit >= 1 && exit <= layers,
          "--exits: %d is not one of the %d layers; use 1 to %d".formatted(exit, layers, layers));
    }
    require(
        exits.stream().distinct().count() == exits.size(),
        "--exits: %s has a layer twice; name each once".formatted(exits));
    require(
        headCost >= 0 && Double.isFinite(headCost),
        "--head-cost: %s is not a time; use 0 or more".formatted(headCost));
    require(
        transferCost >= 0 && Double.isFinite(transferCost),
        "--transfer-cost: %s is not a time; use 0 or more".formatted(transferCost));
  }

  private void require(boolean condition, String message) {
    if (!condition) {
      throw new ParameterException(spec.commandLine(), message);
    }
  }

  /** The virtual stages' costs, in forward passes of one layer. */
  private Costs costs(List<Slice> slices) {
    List<Double> forward = slices.stream().map(slice -> (double) slice.layers()).toList();
    return new Costs(
        forward,
        forward.stream().map(time -> BACKWARD * time).toList(),
        forward,
        slices.stream()
            .map(slice -> headCost * (slice.exits().size() + (slice.hasFinalHead() ? 1 : 0)))
            .toList(),
        false,
        transferCost);
  }

  private Fills fills(List<Slice> slices, Costs costs) {
    Count none = new Count.Exactly(0);
    if (warmup.equals(none) && cooldown.equals(none)) {
      return Fills.none();
    }
    require(
        kind == ScheduleKind.ONE_F_ONE_B,
        "--fill-warmup, --fill-cooldown: only the 1f1b schedule can be filled; use --kind 1f1b");
    List<Integer> exitStages =
        IntStream.range(0, slices.size())
            .filter(v -> !slices.get(v).exits().isEmpty())
            .boxed()
            .toList();
    return FillSearch.find(warmup, cooldown, stages, microbatches, exitStages, costs);
  }

  private void print(Timeline timeline, List<Slice> slices, PrintWriter out) {
    Schedule schedule = timeline.schedule();
    out.println(title(schedule));
    out.println();
    TimelineText.draw(timeline, spec.usageMessage().width(), Ansi.AUTO)
        .forEach(PlainOutput.raw(out)::println);
    out.println();
    out.println("stage     idle  peak live  layers and exits");
    for (int stage = 0; stage < stages; stage++) {
      out.printf(
          "%5d  %5.1f %%  %9d  %s%n",
          stage,
          100 * timeline.idleShare(stage),
          timeline.peakLive().get(stage),
          contents(schedule, stage, slices));
    }
    out.println();
    fillLines(schedule).forEach(out::println);
    out.println(summary(timeline));
  }

  private static String contents(Schedule schedule, int stage, List<Slice> slices) {
    return IntStream.range(0, schedule.chunks())
        .mapToObj(chunk -> slices.get(schedule.virtualStage(stage, chunk)))
        .map(
            slice ->
                (slice.layers() == 1 ? "" : slice.firstLayer() + 1 + "-")
                    + slice.endLayer()
                    + (slice.exits().isEmpty()
                        ? ""
                        : " with exit " + PlanText.joined(slice.exits())))
        .collect(Collectors.joining("; "));
  }

  private String title(Schedule schedule) {
    String exitNames =
        exits.isEmpty() ? "no exits" : "exits after layers " + PlanText.joined(exits);
    return "%s on %d stages%s: %d microbatches%s, %d layers, %s"
        .formatted(
            schedule.kind().title(),
            stages,
            schedule.chunks() > 1 ? " of %d chunks".formatted(schedule.chunks()) : "",
            microbatches,
            fillCount(schedule),
            layers,
            exitNames);
  }

  private static String fillCount(Schedule schedule) {
    int count = schedule.microbatchIds().size() - schedule.microbatches();
    return count == 0 ? "" : " and %d fills".formatted(count);
  }

  private static String summary(Timeline timeline) {
    return "step %.1f forward passes of a layer, bubble share %.1f %%, peak live activations %d"
        .formatted(
            timeline.makespan(),
            100 * timeline.bubbleShare(),
            timeline.peakLive().stream().mapToInt(Integer::intValue).max().orElseThrow());
  }

  private static List<String> fillLines(Schedule schedule) {
    List<String> lines = new ArrayList<>();
    for (MicrobatchId id : schedule.microbatchIds()) {
      String name = "fill " + TimelineWork.label(id, schedule.microbatches());
      int last = schedule.stages() - 1;
      switch (id) {
        case Regular _ -> {}
        case WarmupFill(_, int depth) ->
            lines.add("%s: %s forward and back".formatted(name, range(0, depth - 1)));
        case CooldownFill(_, int firstStage) ->
            lines.add(
                "%s: %s forward, %s back".formatted(name, range(0, last), range(firstStage, last)));
      }
    }
    if (!lines.isEmpty()) {
      lines.add("");
    }
    return lines;
  }

  private static String range(int from, int to) {
    return from == to ? "stage " + from : "stages %d-%d".formatted(from, to);
  }

  static final class KindConverter implements ITypeConverter<ScheduleKind> {
    @Override
    public ScheduleKind convert(String name) {
      ScheduleKind kind = KINDS.get(name);
      if (kind == null) {
        throw new TypeConversionException(
            "'%s' is no schedule; use %s".formatted(name, String.join(", ", KINDS.keySet())));
      }
      return kind;
    }
  }

  static final class CountConverter implements ITypeConverter<Count> {
    @Override
    public Count convert(String text) {
      if (text.equals("auto")) {
        return new Count.Automatic();
      }
      try {
        return new Count.Exactly(Integer.parseInt(text));
      } catch (NumberFormatException | ScheduleException _) {
        throw new TypeConversionException(
            "'%s' is no number of fills; use auto, 0 or more".formatted(text));
      }
    }
  }
}
