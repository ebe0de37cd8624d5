package org.eellm.cli.plan;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.StringWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.eellm.cli.Commands;
import org.eellm.schedule.Costs;
import org.eellm.schedule.ScheduleKind;
import org.eellm.schedule.Schedules;
import org.eellm.schedule.Timeline;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.w3c.dom.Document;
import org.w3c.dom.NodeList;
import picocli.CommandLine.Help.Ansi;

final class ScheduleCommandTest {
  @TempDir Path folder;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  private int schedule(String arguments) {
    return Commands.run(
        out,
        err,
        Stream.concat(Stream.of("schedule"), Stream.of(arguments.split(" ")))
            .toArray(String[]::new));
  }

  private String text(String arguments) {
    out.getBuffer().setLength(0);
    assertThat(schedule(arguments)).as(err.toString()).isZero();
    return out.toString();
  }

  /** Forward passes of a layer that a step takes. */
  private double time(String arguments) {
    return figure("step (\\S+) forward passes", text(arguments));
  }

  private static double figure(String pattern, String text) {
    Matcher found = Pattern.compile(pattern).matcher(text);
    assertThat(found.find()).as(text).isTrue();
    return Double.parseDouble(found.group(1));
  }

  @Test
  void schedule_forPeople_drawsAndCounts() {
    assertThat(schedule("--pp 2 --microbatches 2 --layers 4 --head-cost 0")).isZero();
    assertThat(out.toString())
        .startsWith("1F1B on 2 stages: 2 microbatches, 4 layers, no exits\n")
        .contains("stage 0  0-------1-------................0======")
        .contains("\n    0   33.3 %          2  1-2\n    1   33.3 %          1  3-4\n")
        .endsWith(
            "step 18.0 forward passes of a layer, bubble share 33.3 %, peak live activations 2\n");
    assertThat(out.toString().lines()).allMatch(line -> line.length() <= 100);
    assertThat(err.toString()).isEmpty();
  }

  /**
   * The paper has a step longer by k heads where k stages have an exit, whatever M: there heads
   * wait for the gradient.
   */
  @ParameterizedTest
  @CsvSource({"8", "32"})
  void schedule_exitsBeforeTheLastStage_takeNoTime(int microbatches) {
    String shape = "--pp 4 --head-cost 3 --microbatches " + microbatches;
    double without = time(shape);

    assertThat(time(shape + " --exits 8,16")).isEqualTo(without);
    assertThat(time(shape + " --exits 8,16 --pre-exit")).isEqualTo(without);
  }

  @Test
  void schedule_preExit_movesExitsOnABoundaryBehindIt() {
    String shape = "--pp 4 --microbatches 4 --layers 8 --exits 2,3,8";

    assertThat(stages(shape))
        .containsExactly("1-2 with exit 2", "3-4 with exit 3", "5-6", "7-8 with exit 8");
    assertThat(stages(shape + " --pre-exit"))
        .containsExactly("1-2", "3-4 with exit 2, 3", "5-6", "7-8 with exit 8");
  }

  /** The layers and exits of each. */
  private List<String> stages(String arguments) {
    return text(arguments)
        .lines()
        .filter(line -> line.matches(" +\\d+ +[\\d.]+ % +\\d+  .*"))
        .map(line -> line.replaceFirst(".* % +\\d+  ", ""))
        .toList();
  }

  @Test
  void schedule_layersThatDoNotDivide_areSpread() {
    assertThat(stages("--pp 4 --microbatches 4 --layers 10"))
        .containsExactly("1-3", "4-6", "7-8", "9-10");
  }

