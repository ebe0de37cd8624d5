package org.eellm.eval.sweep;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.config.ConfigException;
import org.eellm.config.HeadId;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMode;
import org.eellm.model.Head;
import org.junit.jupiter.api.Test;

final class SweepGridTest {
  /** Of five layers, with exits after the second and the last. */
  private static final List<Head> HEADS =
      List.of(
          new Head(0, HeadId.exit(2), 2, 4, false),
          new Head(1, HeadId.exit(5), 5, 10, false),
          new Head(2, HeadId.FINAL, 5, 10, false));

  private static SweepGrid drafts(Integer... exits) {
    return new SweepGrid(
        List.of(DecodingMode.SPECULATIVE),
        List.of(PolicyName.MAX_PROBABILITY),
        List.of(0.5),
        Optional.empty(),
        Map.of(),
        List.of(List.of()),
        List.of(exits),
        List.of(4),
        List.of(0.2));
  }

  @Test
  void settings_exitAtTheLastLayer_draftsNotByDefault() {
    assertThat(drafts().settings(HEADS))
        .isEqualTo(List.of(SweepSetting.adaptiveDrafts(), SweepSetting.speculative(2, 4, 0.2)));
  }

  @Test
  void settings_draftsAtTheLastLayer_areRefusedByTheSweepsOption() {
    assertThatThrownBy(() -> drafts(2, 5).settings(HEADS))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith("--draft-exits: layer 5 is the model's last");
  }

  @Test
  void settings_none_areRefused() {
    assertThatThrownBy(() -> drafts().settings(HEADS.subList(1, 3)))
        .isInstanceOf(ConfigException.class)
        .hasMessage("--modes: no setting comes of [speculative] with exits [5]; give others");
  }
}
