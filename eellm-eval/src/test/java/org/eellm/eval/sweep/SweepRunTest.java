package org.eellm.eval.sweep;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.config.HeadId;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.request.Result.Usage;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.eval.EvalException;
import org.eellm.eval.EvalProgress;
import org.eellm.eval.sweep.Sweep.Failure;
import org.eellm.eval.sweep.Sweep.Row;
import org.eellm.model.Head;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Times of a generator whose times are known. */
final class SweepRunTest {
  private static final GeneratedToken TOKEN =
      new GeneratedToken(7, HeadId.FINAL, 4, 1, 0, false, List.of());

  private static final List<Head> HEADS =
      List.of(new Head(0, HeadId.exit(2), 2, 4, false), new Head(1, HeadId.FINAL, 4, 8, false));

  @TempDir private Path folder;

  /** The full model takes 10 seconds to the first token, and 4 seconds on. */
  private static List<Result> generate(List<Request> requests) {
    return requests.stream()
        .map(
            request ->
                request.decoding() instanceof DecodingMethod.Speculative
                    ? result(10, 12)
                    : request.decoding().equals(DecodingMethod.full())
                        ? result(10, 14)
                        : result(2, 14))
        .toList();
  }

  private static Result result(double first, double all) {
    List<GeneratedToken> tokens = Stream.generate(() -> TOKEN).limit(3).toList();
    return new Result(tokens, FinishReason.LENGTH, new Usage(1, 0, 0, 0), 0, first, all);
  }

  /** What a prompt leaves for later makes its first token earlier, and the text no faster. */
  @Test
  void measure_promptsThatLeaveEarly_gainNothingAndLoseNothing() {
    SweepRun run =
        new SweepRun(SweepRunTest::generate, List.of(2), Set.of(), List.of(List.of(1)), 3);

    Sweep sweep =
        run.measure(
            List.of(SweepSetting.atThreshold(0.5), SweepSetting.speculative(2, 2, 0)),
            2,
            EvalProgress.NONE);

    assertThat(sweep.rows().getFirst().speedUp()).isCloseTo(1, within(1e-9));
    assertThat(sweep.rows().getLast().speedUp()).isCloseTo(2, within(1e-9));
    assertThat(sweep.rows().getLast().tokensPerSecond()).isCloseTo(1, within(1e-9));
    assertThat(sweep.fullTokensPerSecond()).isCloseTo(0.5, within(1e-9));
  }

  /** The full model takes 10 and 4 seconds, a fixed exit 2 and 1: it is 4 times as fast. */
  @Test
  void measure_promptsThatLeaveForGood_areNotGainedFrom() {
    SweepRun run =
        new SweepRun(
            requests ->
                requests.stream()
                    .map(
                        request ->
                            request.decoding().heads(HEADS).getLast().isExit()
                                ? result(2, 3)
                                : result(10, 14))
                    .toList(),
            List.of(2),
            Set.of(),
            List.of(List.of(1)),
            3);

    Sweep sweep =
        run.measure(
            List.of(SweepSetting.ofExits(DecodingMode.EARLY_EXIT, PolicyName.FIXED, List.of(2))),
            2,
            EvalProgress.NONE);

    assertThat(sweep.rows().getFirst().speedUp()).isCloseTo(4, within(1e-9));
  }

  /** Two groups of texts: the later first token and the later last one of each count. */
  @Test
  void measure_textsThatRunTogether_takeAsLongAsTheLastOfEachGroup() {
    SweepRun run =
        new SweepRun(
            requests ->
                IntStream.range(0, requests.size())
                    .mapToObj(
                        i ->
                            requests.get(i).decoding() instanceof DecodingMethod.Speculative
                                ? result(i, i + 3)
                                : result(i, i + 5))
                    .toList(),
            List.of(2),
            Set.of(),
            List.of(List.of(1), List.of(2), List.of(3)),
            3,
            new SweepConditions(0.8, 2, 0));

    Row row =
        run.measure(List.of(SweepSetting.speculative(2, 2, 0)), 1, EvalProgress.NONE)
            .rows()
            .getFirst();

    // The full model: 6 + 7 seconds, of which 1 + 2 to first tokens; drafts: 4 + 5.
    assertThat(row.speedUp()).isCloseTo((13 - 3) / (9.0 - 3), within(1e-9));
    assertThat(row.tokensPerSecond()).isCloseTo((9 - 3) / (9.0 - 3), within(1e-9));
  }

  /** The full model and the control take 4 seconds a round, drafts those that are left. */
  private static final class Rounds {
    private final Iterator<Double> drafts;

