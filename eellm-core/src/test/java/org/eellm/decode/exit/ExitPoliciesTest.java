package org.eellm.decode.exit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.eellm.decode.HeadOutputs.exit;
import static org.eellm.decode.HeadOutputs.last;
import static org.eellm.decode.HeadOutputs.logits;
import static org.eellm.decode.HeadOutputs.prediction;

import java.util.List;
import java.util.Map;
import org.eellm.config.ConfigException;
import org.eellm.decode.HeadOutputs;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Head;
import org.eellm.tensor.Scope;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

final class ExitPoliciesTest {
  private Scope scope;
  private List<Head> heads;

  @BeforeEach
  void open() {
    scope = Scope.open();
    heads = List.of(exit(1), exit(2), exit(4), last());
  }

  @AfterEach
  void close() {
    scope.close();
  }

  private static Threshold at(double value) {
    return Threshold.of(value);
  }

  private static Prediction ofTokens(int... best) {
    Prediction said = prediction(oneHot(best[0]));
    for (int i = 1; i < best.length; i++) {
      List<Prediction> earlier = new java.util.ArrayList<>(said.earlier());
      earlier.add(said);
      said = prediction(new Tokens(List.of(0), 1), earlier, oneHot(best[i]));
    }
    return said;
  }

  private static float[] oneHot(int id) {
    float[] logits = new float[5];
    logits[id] = 9;
    return logits;
  }

  @Test
  void prediction_knownDistribution_hasItsFigures() {
    Prediction said = prediction(logits(0.1, 0.6, 0.25, 0.05));

    assertThat(said.best()).isEqualTo(1);
    assertThat(said.maxProbability()).isCloseTo(0.6, within(1e-6));
    assertThat(said.margin()).isCloseTo(0.35, within(1e-6));
    assertThat(said.entropy())
        .isCloseTo(
            -0.1 * Math.log(0.1)
                - 0.6 * Math.log(0.6)
                - 0.25 * Math.log(0.25)
                - 0.05 * Math.log(0.05),
            within(1e-6));
    assertThat(said.logits()).isEqualTo(logits(0.1, 0.6, 0.25, 0.05));
  }

  @Test
  void prediction_secondRow_hasItsOwnFigures() {
    HeadOutput output = HeadOutputs.output(logits(0.9, 0.1), logits(0.2, 0.8));
    Prediction said = new Prediction(output, 1, new Tokens(List.of(0), 1), List.of());

    assertThat(said.best()).isEqualTo(1);
    assertThat(said.maxProbability()).isCloseTo(0.8, within(1e-6));
    assertThat(said.margin()).isCloseTo(0.6, within(1e-6));
  }

  @Test
  void maxProbability_aroundTheThreshold_leavesFromItOn() {
    Prediction said = prediction(logits(0.1, 0.6, 0.3));

    assertThat(ExitPolicies.maxProbability(at(0.59)).leaves(said)).isTrue();
    assertThat(ExitPolicies.maxProbability(at(0.61)).leaves(said)).isFalse();
    assertThat(ExitPolicies.maxProbability(at(0)).leaves(said)).isTrue();
  }

  @Test
  void margin_aroundTheThreshold_leavesFromItOn() {
    Prediction said = prediction(logits(0.1, 0.6, 0.3));

    assertThat(ExitPolicies.margin(at(0.29)).leaves(said)).isTrue();
    assertThat(ExitPolicies.margin(at(0.31)).leaves(said)).isFalse();
  }

  @Test
  void entropy_aroundTheThreshold_leavesUpToIt() {
    Prediction said = prediction(logits(0.5, 0.5));

    assertThat(ExitPolicies.entropy(at(0.70)).leaves(said)).isTrue();
    assertThat(ExitPolicies.entropy(at(0.69)).leaves(said)).isFalse();
  }

  @Test
  void thresholds_thatNoDistributionMeets_askNoExit() {
    for (ExitPolicy never :
        List.of(
            ExitPolicies.maxProbability(at(1)),
            ExitPolicies.maxProbability(at(1.5)),
            ExitPolicies.margin(at(1)),
            ExitPolicies.entropy(at(0)))) {
      assertThat(never.heads(heads)).containsExactly(heads.getLast());
    }
    for (ExitPolicy sometimes :
        List.of(
            ExitPolicies.maxProbability(at(0.999)),
            ExitPolicies.margin(at(0.999)),
            ExitPolicies.entropy(at(0.001)),
            ExitPolicies.maxProbability((layer, step) -> 1),
            ExitPolicies.maxProbability(Threshold.decaying(at(1), 4, 10)))) {
      assertThat(sometimes.heads(heads)).isEqualTo(heads);
    }
  }

