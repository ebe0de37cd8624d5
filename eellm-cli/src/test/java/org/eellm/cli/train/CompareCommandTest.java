package org.eellm.cli.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.tuple;
import static org.assertj.core.api.Assertions.within;

import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.eellm.cli.Commands;
import org.eellm.config.HeadId;
import org.eellm.eval.Estimate;
import org.eellm.train.TrainException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CompareCommandTest {
  @TempDir Path folder;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  /** A run as its files tell it: two evaluations. */
  private Path run(String name, long seed, double exit, double last) throws IOException {
    Path run = Files.createDirectories(folder.resolve(name));
    Files.writeString(run.resolve("config.yaml"), "train: {seed: %d}".formatted(seed));
    Files.writeString(
        run.resolve("metrics.jsonl"),
        """
        {"step":1,"loss":9.0}
        {"step":50,"validation_loss_exit_4":8.0,"validation_loss_final":7.0}
        {"step":100,"validation_loss_exit_4":%s,"validation_loss_final":%s,\
        "validation_agreement_exit_4":%s,"validation_agreement_final":1.0}
        """
            .formatted(exit, last, exit / 10));
    return run;
  }

  @Test
  void compare_runsOfThreeSeeds_areOneRowWithItsError() throws IOException {
    List<Path> runs =
        List.of(
            run("none-seed1", 1, 5, 4.0),
            run("none-seed2", 2, 5, 4.2),
            run("exits-seed1", 1, 4.5, 4.04),
            run("exits-seed2", 2, 4.7, 4.284));
    RunComparison comparison = RunComparison.of(runs);
    assertThat(comparison.rows())
        .extracting(RunComparison.Row::name, RunComparison.Row::seeds, RunComparison.Row::step)
        .containsExactly(tuple("none", 2, 100L), tuple("exits", 2, 100L));
    RunComparison.Row exits = comparison.rows().getLast();
    Estimate exit = Objects.requireNonNull(exits.losses().get(HeadId.exit(4)));
    assertThat(exit.value()).isCloseTo(4.6, within(1e-12));
    assertThat(exit.standardError()).isCloseTo(0.1, within(1e-12));
    assertThat(exits.agreements()).containsOnlyKeys(HeadId.exit(4));
    assertThat(Objects.requireNonNull(exits.agreements().get(HeadId.exit(4))).value())
        .isCloseTo(0.46, within(1e-12));
    // +1 % and +2 % with equal seeds
    assertThat(exits.againstFirst().value()).isCloseTo(0.015, within(1e-12));
    assertThat(exits.againstFirst().standardError()).isCloseTo(0.005, within(1e-12));
  }

  @Test
  void compare_runsOfOneNameInTwoFolders_areTwoRows() throws IOException {
    Path one = run("one/run", 1, 5, 4.0);
    Path two = run("two/run", 1, 5, 4.4);
    assertThat(RunComparison.of(List.of(one, two)).rows())
        .extracting(RunComparison.Row::name, RunComparison.Row::seeds)
        .containsExactly(tuple(one.toString(), 1), tuple(two.toString(), 1));
  }

  @Test
  void compare_twoRuns_printsATableAndDrawsThem() throws IOException {
    Path picture = folder.resolve("pictures/compare.png");
    int code =
        Commands.run(
            out,
            err,
            "compare",
            "--output",
            picture.toString(),
            run("none", 1, 5, 4).toString(),
            run("exits", 1, 5, 4.1).toString());
    assertThat(code).isZero();
    assertThat(out.toString())
        .isEqualToNormalizingNewlines(
            """
            | run | seeds | step | exit 4 | final | exit 4 agrees | final beside the first row |
            |---|---|---|---|---|---|---|
            | none | 1 | 100 | 5.000 | 4.000 | 50.0 % | |
            | exits | 1 | 100 | 5.000 | 4.100 | 50.0 % | +2.50 % |
            """);
    BufferedImage image = ImageIO.read(picture.toFile());
    for (Color line : List.of(new Color(0x0072B2), new Color(0xD55E00))) {
      assertThat(pixels(image, line)).isGreaterThan(300);
    }
  }

  private static long pixels(BufferedImage image, Color colour) {
    return IntStream.range(0, image.getWidth() * image.getHeight())
        .filter(i -> image.getRGB(i % image.getWidth(), i / image.getWidth()) == colour.getRGB())
        .count();
  }

  @Test
  void compare_runsThatEndAtOtherSteps_areRefused() throws IOException {
    Path first = run("none-seed1", 1, 5, 4);
    Path second = run("none-seed2", 2, 5, 4);
    Files.writeString(
        second.resolve("metrics.jsonl"), "{\"step\":50,\"validation_loss_final\":7.0}\n");
    assertThatThrownBy(() -> RunComparison.of(List.of(first, second)))
        .isInstanceOf(TrainException.class)
        .hasMessage("none: its runs end at steps 100 and 50; let them all end first");
  }

  @Test
  void compare_runWithoutEvaluation_isRefused() throws IOException {
    Path run = run("none", 1, 5, 4);
    Files.writeString(run.resolve("metrics.jsonl"), "{\"step\":1,\"loss\":9.0}\n");
    assertThat(Commands.run(out, err, "compare", run.toString())).isEqualTo(1);
    assertThat(err.toString()).contains("has no validation loss; train with train.eval_interval");
  }
}