    Rounds(Double... drafts) {
      this.drafts = List.of(drafts).iterator();
    }

    List<Result> generate(List<Request> requests) {
      double seconds =
          requests.getFirst().decoding() instanceof DecodingMethod.Speculative ? drafts.next() : 4;
      return requests.stream().map(_ -> result(0, seconds)).toList();
    }
  }

  /** A single fast round of a machine whose speed changes is no speed-up. */
  @Test
  void measure_roundsThatDiffer_givesTheMedianWithinTheirRange() {
    Rounds rounds = new Rounds(400.0, 2.0, 4.0, 0.1, 8.0, 5.0); // the first one is the warm-up
    SweepRun run = new SweepRun(rounds::generate, List.of(2), Set.of(), List.of(List.of(1)), 3);

    Sweep sweep = run.measure(List.of(SweepSetting.speculative(2, 2, 0)), 5, EvalProgress.NONE);

    assertThat(rounds.drafts.hasNext()).as("six rounds").isFalse();
    assertThat(sweep.rounds()).isEqualTo(5);
    assertThat(sweep.warmUpRounds()).isEqualTo(1);
    Row row = sweep.rows().getFirst();
    assertThat(row.speedUp()).as("of 2, 1, 40, 0.5 and 0.8").isCloseTo(1, within(1e-9));
    assertThat(row.spread().least()).isCloseTo(0.5, within(1e-9));
    assertThat(row.spread().most()).isCloseTo(40, within(1e-9));
    assertThat(row.tokensPerSecond()).isCloseTo(2 / 4.0, within(1e-9));
  }

  @Test
  void measure_anyRounds_figureLiesInsideItsRange() {
    Random random = new Random(1);
    for (int count = 1; count < 9; count++) {
      Double[] seconds =
          random.doubles(1 + count, 0.1, 10).boxed().toArray(Double[]::new); // and the warm-up
      SweepRun run =
          new SweepRun(new Rounds(seconds)::generate, List.of(2), Set.of(), List.of(List.of(1)), 3);

      Row row =
          run.measure(List.of(SweepSetting.speculative(2, 2, 0)), count, EvalProgress.NONE)
              .rows()
              .getFirst();

      assertThat(row.speedUp()).isBetween(row.spread().least(), row.spread().most());
    }
  }

  @Test
  void measure_withAFile_tellsEachSettingAsItIsDone() {
    List<String> finished = new ArrayList<>();
    EvalProgress progress =
        new EvalProgress() {
          @Override
          public void report(String work, long done, long total) {
            assertThat(done).as(work).isBetween(1L, total);
          }

          @Override
          public void finished(String result) {
            finished.add(result);
          }
        };
    SweepRun run =
        new SweepRun(SweepRunTest::generate, List.of(2), Set.of(), List.of(List.of(1)), 3);
    List<SweepSetting> settings =
        IntStream.range(0, 12).mapToObj(i -> SweepSetting.atThreshold(0.5 + 0.01 * i)).toList();

    run.measure(settings, 5, folder.resolve("rows"), "this", SweepTasks.none(), progress);

    assertThat(finished).hasSize(12);
    assertThat(finished.getFirst())
        .matches(
            "threshold 0\\.5: speed-up 1\\.00 \\(1\\.00 to 1\\.00\\), agreement 0\\.0 %; 11 of 12"
                + " settings left, about \\d+ s");
    assertThat(finished.getLast()).endsWith("; 0 of 12 settings left");
  }

  /** The full model's token; early exits' is another one where they write by themselves. */
  private static Result written(Request request, int accepted) {
    boolean leaves =
        request.decoding() instanceof DecodingMethod.EarlyExit
            && !request.decoding().equals(DecodingMethod.full());
    GeneratedToken token =
        new GeneratedToken(leaves ? 8 : 7, HeadId.FINAL, 4, 1, 0, false, List.of());
    return new Result(
        List.of(token, token, token), FinishReason.LENGTH, new Usage(1, 0, 4, accepted), 0, 0.5, 2);
  }

  private static SweepRun run(Function<Request, Result> generator) {
    return new SweepRun(
        requests -> requests.stream().map(generator).toList(),
        List.of(2),
        Set.of(),
        List.of(List.of(1), List.of(2)),
        3);
  }

