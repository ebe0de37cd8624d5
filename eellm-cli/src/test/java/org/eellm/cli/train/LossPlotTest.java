package org.eellm.cli.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import javax.imageio.ImageIO;
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
    assertThat(count(image, 0xD55E00)).isGreaterThan(500);
    assertThat(count(image, 0x0072B2)).isGreaterThan(500);
    assertThat(count(image, 0x000000)).isGreaterThan(500);
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
