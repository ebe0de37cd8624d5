package org.eellm.decode.request;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.eellm.config.ConfigException;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingSettings.ThresholdSetting;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftMemory;
import org.eellm.decode.speculate.DraftSource;
import org.junit.jupiter.api.Test;

final class DecodingSettingsTest {
  private static final DecodingSetting<Integer> PATIENCE =
      DecodingSetting.policyNumbers().getFirst();

  @Test
  void fingerprint_settings_keepsTheBytesOfResultFiles() {
    assertThat(DecodingSettings.NONE.fingerprint())
        .isEqualTo(
            "DecodingSettings[mode=Optional.empty, policy=Optional.empty,"
                + " threshold=Optional.empty, thresholdDecay=Optional.empty,"
                + " calibration=Optional.empty, patience=Optional.empty, exits=[],"
                + " maxPending=Optional.empty, draftSource=Optional.empty,"
                + " draftExit=Optional.empty, draftResume=Optional.empty,"
                + " draftLength=Optional.empty, draftMargin=Optional.empty]");
    assertThat(
            DecodingSettings.NONE
                .with(DecodingSetting.MODE, DecodingMode.EARLY_EXIT)
                .with(DecodingSetting.POLICY, PolicyName.MAX_PROBABILITY)
                .with(DecodingSetting.THRESHOLD, new ThresholdSetting.Same(0.5))
                .with(DecodingSetting.THRESHOLD_DECAY, 4.0)
                .with(PATIENCE, 2)
                .with(DecodingSetting.EXITS, List.of(2, 4))
                .with(DecodingSetting.MAX_PENDING, 8)
                .with(DecodingSetting.DRAFT_SOURCE, DraftSource.TEXT)
                .with(DecodingSetting.DRAFT_MEMORY, DraftMemory.OWN)
                .with(DecodingSetting.DRAFT_EXIT, 2)
                .with(DecodingSetting.DRAFT_LENGTH, 6)
                .with(DecodingSetting.DRAFT_MARGIN, 0.0)
                .fingerprint())
        .isEqualTo(
            "DecodingSettings[mode=Optional[early-exit], policy=Optional[max-probability],"
                + " threshold=Optional[Same[value=0.5]], thresholdDecay=Optional[4.0],"
                + " calibration=Optional.empty, patience=Optional[2], exits=[2, 4],"
                + " maxPending=Optional[8], draftSource=Optional[text], draftExit=Optional[2],"
                + " draftResume=Optional.empty, draftLength=Optional[6],"
                + " draftMargin=Optional[0.0]]");
  }

  /** A line of the table is known to all; what becomes of it, its part says until somebody does. */
  @Test
  void decoding_everySetting_isRefusedWhereItHasNoEffect() {
    for (DecodingSetting<?> setting : DecodingSetting.all()) {
      DecodingMode without =
          switch (setting.part()) {
            case MODE -> DecodingMode.SPECULATIVE;
            case POLICY, THRESHOLD, PENDING -> DecodingMode.FULL;
            case DRAFTS -> DecodingMode.EARLY_EXIT;
          };
      if (setting != DecodingSetting.MODE) {
        DecodingSettings settings =
            DecodingSettings.of(without).withValue(setting, sample(setting));
        assertThatThrownBy(() -> settings.decoding(List.of(2), 8, name -> "--" + name))
            .hasMessage(
                "--%s has no effect in the mode %s; leave it out"
                    .formatted(setting.name(), without));
      }
    }
  }

  private static Object sample(DecodingSetting<?> setting) {
    return switch (setting.kind()) {
      case DecodingSetting.Kind.Choice(List<? extends Enum<?>> values) -> values.getFirst();
      case DecodingSetting.Kind.WholeNumber(int least, int _) -> least;
      case DecodingSetting.Kind.RealNumber(double least, double _) -> least;
      case DecodingSetting.Kind.Layers _ -> List.of(2);
      case DecodingSetting.Kind.Thresholds _ -> new ThresholdSetting.Same(0.5);
      case DecodingSetting.Kind.CalibrationFile _ ->
          Calibration.of(PolicyName.MARGIN, new TreeMap<>(Map.of(2, 0.8)), new TreeMap<>());
    };
  }

