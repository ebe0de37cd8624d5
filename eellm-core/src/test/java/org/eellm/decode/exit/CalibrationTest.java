package org.eellm.decode.exit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.eellm.decode.HeadOutputs.exit;
import static org.eellm.decode.HeadOutputs.last;
import static org.eellm.decode.HeadOutputs.logits;
import static org.eellm.decode.HeadOutputs.prediction;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.eellm.config.ConfigException;
import org.eellm.decode.SmallModel;
import org.eellm.decode.token.Prediction;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.eellm.tensor.Scope;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class CalibrationTest {
  @TempDir private Path folder;

  @Test
  void read_whatWasWritten_isTheSame() throws IOException {
    Calibration written =
        Calibration.of(
            PolicyName.ENTROPY,
            new TreeMap<>(Map.of(2, 0.83, 11, 0.5)),
            new TreeMap<>(Map.of(11, 0.6)));
    Path file = folder.resolve("thresholds.json");
    written.write(file);

    assertThat(Calibration.read(file)).isEqualTo(written);
  }

  @Test
  void read_gatesThatWereWritten_areTheSame() throws IOException {
    Gate gate = new Gate(-1.5, 0.1 + 0.2, 1e-9, new float[] {0.1f, -3e-7f, 0});
    Calibration written =
        new Calibration(
            new Calibration.OfGates(new TreeMap<>(Map.of(2, gate))), new TreeMap<>(Map.of(2, 0.8)));
    Path file = folder.resolve("gates.json");
    written.write(file);

    Calibration read = Calibration.read(file);
    assertThat(read).isEqualTo(written);
    assertThat(read.policy().gates()).isEqualTo(Map.of(2, gate));
    assertThat(read.rule().thresholdRule().isConfidence()).isTrue();
  }

  @Test
  void stored_besideTheExits_isThere() throws IOException {
    try (Decoder model = SmallModel.plain()) {
      assertThat(Calibration.stored(folder, model.architecture())).isEmpty();

      Calibration written =
          Calibration.of(PolicyName.MARGIN, new TreeMap<>(Map.of(1, 0.5, 4, 0.6)), new TreeMap<>());
      written.write(folder.resolve("calibration.json"));

      assertThat(Calibration.stored(folder, model.architecture())).contains(written);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"policy\": \"margin\", \"thresholds\": {\"2\": 0.8, \"3\": 0.5}} | thresholds: there is"
            + " no exit after layer 3, but after [1, 2, 4]; remove the file, and calibrate this"
            + " model",
        "{\"policy\": \"gate\", \"thresholds\": {\"2\": 0.8}, \"gates\": {\"2\": {\"bias\": 0,"
            + " \"log_odds\": 1, \"gap\": 0, \"hidden\": [1, 2]}}} | gates: this model's hidden"
            + " state has 32 numbers, and they have other numbers of weights; remove the file, and"
            + " calibrate this model",
        "{\"thresholds\": {\"2\": | is no JSON; write {\"policy\": \"max-probability\","
            + " \"thresholds\": {\"2\": 0.8}}",
      })
  void stored_ofAnotherModelOrDamaged_isRefusedInALine(String text, String message)
      throws IOException {
    Path file = Files.writeString(folder.resolve("calibration.json"), text);
    try (Decoder model = SmallModel.plain()) {
      assertThatThrownBy(() -> Calibration.stored(folder, model.architecture()))
          .isInstanceOf(ConfigException.class)
          .message()
          .startsWith(file.toString())
          .endsWith(message);
    }
  }

  private static final String GATED = "{\"policy\": \"gate\", \"thresholds\": {\"2\": 0.8}";

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "} | gates: \"2\": has no list of weights named hidden; write {\"bias\": 0, \"log_odds\":"
            + " 1, \"gap\": 0, \"hidden\": [...]}",
        ", \"gates\": {\"2\": {\"hidden\": []}}} | gates: \"2\": has no list of weights named"
            + " hidden; write {\"bias\": 0, \"log_odds\": 1, \"gap\": 0, \"hidden\": [...]}",
        ", \"gates\": {\"2\": {\"hidden\": [1]}}} | gates: \"2\": bias: is missing; write a number"
            + " of single precision",
        ", \"gates\": {\"2\": {\"hidden\": [1, \"x\"]}}} | gates: \"2\": hidden[1]: \"x\" is no"
            + " finite number; write a number of single precision",
        ", \"gates\": {\"2\": {\"hidden\": [1e39]}}} | gates: \"2\": hidden[0]: 1.0E39 is no finite"
            + " number; write a number of single precision",
        ", \"gates\": {\"2\": {\"bias\": 0, \"log_odds\": 1, \"gap\": null, \"hidden\": [1]}}} |"
            + " gates: \"2\": gap: null is no finite number; write a number of single precision",
        ", \"gates\": {\"2\": {\"bias\": 0, \"log_odds\": 1, \"gap\": 0, \"hidden\": [1]}, \"4\":"
            + " {}}} | gates: there are some without a threshold; write thresholds for all of them",
        ", \"temperatures\": {\"2\": 1}} | temperatures: gates have their own scale; leave them"
            + " out",
      })
  void read_damagedGates_areRefusedWithTheirPlace(String rest, String message) throws IOException {
    Path file = folder.resolve("gates.json");
    Files.writeString(file, GATED + rest);

    assertThatThrownBy(() -> Calibration.read(file))
        .isInstanceOf(ConfigException.class)
        .hasMessage(file + ": " + message);
  }

  @Test
  void policy_asksTheNamedExitsWithTheirThresholds() throws IOException {
    Path file = folder.resolve("thresholds.json");
    Files.writeString(
        file, "{\"policy\": \"margin\", \"thresholds\": {\"2\": 0.3}, \"agreement\": 0.99}");
    ExitPolicy policy = Calibration.read(file).policy();
    try (Scope _ = Scope.open()) {
      List<Head> heads = List.of(exit(1), exit(2), last());

      assertThat(policy.heads(heads)).containsExactly(heads.get(1), heads.get(2));
      assertThat(policy.leaves(prediction(logits(0.1, 0.62, 0.28)))).isTrue();
      assertThat(policy.leaves(prediction(logits(0.1, 0.58, 0.32)))).isFalse();
    }
  }

  /** Halved logits of 0.62 and 0.28 have probabilities in the ratio of their square roots. */
  @Test
  void policy_withTemperatures_looksAtTemperedDistributions() throws IOException {
    Path file = folder.resolve("thresholds.json");
    try (Scope _ = Scope.open()) {
      float[] logits = logits(0.1, 0.62, 0.28);
      double sum = Math.sqrt(0.1) + Math.sqrt(0.62) + Math.sqrt(0.28);
      Prediction halved = prediction(logits).tempered(2);
      assertThat(halved.maxProbability()).isCloseTo(Math.sqrt(0.62) / sum, within(1e-6));
      assertThat(halved.margin())
          .isCloseTo((Math.sqrt(0.62) - Math.sqrt(0.28)) / sum, within(1e-6));
      assertThat(halved.logProbability(0)).isCloseTo(Math.log(Math.sqrt(0.1) / sum), within(1e-6));
      assertThat(halved.tempered(0.5).entropy())
          .isCloseTo(prediction(logits).entropy(), within(1e-6));

      String thresholds = "{\"policy\": \"max-probability\", \"thresholds\": {\"2\": 0.5}";
      Files.writeString(file, thresholds + "}");
      assertThat(Calibration.read(file).policy().leaves(prediction(logits))).isTrue();
      Files.writeString(file, thresholds + ", \"temperatures\": {\"2\": 2}}");
      assertThat(Calibration.read(file).policy().leaves(prediction(logits))).isFalse();
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{ | is no JSON; write {\"policy\": \"max-probability\", \"thresholds\": {\"2\": 0.8}}",
        "{} | policy: is missing; use one of max-probability," + " margin, entropy, gate",
        "{\"policy\": \"full\"} | policy: \"full\" has no thresholds; use one of"
            + " max-probability, margin, entropy, gate",
        "{\"policy\": \"margin\"} | thresholds: there are none; write one for each exit, as in"
            + " {\"2\": 0.8}",
        "{\"policy\": \"margin\", \"thresholds\": {\"two\": 0.8}} | thresholds: \"two\": 0.8 is no"
            + " layer and number; write \"2\": 0.8",
        "{\"policy\": \"margin\", \"thresholds\": {\"2\": \"high\"}} | thresholds: \"2\": \"high\""
            + " is no layer and number; write \"2\": 0.8",
        "{\"policy\": \"margin\", \"thresholds\": {\"2\": 0.8}, \"temperatures\": {\"2\": 0}} |"
            + " temperatures: \"2\": 0.0 is no positive number for an exit with a threshold; leave"
            + " it out",
        "{\"policy\": \"margin\", \"thresholds\": {\"2\": 0.8}, \"temperatures\": {\"4\": 1}} |"
            + " temperatures: \"4\": 1.0 is no positive number for an exit with a threshold; leave"
            + " it out",
        "{\"policy\": \"margin\", \"thresholds\": 0.8} | thresholds: 0.8 does not say for which"
            + " layers; write {\"2\": 0.8}",
        "{\"policy\": \"margin\", \"thresholds\": {\"2\": 0.8}, \"temperatures\": [0.6]} |"
            + " temperatures: [0.6] does not say for which layers; write {\"2\": 0.8}",
      })
  void read_anotherForm_isRefusedWithTheFilesName(String text, String message) throws IOException {
    Path file = folder.resolve("thresholds.json");
    Files.writeString(file, text);

    assertThatThrownBy(() -> Calibration.read(file))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith(file.toString())
        .hasMessageEndingWith(message);
  }
}
