package org.eellm.decode.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.ByteBuffer;
import org.eellm.decode.HeadOutputs;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.HeadOutput.TokenScore;
import org.eellm.decode.pipeline.RemoteOutput.Logits;
import org.eellm.tensor.Scope;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

final class RemoteOutputTest {
  private Scope scope;
  private HeadOutput there;
  private HeadOutput here;

  @BeforeEach
  void send() {
    scope = Scope.open();
    there = HeadOutputs.output(new float[] {1, 3, -2, 3.5F, 0}, new float[] {0.5F, 0, 7, -1, 2});
    byte[] bytes = Logits.of(there, 2).encode();
    here = new RemoteOutput(there.head(), () -> Logits.decode(ByteBuffer.wrap(bytes)));
  }

  @AfterEach
  void close() {
    scope.close();
  }

  @Test
  void figures_ofSentLogits_areThoseOfTheHead() {
    assertSame(here, there);
  }

  @Test
  void bestOf_twoRows_isWhatTheHeadSaysInTwentyBytesEach() {
    byte[] bytes = Logits.bestOf(there, 2).encode();
    HeadOutput best = new RemoteOutput(there.head(), () -> Logits.decode(ByteBuffer.wrap(bytes)));

    assertThat(bytes).hasSize(8 + 2 * 20);
    assertThat(Logits.of(there, 2).encode()).hasSize(8 + 2 * (20 + 4 * 5));
    for (int row = 0; row < 2; row++) {
      int id = there.best(row);
      assertThat(best.best(row)).isEqualTo(id);
      assertThat(best.maxProbability(row)).isCloseTo(there.maxProbability(row), within(1e-6));
      assertThat(best.margin(row)).isCloseTo(there.margin(row), within(1e-6));
      assertThat(best.logProbability(row, id))
          .isCloseTo(there.logProbability(row, id), within(1e-6));
    }
    assertThatThrownBy(() -> best.logits(0)).hasMessage("the best id was all that was asked for");
  }

  @Test
  void tempered_severalTimes_isWhatTheHeadSays() {
    assertSame(here.tempered(0.5).tempered(3), there.tempered(0.5).tempered(3));
  }

  @Test
  void maxProbability_ofLogitsThatAreNotNumbers_isNone() {
    HeadOutput damaged = HeadOutputs.output(new float[] {Float.NaN, Float.NaN});
    Logits copy = Logits.of(damaged, 1);

    assertThat(new RemoteOutput(damaged.head(), () -> copy).maxProbability(0)).isNaN();
  }

  private static void assertSame(HeadOutput here, HeadOutput there) {
    for (int row = 0; row < 2; row++) {
      assertThat(here.best(row)).isEqualTo(there.best(row));
      assertThat(here.maxProbability(row)).isCloseTo(there.maxProbability(row), within(1e-6));
      assertThat(here.margin(row)).isCloseTo(there.margin(row), within(1e-6));
      assertThat(here.entropy(row)).isCloseTo(there.entropy(row), within(1e-6));
      assertThat(here.logits(row)).isEqualTo(there.logits(row));
      for (int id = 0; id < 5; id++) {
        assertThat(here.logProbability(row, id))
            .isCloseTo(there.logProbability(row, id), within(1e-6));
      }
      assertThat(here.top(row, 3))
          .extracting(TokenScore::id)
          .isEqualTo(there.top(row, 3).stream().map(TokenScore::id).toList());
    }
  }
}
