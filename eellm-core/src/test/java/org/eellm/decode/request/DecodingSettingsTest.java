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
import org.eellm.decode.speculate.DraftSource;
import org.junit.jupiter.api.Test;

final class DecodingSettingsTest {
  @Test
  void fingerprint_settings_keepsTheBytesOfResultFiles() {
    assertThat(DecodingSettings.NONE.fingerprint())
        .isEqualTo(
            "DecodingSettings[mode=Optional.empty, policy=Optional.empty,"
                + " threshold=Optional.empty, thresholdDecay=Optional.empty,"
                + " calibration=Optional.empty, patience=Optional.empty, exits=[],"
                + " maxPending=Optional.empty, draftSource=Optional.empty,"
                + " draftExit=Optional.empty, draftLength=Optional.empty,"
                + " draftConfidence=Optional.empty]");
    assertThat(
            DecodingSettings.builder()
                .mode(DecodingMode.EARLY_EXIT)
                .policy(PolicyName.MAX_PROBABILITY)
                .threshold(new ThresholdSetting.Same(0.5))
                .thresholdDecay(4)
                .patience(2)
                .exits(List.of(2, 4))
                .maxPending(8)
                .draftSource(DraftSource.TEXT)
                .draftExit(2)
                .draftLength(6)
                .draftConfidence(0)
                .build()
                .fingerprint())
        .isEqualTo(
            "DecodingSettings[mode=Optional[early-exit], policy=Optional[max-probability],"
                + " threshold=Optional[Same[value=0.5]], thresholdDecay=Optional[4.0],"
                + " calibration=Optional.empty, patience=Optional[2], exits=[2, 4],"
                + " maxPending=Optional[8], draftSource=Optional[text], draftExit=Optional[2],"
                + " draftLength=Optional[6], draftConfidence=Optional[0.0]]");
  }

  @Test
  void fingerprint_thresholdsByLayer_areInOrder() {
    assertThat(
            DecodingSettings.builder()
                .threshold(new ThresholdSetting.PerLayer(new TreeMap<>(Map.of(4, 0.9, 2, 0.8))))
                .calibration(
                    Calibration.of(
                        PolicyName.MARGIN,
                        new TreeMap<>(Map.of(4, 0.9, 2, 0.8)),
                        new TreeMap<>(Map.of(2, 1.5))))
                .build()
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
      assertThat(DecodingSettings.of(mode).orCalibrated(own).calibration())
          .as(mode.toString())
          .isEqualTo(mode.leavesEarly() ? Optional.of(own) : Optional.empty());
    }
    assertThat(DecodingSettings.NONE.orCalibrated(own)).isEqualTo(DecodingSettings.NONE);
    assertThat(DecodingSettings.builder().thresholdDecay(4).build().orCalibrated(own).calibration())
        .contains(own);
    for (DecodingSettings said :
        List.of(
            early().threshold(new ThresholdSetting.Same(0.5)).build(),
            early().policy(PolicyName.MAX_PROBABILITY).build(),
            early().patience(2).build(),
            early().exits(List.of(2)).build(),
            early().calibration(own.withThreshold(0.3)).build())) {
      assertThat(said.orCalibrated(own)).isEqualTo(said);
    }
  }

  private static DecodingSettings.Builder early() {
    return DecodingSettings.builder().mode(DecodingMode.EARLY_EXIT);
  }

  @Test
  void decoding_eachPolicy_refusesThresholdsItDoesNotHave() {
    for (PolicyName policy : PolicyName.values()) {
      DecodingSettings settings =
          DecodingSettings.builder()
              .policy(policy)
              .threshold(new ThresholdSetting.Same(-1))
              .build();
      assertThatThrownBy(() -> settings.decoding(List.of(2), 8, name -> "--" + name))
          .isInstanceOf(ConfigException.class)
          .hasMessage(
              policy.thresholdRule().isPresent()
                  ? "--threshold: -1.0 is no threshold; use 0 or more"
                  : "--threshold has no effect with the policy " + policy + "; leave it out");
    }
  }
}
