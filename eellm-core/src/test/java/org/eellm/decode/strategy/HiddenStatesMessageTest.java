package org.eellm.decode.strategy;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.stream.IntStream;
import org.eellm.decode.strategy.HiddenStatesMessage.RemotePrediction;
import org.eellm.decode.strategy.HiddenStatesMessage.SequenceHiddenStates;
import org.junit.jupiter.api.Test;

/** Rows that wait for a later stage become one block. */
final class HiddenStatesMessageTest {
  private static final List<RemotePrediction> ASKED = List.of(new RemotePrediction(1, 9, 0.25));

  /** Rows of two bytes each: position and attempt. */
  private static SequenceHiddenStates rows(int requestId, int attempt, int first, int... ids) {
    byte[] hidden = new byte[2 * ids.length];
    for (int row = 0; row < ids.length; row++) {
      hidden[2 * row] = (byte) (first + row);
      hidden[2 * row + 1] = (byte) attempt;
    }
    List<Integer> list = IntStream.of(ids).boxed().toList();
    return new SequenceHiddenStates(requestId, attempt, first, list, false, List.of(), hidden);
  }

  private static SequenceHiddenStates asking(SequenceHiddenStates rows) {
    return new SequenceHiddenStates(
        rows.requestId(), rows.attempt(), rows.first(), rows.ids(), true, ASKED, rows.hidden());
  }

  private static HiddenStatesMessage of(SequenceHiddenStates... parts) {
    return new HiddenStatesMessage(List.of(), List.of(parts));
  }

  @Test
  void and_rowsThatFollow_areOneBlockOfEachSequence() {
    HiddenStatesMessage all =
        of(rows(0, 0, 5, 50), rows(1, 0, 8, 80))
            .and(of(rows(0, 0, 6, 60, 70)))
            .and(of(asking(rows(1, 0, 9, 90))));

    assertThat(all.rows()).isEqualTo(5);
    assertThat(all.needsToken()).isTrue();
    SequenceHiddenStates first = all.parts().getFirst();
    assertThat(first.first()).isEqualTo(5);
    assertThat(first.ids()).containsExactly(50, 60, 70);
    assertThat(first.hidden()).containsExactly(5, 0, 6, 0, 7, 0);
    assertThat(first.needsToken()).isFalse();
    SequenceHiddenStates second = all.parts().getLast();
    assertThat(second.ids()).containsExactly(80, 90);
    assertThat(second.needsToken()).isTrue();
    assertThat(second.earlier()).isEqualTo(ASKED);
  }

  @Test
  void and_rowsOfALaterAttempt_replaceThoseFromTheirFirstOn() {
    HiddenStatesMessage all = of(rows(0, 2, 5, 50, 60, 70)).and(of(asking(rows(0, 3, 6, 61))));

    SequenceHiddenStates part = all.parts().getFirst();
    assertThat(part.attempt()).isEqualTo(3);
    assertThat(part.first()).isEqualTo(5);
    assertThat(part.ids()).containsExactly(50, 61);
    assertThat(part.hidden()).containsExactly(5, 2, 6, 3);
  }

  @Test
  void and_rowsOfALaterAttemptFromBelow_replaceAll() {
    HiddenStatesMessage all = of(rows(0, 2, 5, 50, 60)).and(of(rows(0, 3, 3, 31)));

    SequenceHiddenStates part = all.parts().getFirst();
    assertThat(part.first()).isEqualTo(3);
    assertThat(part.ids()).containsExactly(31);
    assertThat(part.hidden()).containsExactly(3, 3);
  }

  @Test
  void and_aSequenceThatIsDone_isDroppedAndToldOf() {
    HiddenStatesMessage all =
        of(rows(0, 0, 5, 50), rows(1, 0, 8, 80))
            .and(new HiddenStatesMessage(List.of(0), List.of(rows(2, 0, 0, 1, 2))));

    assertThat(all.finished()).containsExactly(0);
    assertThat(all.parts().stream().map(SequenceHiddenStates::requestId)).containsExactly(1, 2);
  }
}
