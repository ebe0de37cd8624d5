package org.eellm.eval.sweep;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import javax.imageio.ImageIO;
import org.eellm.config.HeadId;
import org.eellm.eval.Json;
import org.eellm.eval.sweep.Sweep.Control;
import org.eellm.eval.sweep.Sweep.Row;
import org.eellm.eval.sweep.Sweep.Spread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class SweepTest {
  private static final Control GOOD = new Control(1.01, new Spread(0.98, 1.03));

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
        Optional.of(new Spread(speedUp - 0.05, speedUp + 0.02)),
        Optional.of(control),
        agreement,
        Optional.empty(),
        Optional.empty(),
        new LinkedHashMap<>());
  }

  private static Sweep sweep(Control control) {
    return new Sweep(
        2,
        40,
        3,
        100,
        Optional.empty(),
        new LinkedHashMap<>(),
        List.of(row(0.9, 1.1, 1, GOOD), row(0.5, 1.37, 0.9, control)));
  }

  @ParameterizedTest
  @CsvSource({
    "1.00, 0.99, 1.01, true",
    "1.04, 1.04, 1.04, true",
    "1.06, 1.05, 1.07, false", // beyond what is always allowed, and its spread is small
    "1.06, 0.95, 1.09, true",
    "0.90, 0.89, 0.91, false",
    "14.0, 2.00, 37.0, false",
    "1.00, 0.80, 1.30, false", // about 1 on average, but rounds that differ so much say nothing
  })
  void control_holds_whereItIsOneWithinItsSpread(
      double speedUp, double least, double most, boolean holds) {
    assertThat(new Control(speedUp, new Spread(least, most)).holds()).isEqualTo(holds);
  }

  @Test
  void markdown_quietMachine_hasSpeedUpsWithTheirSpread() {
    assertThat(sweep(GOOD).markdown()).contains("| 1.37 (1.32 to 1.39) |").doesNotContain("busy");
    assertThat(sweep(GOOD).trusted()).isTrue();
  }

  @Test
  void markdown_busyMachine_refusesSpeedUpsAndSaysWhy() {
    Sweep busy = sweep(new Control(14, new Spread(9, 37)));

    assertThat(busy.markdown())
        .contains("No speed-ups: the machine was busy. At threshold 1.0")
        .contains("14.00 (9.00 to 37.00 in single rounds)")
        .doesNotContain("1.37")
        .contains("90.0 %"); // what the machine has no part in stays
    assertThat(busy.trusted()).isFalse();
  }

  @Test
  void row_ofAnEarlierVersion_isReadWithoutSpread() throws JsonProcessingException {
    String line = Json.line(row(0.9, 1.1, 1, GOOD));
    assertThat(Json.MAPPER.readValue(line, Row.class)).isEqualTo(row(0.9, 1.1, 1, GOOD));

    String earlier =
        line.replaceFirst(",\"spread\":\\{[^}]*}", "").replaceFirst(",\"control\":\\{[^}]*}}", "");
    Row read = Json.MAPPER.readValue(earlier, Row.class);
    assertThat(read.spread()).isEmpty();
    assertThat(read.control()).isEmpty();
  }

  @Test
  void plot_ofRows_isAPicture() throws IOException {
    Path picture = folder.resolve("sweep.png");

    SweepPlot.write(sweep(GOOD), picture);

    BufferedImage read = ImageIO.read(picture.toFile());
    assertThat(read.getWidth()).isEqualTo(1000);
    assertThat(read.getHeight()).isEqualTo(620);
  }
}
