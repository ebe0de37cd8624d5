package org.eellm.eval.sweep;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.eellm.config.HeadId;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMode;
import org.eellm.eval.SnakeCaseJson;
import org.eellm.eval.sweep.Sweep.Control;
import org.eellm.eval.sweep.Sweep.Row;
import org.eellm.eval.sweep.Sweep.Spread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class SweepTest {
  private static final Control GOOD = new Control(1.01, new Spread(0.98, 1.03), 100);

  @TempDir private Path folder;

  private static Row row(double threshold, double speedUp, double agreement, Control control) {
    SequencedMap<HeadId, Double> shares = new LinkedHashMap<>();
    shares.put(new HeadId.Exit(2), 0.25);
    shares.put(HeadId.FINAL, 0.75);
    return new Row(
        SweepSetting.atThreshold(threshold),
        shares,
        3.5,
        100 * speedUp,
        speedUp,
        new Spread(speedUp - 0.05, speedUp + 0.02),
        1,
        control,
        agreement,
        Optional.empty(),
        Optional.empty(),
        new LinkedHashMap<>());
  }

  private static Sweep sweep(Control control) {
    return new Sweep(
        SweepConditions.USUAL,
        2,
        40,
        5,
        1,
        100,
        Optional.empty(),
        new LinkedHashMap<>(),
        List.of(row(0.9, 1.1, 1, GOOD), row(0.5, 1.37, 0.9, control)),
        List.of());
  }

  @ParameterizedTest
  @CsvSource({
    "1.00, 0.99, 1.01, true",
    "1.04, 1.04, 1.04, true",
    "1.06, 1.05, 1.07, false", // beyond what is always allowed, and its spread is small
    "1.06, 0.95, 1.09, true",
    "0.90, 0.89, 0.91, false",
    "14.0, 2.00, 37.0, false",
    "1.09, 0.95, 1.25, true",
    "1.12, 0.95, 1.25, false", // others' medians may be as far off
    "1.00, 0.80, 1.30, false", // about 1 on average, but rounds that differ so much say nothing
  })
  void control_holds_whereItIsOneWithinItsSpread(
      double speedUp, double least, double most, boolean holds) {
    assertThat(new Control(speedUp, new Spread(least, most), 100).holds()).isEqualTo(holds);
  }

  @Test
  void markdown_quietMachine_hasSpeedUpsWithTheirSpread() {
    assertThat(sweep(GOOD).markdown(row -> row.setting().label()))
        .contains("| threshold 0.5 | 137 | 1.37 (1.32 to 1.39) |")
        .contains(
            "medians of 5 rounds in which settings and full model took turns; in brackets the"
                + " slowest and the fastest. 1 before them did not count.")
        .doesNotContain("busy");
    assertThat(sweep(GOOD).trusted()).isTrue();
  }

  @Test
  void markdown_busyMachine_refusesSpeedUpsAndSaysWhy() {
    Sweep busy = sweep(new Control(14, new Spread(9, 37), 100));

    assertThat(busy.markdown(row -> row.setting().label()))
        .contains("No speed-ups: the machine was busy. At threshold 1.0")
        .contains("14.00 (9.00 to 37.00)")
        .doesNotContain("1.37")
        .contains("90.0 %"); // what the machine has no part in stays
    assertThat(busy.trusted()).isFalse();
  }

  @Test
  void row_throughJson_isTheSame() throws JsonProcessingException {
    String line = SnakeCaseJson.line(row(0.9, 1.1, 1, GOOD));
    assertThat(SnakeCaseJson.MAPPER.readValue(line, Row.class)).isEqualTo(row(0.9, 1.1, 1, GOOD));
  }

  @Test
  void label_ofEachKind_isTheWordOfTablesAndPictures() throws IOException {
    Path gates = folder.resolve("gates.json");
    SortedMap<Integer, Gate> byLayer = new TreeMap<>(Map.of(2, new Gate(0, 1, 0, new float[4])));
    new Calibration(new Calibration.OfGates(byLayer), new TreeMap<>(Map.of(2, 0.9))).write(gates);
    Path policy = folder.resolve("thresholds.json");
    Calibration.of(PolicyName.MARGIN, new TreeMap<>(Map.of(2, 0.9)), new TreeMap<>()).write(policy);

    assertThat(
            Stream.of(
                SweepSetting.adaptiveDrafts(),
                SweepSetting.textDrafts(),
                SweepSetting.speculative(2, 4, 0.2),
                SweepSetting.atThreshold(0.9),
                SweepSetting.calibrated(DecodingMode.EARLY_EXIT, gates.toString(), 0.95),
                SweepSetting.calibrated(DecodingMode.RECOMPUTE, policy.toString(), 0.3)))
        .extracting(SweepSetting::label)
        .containsExactly(
            "lossless",
            "lossless drafts of text",
            "lossless, exit 2: 4 tokens, 0.2",
            "threshold 0.9",
            "gate 0.95",
            "recompute, calibrated margin: 0.3");
  }

  @Test
  void plot_ofRows_isAPicture() throws IOException {
    Path picture = folder.resolve("sweep.png");

    SweepPlot.write(SweepTable.of(sweep(GOOD)), picture);

    BufferedImage read = ImageIO.read(picture.toFile());
    assertThat(read.getWidth()).isEqualTo(1000);
    assertThat(read.getHeight()).isEqualTo(620);
  }
}
