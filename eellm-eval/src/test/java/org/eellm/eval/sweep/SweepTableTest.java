package org.eellm.eval.sweep;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.eellm.config.HeadId;
import org.eellm.eval.Estimate;
import org.eellm.eval.sweep.Sweep.Control;
import org.eellm.eval.sweep.Sweep.FreeRunning;
import org.eellm.eval.sweep.Sweep.Row;
import org.eellm.eval.sweep.Sweep.Spread;
import org.eellm.eval.sweep.SweepTable.Line;
import org.junit.jupiter.api.Test;

final class SweepTableTest {
  private static final SweepSetting DRAFTS = SweepSetting.speculative(2, 4, 0);
  private static final SweepSetting EXITS = SweepSetting.atThreshold(0.5);
  private static final SweepSetting BROKEN = SweepSetting.atThreshold(0.1);
  private static final MethodCost COST = new MethodCost(1234, Optional.of(56.5));
  private static final Pattern CELL =
      Pattern.compile("\\G(?:\"((?:[^\"]|\"\")*)\"|([^,\n]*))[,\n]");

  private static Row row(SweepSetting setting, double speedUp, double perPass, double same) {
    SequencedMap<HeadId, Double> shares = new LinkedHashMap<>(Map.of(HeadId.FINAL, 1.0));
    SequencedMap<String, Estimate> scores =
        new LinkedHashMap<>(Map.of("lambada acc", new Estimate(0.25, 0.01)));
    return new Row(
        setting,
        shares,
        4,
        100 * speedUp,
        speedUp,
        new Spread(speedUp, speedUp),
        perPass,
        new Control(1, new Spread(1, 1), 100),
        same,
        Optional.empty(),
        Optional.of(new FreeRunning(same, 1.5)),
        scores);
  }

  private static SweepTable table(double control) {
    Sweep sweep =
        new Sweep(
            SweepConditions.USUAL,
            2,
            40,
            5,
            1,
            100,
            Optional.of(1.25),
            new LinkedHashMap<>(Map.of("lambada acc", new Estimate(0.5, 0.01))),
            List.of(row(EXITS, 1.5, 1, 0.9), row(DRAFTS, control, 1.75, 1)),
            List.of(new Sweep.Failure(BROKEN, new IllegalStateException("no \"room\",\nat all"))));
    return new SweepTable(
        sweep,
        List.of(
            new Line("layerskip", "2404.16710", Optional.of(DRAFTS), "", Optional.of(COST)),
            new Line("max-probability", "1810.07052", Optional.of(EXITS), "", Optional.empty()),
            new Line("entropy", "1709.01686", Optional.of(BROKEN), "", Optional.empty()),
            Line.without(ComparedMethod.GATES, "skipped: the model lacks what X makes")));
  }

  /** As RFC 4180 has them. */
  private static List<Map<String, String>> records(String csv) {
    List<List<String>> records = new ArrayList<>(List.of(new ArrayList<>()));
    for (MatchResult cell : CELL.matcher(csv).results().toList()) {
      String quoted = cell.group(1);
      records.getLast().add(quoted == null ? cell.group(2) : quoted.replace("\"\"", "\""));
      if (cell.group().endsWith("\n")) {
        records.add(new ArrayList<>());
      }
    }
    records.removeLast();
    List<Map<String, String>> named = new ArrayList<>();
    for (List<String> record : records.subList(1, records.size())) {
      Map<String, String> cells = new LinkedHashMap<>();
      assertThat(record).hasSameSizeAs(records.getFirst());
      for (int i = 0; i < record.size(); i++) {
        cells.put(records.getFirst().get(i), record.get(i));
      }
      named.add(cells);
    }
    return named;
  }

  @Test
  void csv_ofMethods_hasALineForEachAndSaysWhyOthersHaveNone() {
    List<Map<String, String>> records = records(table(2).csv());

    assertThat(records)
        .extracting(record -> record.get("name"))
        .containsExactly("full model", "layerskip", "max-probability", "entropy", "gates");
    assertThat(records.get(1))
        .containsEntry("paper", "2404.16710")
        .containsEntry("options", DRAFTS.options())
        .containsEntry("speed_up", "2.0")
        .containsEntry("tokens_per_pass", "1.75")
        .containsEntry("lossless", "true")
        .containsEntry("lambada acc", "0.25")
        .containsEntry("bytes", "1234")
        .containsEntry("training_seconds", "56.5")
        .containsEntry("temperature", "0.0")
        .containsEntry("batch_size", "1")
        .containsEntry("context", "")
        .containsEntry("note", "");
    assertThat(records.get(2))
        .containsEntry("same_texts", "0.9")
        .containsEntry("lossless", "false");
    assertThat(records.get(3))
        .containsEntry("speed_up", "")
        .containsEntry("lossless", "")
        .containsEntry("lambada acc", "")
        .containsEntry("note", "failed: no \"room\",\nat all");
    assertThat(records.get(4).get("note")).startsWith("skipped: ");
  }

  @Test
  void csv_busyMachine_hasNoSpeeds() {
    Sweep quiet = table(2).sweep();
    Row row = quiet.rows().getFirst();
    Row busy =
        new Row(
            row.setting(),
            row.shares(),
            row.meanLayer(),
            row.tokensPerSecond(),
            row.speedUp(),
            row.spread(),
            row.tokensPerPass(),
            new Control(2, new Spread(1, 3), 100),
            row.agreement(),
            row.acceptance(),
            row.own(),
            row.scores());
    Sweep sweep =
        new Sweep(
            SweepConditions.USUAL,
            2,
            40,
            5,
            1,
            100,
            Optional.empty(),
            quiet.fullScores(),
            List.of(busy),
            List.of());

    assertThat(records(SweepTable.of(sweep).csv()).get(1))
        .containsEntry("speed_up", "")
        .containsEntry("tokens_per_second", "")
        .containsEntry("agreement", "0.9");
  }

  @Test
  void markdown_ofMethods_namesPapersAndWhatIsLossless() {
    assertThat(table(2).markdown())
        .contains(
            "| * | layerskip ([2404.16710](https://arxiv.org/abs/2404.16710)) | 200 |"
                + " 2.00 (2.00 to 2.00) | 100.0 % | 4.00 |")
        .contains("- entropy ([1709.01686](https://arxiv.org/abs/1709.01686)): failed: no ")
        .contains("- gates ([2603.21365](https://arxiv.org/abs/2603.21365)): skipped: ");
  }
}