  @Test
  void measure_machineWasBusy_timesAgainAndKeepsTexts() {
    List<SweepSetting> settings = List.of(SweepSetting.speculative(2, 2, 0));
    Path file = folder.resolve("rows");
    Sweep busy =
        run(request -> {
              boolean drafts = request.decoding() instanceof DecodingMethod.Speculative;
              return result(0, drafts || request.decoding().equals(DecodingMethod.full()) ? 4 : 8);
            })
            .measure(settings, 2, file, "this", SweepTasks.none(), EvalProgress.NONE);

    assertThat(busy.trusted()).isFalse();
    List<DecodingMethod> asked = new ArrayList<>();
    Sweep quiet =
        run(request -> {
              asked.add(request.decoding());
              return result(0, 4);
            })
            .measure(settings, 2, file, "this", SweepTasks.none(), EvalProgress.NONE);

    assertThat(quiet.trusted()).isTrue();
    assertThat(quiet.rows()).singleElement().returns(busy.rows().getFirst().own(), Row::own);
    assertThat(asked.stream().filter(DecodingMethod.Speculative.class::isInstance))
        .as("two texts, a warm-up and two rounds, and none of its own")
        .hasSize(2 * (1 + 2));
  }

  @Test
  void measure_settingThatFails_leavesTheOthersAndIsTriedAgain() {
    List<SweepSetting> settings =
        List.of(
            SweepSetting.atThreshold(0.5),
            SweepSetting.speculative(2, 2, 0),
            SweepSetting.atThreshold(0.7));
    Path file = folder.resolve("rows");
    Sweep broken =
        run(request -> {
              if (request.decoding() instanceof DecodingMethod.Speculative) {
                throw new IllegalStateException("no drafts today");
              }
              return written(request, 0);
            })
            .measure(settings, 2, file, "this", SweepTasks.none(), EvalProgress.NONE);

    assertThat(broken.rows())
        .extracting(Row::setting)
        .containsExactly(settings.getFirst(), settings.getLast());
    assertThat(broken.failures()).singleElement().returns("no drafts today", Failure::reason);
    assertThat(SweepTable.of(broken).markdown())
        .contains("\n- lossless, exit 2: 2 tokens, 0.0: failed: no drafts today");

    List<DecodingMethod> asked = new ArrayList<>();
    Sweep mended =
        run(request -> {
              asked.add(request.decoding());
              return written(request, 1);
            })
            .measure(settings, 2, file, "this", SweepTasks.none(), EvalProgress.NONE);

    assertThat(mended.failures()).isEmpty();
    assertThat(mended.rows()).extracting(Row::setting).isEqualTo(settings);
    assertThat(mended.rows().getFirst()).isEqualTo(broken.rows().getFirst());
    assertThat(mended.rows().getLast()).isEqualTo(broken.rows().getLast());
    assertThat(asked.stream().filter(DecodingMethod.Speculative.class::isInstance))
        .as("two texts, a warm-up and two rounds, and texts of its own")
        .hasSize(2 * (1 + 2 + 1));
  }

  @Test
  void measure_everySettingFails_saysWhy() {
    SweepRun run =
        run(
            request -> {
              if (request.decoding() instanceof DecodingMethod.Speculative) {
                throw new IllegalStateException("no drafts today");
              }
              return written(request, 0);
            });
    assertThatThrownBy(
            () ->
                run.measure(
                    List.of(SweepSetting.speculative(2, 2, 0)),
                    1,
                    folder.resolve("rows"),
                    "this",
                    SweepTasks.none(),
                    EvalProgress.NONE))
        .isInstanceOf(EvalException.class)
        .hasMessageContaining("no setting could be measured")
        .hasMessageContaining("no drafts today");
  }

  /** Three tokens, one of them an accepted draft, take two passes. */
  @Test
  void measure_textsThatDiffer_areToldToBeLossy() {
    Sweep sweep =
        run(request -> written(request, 1))
            .measure(
                List.of(SweepSetting.atThreshold(0.5), SweepSetting.speculative(2, 2, 0)),
                1,
                folder.resolve("rows"),
                "this",
                SweepTasks.none(),
                EvalProgress.NONE);

    assertThat(sweep.rows().getLast().tokensPerPass()).isCloseTo(1.5, within(1e-9));
    List<String[]> table =
        SweepTable.of(sweep).csv().lines().map(line -> line.split(",", -1)).toList();
    int lossless = List.of(table.getFirst()).indexOf("lossless");
    assertThat(table.stream().skip(1).map(cells -> cells[0] + " " + cells[lossless]))
        .startsWith("full model true", "threshold 0.5 false");
    assertThat(SweepTable.of(sweep).csv()).contains("\n\"lossless, exit 2: 2 tokens, 0.0\",");
    assertThat(sweep.rows().getLast().own().orElseThrow().same()).isEqualTo(1);
  }
}
