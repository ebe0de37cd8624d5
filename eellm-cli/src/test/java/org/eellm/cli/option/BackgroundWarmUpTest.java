package org.eellm.cli.option;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.StringWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.util.function.BooleanSupplier;
import org.eellm.cli.Commands;
import org.eellm.cli.SmallModelFolder;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class BackgroundWarmUpTest {
  private static final Duration LIMIT = Duration.ofSeconds(30);

  private boolean ran;

  @ParameterizedTest
  @ValueSource(strings = {"chat", "generate"})
  void start_commandThatDecodes_goesOnUntilStopped(String command) throws InterruptedException {
    assumeTrue(Runtime.getRuntime().availableProcessors() > 1, "one core has none to spare");

    Thread thread =
        BackgroundWarmUp.start(BackgroundWarmUpTest::untilStopped, command, "--model", "m")
            .orElseThrow();

    assertThat(thread.isDaemon()).isTrue();
    assertThat(thread.join(Duration.ofMillis(50))).isFalse();
    BackgroundWarmUp.stop();
    assertThat(thread.join(LIMIT)).isTrue();
  }

  @Test
  void stop_modelOfACommandIsLoaded_hasBeenCalled(@TempDir Path folder) throws Exception {
    assumeTrue(Runtime.getRuntime().availableProcessors() > 1, "one core has none to spare");
    try (Decoder model = SmallModel.plain()) {
      SmallModelFolder.write(folder.resolve("model"), model);
    }
    String[] command = {
      "generate", "--model", folder.resolve("model").toString(), "--prompt=a", "--max-tokens=1"
    };
    Thread thread =
        BackgroundWarmUp.start(BackgroundWarmUpTest::untilStopped, command).orElseThrow();

    assertThat(Commands.run(new StringWriter(), new StringWriter(), command)).isZero();
    assertThat(thread.join(LIMIT)).isTrue();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "--help",
        "serve",
        "generate --help",
        "generate --nproc 2",
        "generate --nproc=2",
        "chat --tp 2",
        "chat --device cuda"
      })
  void start_commandThatGainsNothing_startsNothing(String line) {
    assertThat(BackgroundWarmUp.start(_ -> ran = true, line.split(" "))).isEmpty();
    assertThat(ran).isFalse();
  }

  @Test
  void start_noCommand_startsNothing() {
    assertThat(BackgroundWarmUp.start(_ -> ran = true)).isEmpty();
  }

  private static void untilStopped(BooleanSupplier goesOn) {
    while (goesOn.getAsBoolean()) {
      Thread.onSpinWait();
    }
  }
}
