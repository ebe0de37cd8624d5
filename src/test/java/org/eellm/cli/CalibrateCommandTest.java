package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import org.eellm.generate.Calibration;
import org.eellm.generate.SmallModel;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

final class CalibrateCommandTest {
  @TempDir private Path folder;

  private record Outcome(int code, String out, String err) {}

  private static Outcome run(String... args) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    CommandLine commandLine =
        RootCommand.commandLine()
            .setOut(new PrintWriter(out, true))
            .setErr(new PrintWriter(err, true));
    return new Outcome(Main.run(commandLine, args), out.toString(), err.toString());
  }

  private Outcome calibrate(int prompts, String... more) throws IOException {
    Path model = folder.resolve("model");
    try (Decoder decoder = SmallModel.plain()) {
      SmallModelFolder.write(model, decoder);
    }
    Path file = folder.resolve("prompts.txt");
    Files.write(file, Collections.nCopies(prompts, "the cat and"));
    String[] args = {
      "calibrate",
      "--model",
      model.toString(),
      "--prompts",
      file.toString(),
      "--output",
      folder.resolve("thresholds.json").toString(),
      "--max-tokens",
      "4"
    };
    String[] all = new String[args.length + more.length];
    System.arraycopy(args, 0, all, 0, args.length);
    System.arraycopy(more, 0, all, args.length, more.length);
    return run(all);
  }

  @Test
  void calibrate_enoughPrompts_writesTheFileThatGenerationReads() throws IOException {
    Outcome outcome = calibrate(40, "--delta", "0.9", "--epsilon", "0.2");

    assertThat(outcome.code()).as(outcome.err()).isZero();
    assertThat(outcome.out()).contains("expected calibration error", "100 random halves");
    Path written = folder.resolve("thresholds.json");
    assertThat(Calibration.read(written).thresholds()).containsOnlyKeys(1, 2, 4);
    Outcome generated =
        run(
            "generate",
            "--model",
            folder.resolve("model").toString(),
            "--prompt",
            "the cat",
            "--max-tokens",
            "2",
            "--calibration",
            written.toString());
    assertThat(generated.code()).as(generated.err()).isZero();
  }

  @Test
  void calibrate_tooFewPrompts_isRefusedWithTheNumberNeeded() throws IOException {
    Outcome outcome = calibrate(5);

    assertThat(outcome.code()).isEqualTo(1);
    assertThat(outcome.err()).contains("5 prompts cannot support the promise", "at least 59");
    assertThat(folder.resolve("thresholds.json")).doesNotExist();
  }

  @Test
  void calibrate_entropy_isRefused() throws IOException {
    Outcome outcome = calibrate(5, "--policy", "entropy");

    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err()).contains("--policy: entropy");
  }
}
