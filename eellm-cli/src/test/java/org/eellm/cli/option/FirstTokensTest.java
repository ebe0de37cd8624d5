package org.eellm.cli.option;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FirstTokensTest {

  @ParameterizedTest
  @ValueSource(strings = {"chat", "generate"})
  void prepare_commandThatDecodes_endsWhenModelIsLoaded(String command) throws Exception {
    assumeTrue(Runtime.getRuntime().availableProcessors() > 1, "one core has none to spare");

    Optional<Thread> thread = FirstTokens.prepare(command, "--model", "m");
    FirstTokens.modelIsLoaded();

    assertThat(thread).isPresent();
    assertThat(thread.get().join(Duration.ofSeconds(30))).isTrue();
  }

  @ParameterizedTest
  @ValueSource(strings = {"serve", "train", "--help", ""})
  void prepare_anotherCommand_startsNothing(String command) {
    assertThat(FirstTokens.prepare(command)).isEmpty();
  }

  @Test
  void prepare_noCommand_startsNothing() {
    assertThat(FirstTokens.prepare()).isEmpty();
  }
}