  @Test
  void schedule_automaticFills_takeNoTimeAndFillBubbles() {
    String shape = "--pp 4 --microbatches 8 --exits 8,16 --head-cost 0";
    String plain = text(shape);
    String filled = text(shape + " --fill-warmup auto --fill-cooldown auto");

    assertThat(filled.lines().filter(line -> line.endsWith(" forward and back")))
        .extracting(line -> line.replaceFirst("fill .: ", ""))
        .containsExactly("stages 0-1 forward and back", "stage 0 forward and back");
    assertThat(filled.lines().filter(line -> line.contains("stages 0-3 forward, "))).hasSize(2);
    String step = "step (\\S+) forward";
    assertThat(figure(step, filled)).isEqualTo(figure(step, plain));
    String bubbles = "bubble share (\\S+) %";
    assertThat(figure(bubbles, filled)).isLessThan(figure(bubbles, plain));
  }

  @Test
  void schedule_tuning_leavesTheFinalHeadOut() {
    assertThat(time("--pp 2 --microbatches 4 --layers 2 --exits 1 --kind tuning"))
        .isEqualTo(4 * (1 + 3) + 1);
  }

  @Test
  void schedule_zeroBubble_isShorterByTwoThirdsOfTheBubble() {
    String shape = "--pp 4 --microbatches 8 --layers 4 --head-cost 0";

    assertThat(time(shape)).isEqualTo(3 * (8 + 3));
    assertThat(time(shape + " --kind zero-bubble")).isEqualTo(3 * 8 + 3);
  }

  @Test
  void schedule_svg_isAPictureWithEveryMicrobatch() throws Exception {
    Path file = folder.resolve("schedule.svg");
    String shape = "--pp 2 --microbatches 4 --exits 8,16 --fill-warmup 1 --svg ";
    assertThat(schedule(shape + file)).isZero();

    Document svg = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(file.toFile());
    NodeList texts = svg.getElementsByTagName("text");
    List<String> words =
        IntStream.range(0, texts.getLength())
            .mapToObj(i -> texts.item(i).getTextContent())
            .toList();
    assertThat(words)
        .contains(
            "1F1B on 2 stages: 4 microbatches and 1 fills, 32 layers, exits after layers 8, 16")
        .contains("stage 0", "stage 1", "forward", "backward", "heads", "fill, backward", "idle")
        .contains("0", "1", "2", "3", "a");
  }

  @Test
  void draw_withColours_paintsWorkAndLeavesNumbers() {
    Timeline timeline =
        Timeline.of(Schedules.emit(ScheduleKind.ONE_F_ONE_B, 1, 1, 1), Costs.equal(1, 1, 2));

    assertThat(TimelineText.draw(timeline, 18, Ansi.OFF).getFirst())
        .isEqualTo("stage 0  0--0=====");
    assertThat(TimelineText.draw(timeline, 18, Ansi.ON).getFirst())
        .isEqualTo(
            "stage 0  "
                + TimelineWork.FORWARD.paint("0  ")
                + TimelineWork.BACKWARD.paint("0     "));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          --pp 4 --microbatches 10 --kind interleaved   | use 8 or 12 microbatches
          --pp 4 --microbatches 8 --kind zigzag         | use 1f1b, afab, interleaved, zero-bubble, tuning
          --pp 4 --microbatches 8 --chunks 2            | use 1 chunk, or interleaved 1F1B
          --pp 40 --microbatches 8                      | use at least 40 layers
          --pp 4 --microbatches 8 --exits 8,33          | 33 is not one of the 32 layers; use 1 to 32
          --pp 4 --microbatches 8 --exits 8,8           | [8, 8] has a layer twice; name each once
          --pp 4 --microbatches 8 --fill-warmup some    | use auto, 0 or more
          --pp 4 --microbatches 8 --fill-warmup 1       | need an early exit below the last stage
          --pp 4 --microbatches 8 --fill-cooldown 1 --kind afab | use --kind 1f1b
          --pp 4 --microbatches 8 --head-cost=-1        | --head-cost: -1.0 is not a time
          """)
  void schedule_impossible_isWrongUseWithARemedy(String arguments, String remedy) {
    assertThat(schedule(arguments)).isEqualTo(2);
    assertThat(err.toString()).startsWith("eellm: ").contains(remedy);
    assertThat(out.toString()).isEmpty();
  }
}