  @Test
  void with_aValueOfAnotherType_isAMistake() {
    assertThatThrownBy(() -> DecodingSettings.NONE.withValue(PATIENCE, 2.0))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void fingerprint_thresholdsByLayer_areInOrder() {
    assertThat(
            DecodingSettings.NONE
                .with(
                    DecodingSetting.THRESHOLD,
                    new ThresholdSetting.PerLayer(new TreeMap<>(Map.of(4, 0.9, 2, 0.8))))
                .with(
                    DecodingSetting.CALIBRATION,
                    Calibration.of(
                        PolicyName.MARGIN,
                        new TreeMap<>(Map.of(4, 0.9, 2, 0.8)),
                        new TreeMap<>(Map.of(2, 1.5))))
                .fingerprint())
        .contains("threshold=Optional[PerLayer[byLayer={2=0.8, 4=0.9}]]")
        .contains(
            "calibration=Optional[Calibration[kind=margin, thresholds={2=0.8, 4=0.9},"
                + " temperatures={2=1.5}]]");
  }

  @Test
  void orCalibrated_whereAnOptionSaysWhenTokensLeave_staysAsItIs() {
    Calibration own =
        Calibration.of(PolicyName.MARGIN, new TreeMap<>(Map.of(2, 0.8)), new TreeMap<>());
    for (DecodingMode mode : DecodingMode.values()) {
      assertThat(DecodingSettings.of(mode).orCalibrated(own).get(DecodingSetting.CALIBRATION))
          .as(mode.toString())
          .isEqualTo(mode.leavesEarly() ? Optional.of(own) : Optional.empty());
    }
    assertThat(DecodingSettings.NONE.orCalibrated(own)).isEqualTo(DecodingSettings.NONE);
    assertThat(
            DecodingSettings.NONE
                .with(DecodingSetting.THRESHOLD_DECAY, 4.0)
                .orCalibrated(own)
                .get(DecodingSetting.CALIBRATION))
        .contains(own);
    for (DecodingSettings said :
        List.of(
            early().with(DecodingSetting.THRESHOLD, new ThresholdSetting.Same(0.5)),
            early().with(DecodingSetting.POLICY, PolicyName.MAX_PROBABILITY),
            early().with(PATIENCE, 2),
            early().with(DecodingSetting.EXITS, List.of(2)),
            early().with(DecodingSetting.CALIBRATION, own.withThreshold(0.3)))) {
      assertThat(said.orCalibrated(own)).isEqualTo(said);
    }
  }

  private static DecodingSettings early() {
    return DecodingSettings.NONE.with(DecodingSetting.MODE, DecodingMode.EARLY_EXIT);
  }

  @Test
  void decoding_aSourceWithALength_draftsAsManyWhateverTheyCost() {
    DecodingSettings ofHead =
        DecodingSettings.NONE
            .with(DecodingSetting.DRAFT_SOURCE, DraftSource.HEAD)
            .with(DecodingSetting.DRAFT_LENGTH, 4)
            .with(DecodingSetting.DRAFT_MARGIN, 0.0);

    assertThat(ofHead.decoding(List.of(2), 8, name -> name))
        .isEqualTo(
            new DecodingMethod.FixedDrafts(
                DraftSource.HEAD, DraftMemory.SHARED, new DraftLength.Fixed(4)));
    assertThatThrownBy(
            () ->
                ofHead
                    .with(DecodingSetting.DRAFT_SOURCE, DraftSource.EXITS)
                    .decoding(List.of(2), 8, name -> "--" + name))
        .hasMessage(
            "--draft-source has no effect where an exit drafts at fixed length; leave it out");
  }

  @Test
  void decoding_eachPolicy_refusesThresholdsItDoesNotHave() {
    for (PolicyName policy : PolicyName.values()) {
      DecodingSettings settings =
          DecodingSettings.NONE
              .with(DecodingSetting.POLICY, policy)
              .with(DecodingSetting.THRESHOLD, new ThresholdSetting.Same(-1));
      assertThatThrownBy(() -> settings.decoding(List.of(2), 8, name -> "--" + name))
          .isInstanceOf(ConfigException.class)
          .hasMessage(
              policy.thresholdRule().isPresent()
                  ? "--threshold: -1.0 is no threshold; use 0 or more"
                  : "--threshold has no effect with the policy " + policy + "; leave it out");
    }
  }
}
