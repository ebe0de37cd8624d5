package org.eellm.cli.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import javax.imageio.ImageIO;
import org.eellm.eval.Charts;
import org.eellm.train.Events;
import org.eellm.train.TrainException;
import org.eellm.train.metrics.MetricsFile;
import org.eellm.train.optimizer.StepGuard.UpdateDecision;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LossPlotTest {
  @TempDir Path folder;

  @Test
  void write_run_drawsEveryHeadsCurveInItsColour() throws IOException {
    Path metrics = folder.resolve("metrics.jsonl");
    Random random = new Random(1);
    try (MetricsFile file = MetricsFile.open(metrics, 0)) {
      for (long step = 1; step <= 2000; step++) {
        double loss = 2.5 + 5 * Math.exp(-step / 300.0) + 0.1 * random.nextGaussian();
        file.accept(Events.step(step, loss, UpdateDecision.APPLY));
        if (step % 200 == 0) {
          file.accept(Events.evaluation(step, loss + 0.1));
        }
      }
    }
    Path picture = folder.resolve("loss.png");
    LossPlot.write(metrics, picture);
    BufferedImage image = ImageIO.read(picture.toFile());
    for (int place = 0; place < 3; place++) {
      assertThat(count(image, Charts.ofHead(place, 3).getRGB() & 0xffffff)).isGreaterThan(500);
    }
  }

  @Test
  void ofHead_anyNumberOfExits_isDarkerTheDeeper() {
    for (int heads : new int[] {2, 3, 7, 13}) {
      for (int place = 1; place < heads; place++) {
        assertThat(luminance(Charts.ofHead(place, heads)))
            .isLessThan(luminance(Charts.ofHead(place - 1, heads)));
      }
    }
  }

  private static double luminance(Color colour) {
    return 0.2126 * colour.getRed() + 0.7152 * colour.getGreen() + 0.0722 * colour.getBlue();
  }

  private static long count(BufferedImage image, int colour) {
    long count = 0;
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        count += (image.getRGB(x, y) & 0xffffff) == colour ? 1 : 0;
      }
    }
    return count;
  }

  @Test
  void write_noSteps_saysSo() throws IOException {
    Path metrics = Files.createFile(folder.resolve("metrics.jsonl"));
    assertThatThrownBy(() -> LossPlot.write(metrics, folder.resolve("loss.png")))
        .isInstanceOf(TrainException.class)
        .hasMessageContaining("no step with a loss");
  }
}