  @Test
  void thresholds_perLayer_askTheExitsThatCanBeSure() {
    ExitPolicy some =
        ExitPolicies.maxProbability(Threshold.perLayer(Map.of(1, 1.0, 2, 0.5, 4, 1.0)));

    assertThat(some.heads(heads)).containsExactly(heads.get(1), heads.getLast());
  }

  @Test
  void perLayerThreshold_asksTheExitsOwn() {
    Prediction said = prediction(logits(0.1, 0.6, 0.3)); // at the exit after layer 2

    assertThat(ExitPolicies.maxProbability(Threshold.perLayer(Map.of(1, 0.9, 2, 0.5))).leaves(said))
        .isTrue();
    assertThat(ExitPolicies.maxProbability(Threshold.perLayer(Map.of(1, 0.5, 2, 0.9))).leaves(said))
        .isFalse();
    assertThatThrownBy(() -> Threshold.perLayer(Map.of(1, 0.5)).at(2, 0))
        .isInstanceOf(ConfigException.class)
        .hasMessage(
            "threshold: none for the exit after layer 2, only for [1]; name each exit in use");
  }

  @Test
  void decayingThreshold_isHigherAtFirst() {
    Threshold threshold = Threshold.decaying(Threshold.of(0.8), 4, 10);

    assertThat(threshold.at(2, 0)).isCloseTo(0.72 + 0.1, within(1e-9));
    assertThat(threshold.at(2, 5)).isCloseTo(0.72 + 0.1 * Math.exp(-2), within(1e-9));
    assertThat(Threshold.decaying(Threshold.of(1.5), 4, 10).at(2, 0)).isEqualTo(1);
    assertThatThrownBy(() -> Threshold.decaying(Threshold.of(0.8), -1, 10))
        .isInstanceOf(ConfigException.class)
        .hasMessage("threshold-decay: -1.0 is negative; use 0 or more; CALM takes 4");
  }

  @Test
  void threshold_ofAPolicy_isAskedForTheStepOfTheGeneratedText() {
    Tokens tokens = new Tokens(List.of(1, 2, 3), 9);
    tokens.append(4);
    tokens.append(5);
    List<Integer> steps = new java.util.ArrayList<>();
    ExitPolicy policy =
        ExitPolicies.margin(
            (layer, step) -> {
              steps.add(step);
              return 0;
            });

    policy.leaves(prediction(tokens, List.of(), 1f, 2f));

    assertThat(steps).containsExactly(2);
  }

  @Test
  void patience_exitsInARowThatAgree_leavesAtTheLastOfThem() {
    ExitPolicy policy = ExitPolicies.patience(3);

    assertThat(policy.leaves(ofTokens(4))).isFalse();
    assertThat(policy.leaves(ofTokens(4, 4))).isFalse();
    assertThat(policy.leaves(ofTokens(4, 4, 4))).isTrue();
    assertThat(policy.leaves(ofTokens(4, 4, 2, 4))).isFalse();
    assertThat(policy.leaves(ofTokens(1, 4, 4, 4))).isTrue();
    assertThat(ExitPolicies.patience(1).leaves(ofTokens(0))).isTrue();
  }

  @Test
  void heads_ofThresholdPolicies_areAll() {
    assertThat(ExitPolicies.entropy(at(1)).heads(heads)).isEqualTo(heads);
  }

  @Test
  void heads_fixed_isThatExitAlone() {
    assertThat(ExitPolicies.fixed(2).heads(heads)).containsExactly(heads.get(1));
  }

  @Test
  void heads_full_isTheFinalHeadAlone() {
    assertThat(ExitPolicies.full().heads(heads)).containsExactly(heads.get(3));
  }

  @Test
  void heads_among_areTheNamedExitsAndTheFinalHead() {
    assertThat(ExitPolicies.among(List.of(4, 1), ExitPolicies.patience(2)).heads(heads))
        .containsExactly(heads.get(0), heads.get(2), heads.get(3));
  }

  @Test
  void heads_exitThatIsNotThere_namesThoseThatAre() {
    assertThatThrownBy(() -> ExitPolicies.fixed(3).heads(heads))
        .isInstanceOf(ConfigException.class)
        .hasMessage("exits: no exit after layer 3; this model has exits after [1, 2, 4]");
    assertThatThrownBy(() -> ExitPolicies.fixed(5).heads(List.of(last())))
        .isInstanceOf(ConfigException.class)
        .hasMessage("exits: no exit after layer 5; this model has none at all, use the full model");
  }
}
