package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.eellm.checkpoint.ExamplePrompts;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.HeadId;
import org.eellm.decode.SmallModel;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.token.GeneratedToken;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The page in a real browser. */
final class PageTest extends WithServer {
  private static final String PROMPT = "the cat and";
  private static final int TOKENS = 20;
  private static final List<HeadId> HEADS = HeadId.all(List.of(1, 2, 4));

  @TempDir private Path other;

  private static JsonNode play(TestServer on, String scenario) {
    return play(on, scenario, "");
  }

  private static JsonNode play(TestServer on, String scenario, String link) {
    Optional<Path> chromium =
        Stream.of("chromium", "chromium-browser", "google-chrome")
            .flatMap(name -> NodeScripts.find(name).stream())
            .findFirst();
    assumeTrue(chromium.isPresent(), "skipped: needs chromium");
    NodeScripts scripts = NodeScripts.install(PageTest.class, "clients");
    JsonNode seen = scripts.run("browser.js", on.base(), chromium.get().toString(), scenario, link);
    on.awaitIdle();
    return seen;
  }

  private static JsonNode play(String scenario) {
    return play(server, scenario);
  }

  private static List<GeneratedToken> early(double threshold) {
    return server
        .alone(
            PROMPT,
            TOKENS,
            new DecodingMethod.EarlyExit(ExitPolicies.maxProbability(Threshold.of(threshold))),
            new RandomSampler(0, 0, 1, 1, 0))
        .tokens();
  }

  private static List<String> counts(List<GeneratedToken> tokens) {
    return HEADS.stream()
        .map(head -> Long.toString(tokens.stream().filter(t -> t.head().equals(head)).count()))
        .toList();
  }

  private static List<String> texts(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).map(JsonNode::asText).toList();
  }

  private static String text(List<GeneratedToken> tokens) {
    return PROMPT + server.text(tokens.stream().map(GeneratedToken::id).toList());
  }

  @Test
  void pageOfAnotherSite_evenIfItsNameComesToMeanThisMachine_neitherAsksNorReads() {
    JsonNode seen = play("foreign");

    assertThat(seen.path("own").asInt()).isEqualTo(200);
    assertThat(texts(seen.path("rebound"))).hasSize(5).containsOnly("403 refused");
    assertThat(texts(seen.path("others"))).hasSize(5).containsOnly("kept from the page");
    assertThat(seen.path("before").asText()).startsWith("eellm_generated_tokens_total");
    assertThat(seen.path("after").asText()).isEqualTo(seen.path("before").asText());
  }

  @Test
  void run_twoSettings_showsTextsFiguresAndTheLens() {
    JsonNode seen = play("writes");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(seen.path("about").asText()).isEqualTo("small: 5 layers, exits after 1, 2, 4");
    assertThat(texts(seen.path("legend")))
        .containsExactly("exit 1", "exit 2", "exit 4", "final head");
    int prompt = server.served.prompt(PROMPT, "prompt").size();
    assertThat(seen.path("count").asText())
        .isEqualTo("%d tokens; %d may follow".formatted(prompt, 96 - prompt));
    assertThat(seen.path("mostTokens").asInt()).isEqualTo(95); // more than fit are no wrong number
    List<GeneratedToken> alone = early(0.02);
    JsonNode a = seen.path("a");
    assertThat(a.path("title").asText()).isEqualTo("Left: Early exit: max-probability ≥ 0.02");
    assertThat(a.path("made").asText()).isEqualTo("greedy; at most 20 tokens");
    assertThat(a.path("text").asText()).isEqualTo(text(alone));
    assertThat(a.path("end").asText()).isEqualTo("Ended at the limit of 20 tokens.");
    assertThat(a.path("tokens").asInt()).isEqualTo(TOKENS);
    assertThat(a.path("invisible").asInt()).isZero();
    assertThat(a.path("spoken").asText()).contains("left at", "of 5 layers", "% sure");
    assertThat(texts(a.path("counts"))).isEqualTo(counts(alone));
    assertThat(a.path("drawings").asInt()).isEqualTo(1);
    assertThat(texts(a.path("figures"))).contains("tokens", "mean depth", "first token", "time");
    JsonNode b = seen.path("b");
    assertThat(b.path("title").asText()).isEqualTo("Right: Full model");
    assertThat(b.path("text").asText()).isEqualTo(PROMPT + server.greedy(PROMPT, TOKENS));
    assertThat(b.path("marks").asInt()).isEqualTo(1);
    // What it says depends on the clock; that it is one of these, with its spread, does not.
    assertThat(seen.path("verdict").asText())
        .containsPattern("No verdict|No difference|has \\d+\\.\\d\\d times the speed of the right")
        .containsPattern("\\d+\\.\\d\\d to \\d+\\.\\d\\d in (the middle \\d+ of )?\\d+ turns");
    assertThat(seen.path("agreement").asText())
        .containsPattern("The texts part at token \\d+\\.|Both texts are the same")
        .contains(
            "given the full model's text: %d %% (%d of 20 tokens)"
                .formatted(5 * seen.path("agree").asInt(), seen.path("agree").asInt()));
    requireLens(seen, alone);
  }

  @Test
  void pageAsItOpens_hasWrittenAnExampleWithExitsBesideTheLosslessText() throws IOException {
    List<String> prompts = List.of(PROMPT, "the dog and", "the bird");
    new ExamplePrompts(prompts).write(other);
    try (TestServer opened = TestServer.start(other)) {
      JsonNode seen = play(opened, "opens");

      assertThat(texts(seen.path("errors"))).isEmpty();
      assertThat(seen.path("prompt").asText()).isEqualTo(PROMPT);
      assertThat(texts(seen.path("examples"))).isEqualTo(prompts);
      assertThat(seen.path("a").path("title").asText())
          .startsWith("Left: Early exit: max-probability ≥ ");
      assertThat(seen.path("b").path("title").asText()).isEqualTo("Right: Drafts, lossless");
      int room = 64; // by default
      assertThat(seen.path("b").path("text").asText())
          .isEqualTo(PROMPT + opened.greedy(PROMPT, room));
      assertThat(seen.path("a").path("marks").asInt()).isGreaterThan(1); // some leave, some do not
      assertThat(seen.path("verdict").asText()).isEmpty(); // nothing has been timed
      assertThat(seen.path("agreement").asText()).contains("given the full model's text: ");
      assertThat(seen.path("estimate").asText()).contains("of 5 layers", "Estimated");
      assertThat(seen.path("address").asText()).contains("a.threshold=");
      assertThat(seen.path("what").asBoolean()).isTrue();
      assertThat(texts(seen.path("marks"))).contains("token");
      assertThat(seen.path("top").asInt()).isLessThan(400);
      assertThat(texts(seen.path("said")))
          .anyMatch(
              words ->
                  words.matches(
                      "timing both in turns, 9 of 19: [\\d.]+ and [\\d.]+ tokens/s,"
                          + " ratio \\d+\\.\\d\\d so far …"));
      assertThat(seen.path("timed").asText())
          .containsPattern("\\d+\\.\\d\\d to \\d+\\.\\d\\d in (the middle \\d+ of )?\\d+ turns");
      assertThat(texts(seen.path("figures")))
          .anyMatch(figure -> figure.matches("tokens/s in \\d+ turns"));
      assertThat(seen.path("second").asText())
          .isEqualTo("the dog and" + opened.greedy("the dog and", room));
    }
  }

  @Test
  @Tag("slow")
  void modelWithoutExits_isWrittenWithByTheFullModel() {
    try (TestServer plain =
        TestServer.start(other, SmallModel.of(ExitLayout.none(), DataType.FLOAT32))) {
      JsonNode seen = play(plain, "ends", "prompt=the+cat+and&tokens=20");

      assertThat(texts(seen.path("errors"))).isEmpty();
      assertThat(seen.path("a").path("title").asText()).isEqualTo("Left: Full model");
      for (String side : List.of("a", "b")) {
        assertThat(seen.path(side).path("text").asText())
            .isEqualTo(PROMPT + plain.greedy(PROMPT, TOKENS));
      }
    }
  }

  @Test
  @Tag("slow")
  void serverThatDiesAmidAText_leavesWhatWasWritten() {
    JsonNode seen = play("dies");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(seen.path("message").asText())
        .isEqualTo("the server closed the connection before the text had ended");
    assertThat(seen.path("a").path("tokens").asInt()).isBetween(1, 59);
    assertThat(seen.path("a").path("text").asText())
        .startsWith(PROMPT)
        .endsWith(seen.path("message").asText());
    assertThat(seen.path("a").path("end").asText()).startsWith("Broken off: ");
    assertThat(seen.path("again").path("text").asText())
        .isEqualTo(PROMPT + server.greedy(PROMPT, 60));
  }

  @Test
  @Tag("slow")
  void linkIsWrittenAtOnce_escapeStops_andAnOutlierStretchesNoCurve() {
    JsonNode seen = play("stops");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(seen.path("linked").asText()).isEqualTo(PROMPT + server.greedy(PROMPT, TOKENS));
    assertThat(seen.path("message").asText()).isEqualTo("stopped");
    JsonNode curve = seen.path("curve");
    assertThat(curve.path("highest").asDouble()).isBetween(1.5, 2.5);
    assertThat(curve.path("cut").asInt()).isEqualTo(1);
    assertThat(texts(curve.path("labels"))).containsExactly("0.5", "0.9, 0.8", "1");
    assertThat(curve.path("used").asDouble()).isGreaterThan(0.7);
    assertThat(curve.path("titles").asInt()).isEqualTo(4);
  }

  @Test
  @Tag("slow")
  void policyFixedWithoutItsExit_isExplainedAtTheCheckboxesBeforeTheServerIsAsked() {
    JsonNode seen = play("fixed");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(seen.path("message").asText())
        .isEqualTo("Left: all tokens leave at one fixed exit; tick just one under Exits");
    assertThat(seen.path("exits").asBoolean()).isTrue();
    assertThat(texts(seen.path("blamed"))).containsExactly("exit-1");
    assertThat(texts(seen.path("refusals"))).isEmpty();
    assertThat(texts(seen.path("counts"))).containsExactly("0", "20", "0", "0");
  }

  @Test
  @Tag("slow")
  void token_opensInPlace_markedInTheLens_andArrowsWalk() {
    JsonNode seen = play("token");

    assertThat(texts(seen.path("errors"))).isEmpty();
    for (String screen : List.of("wide", "phone")) {
      JsonNode one = seen.path(screen);
      assertThat(one.path("scrolled").asInt()).as(screen).isZero();
      assertThat(one.path("opened").path("title").asText()).startsWith("Token 51 of 60: ");
      assertThat(one.path("opened").path("facts").asText())
          .contains("left at", "of 5", "this token", "after ");
      assertThat(texts(one.path("opened").path("heads")))
          .containsExactly("exit 1", "exit 2", "exit 4", "final head");
      assertThat(texts(one.path("opened").path("choices"))).containsExactly("5", "5", "5", "5");
      assertThat(one.path("lensOf").asText()).isEqualTo("b");
      assertThat(one.path("marked").toString()).isEqualTo("[[0,50],[1,50],[2,50],[3,50]]");
      assertThat(one.path("inLens").asBoolean()).as(screen).isTrue();
      assertThat(one.path("finalHeadSeen").asBoolean()).as(screen).isTrue();
      assertThat(one.path("walked").asText()).startsWith("Token 52 of 60");
      assertThat(one.path("back").asText()).startsWith("Token 50 of 60");
      assertThat(one.path("closed").isNull()).isTrue();
      assertThat(one.path("focus").asInt()).isEqualTo(49);
    }
  }

  @Test
  @Tag("slow")
  void thresholdDragged_coloursAreThoseOfATextWrittenSo_asFarAsBothAreTheSame() {
    JsonNode seen = play("drags");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(seen.path("tries")).hasSize(4);
    for (JsonNode one : seen.path("tries")) {
      String name = one.path("policy") + " " + one.path("to");
      assertThat(one.path("asked").asInt()).as(name).isZero();
      assertThat(one.path("estimate").asText()).as(name).startsWith("Estimated");
      List<String> dragged = texts(one.path("dragged"));
      int same = one.path("same").asInt() < 0 ? dragged.size() : one.path("same").asInt() + 1;
      assertThat(dragged).as(name).anyMatch(head -> !head.equals("final"));
      assertThat(texts(one.path("written")).subList(0, same))
          .as(name)
          .isEqualTo(dragged.subList(0, same));
      assertThat(texts(one.path("counts")))
          .as(name)
          .isEqualTo(
              HEADS.stream()
                  .map(head -> dragged.stream().filter(head.toString()::equals).count())
                  .map(Object::toString)
                  .toList());
    }
  }

  @Test
  @Tag("slow")
  void twelveSettings_coloursHistogramAndDepth_areTheAnswers() {
    JsonNode seen = play("twelve");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(seen.path("tries")).hasSize(12);
    for (JsonNode one : seen.path("tries")) {
      for (String what : List.of("colours", "counts", "depth")) {
        assertThat(one.path(what).asBoolean()).as(what + " of " + one).isTrue();
      }
    }
    assertThat(seen.path("tries")).anyMatch(one -> one.path("left").asInt() > 1);
  }

  @Test
  @Tag("slow")
  void notebook_keepsNamesExportsDeletesAndTakesBack() {
    JsonNode seen = play("notebook");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(seen.path("focus").asText()).isEqualTo("Show run 2");
    JsonNode rows = seen.path("rows");
    assertThat(rows.path(0).path(2).asText()).isEqualTo("the dog"); // the newest
    assertThat(rows.path(1).path(2).asText()).isEqualTo("the cat");
    assertThat(rows.path(2).path(1).asText()).isEqualTo("first, \"quoted\"");
    assertThat(rows.path(0).path(3).asText()).isEqualTo("Early exit: max-probability ≥ 0.02");
    assertThat(seen.path("afterReload").toString()).isEqualTo(rows.toString());
    List<String> csv = seen.path("csv").asText().lines().toList();
    assertThat(csv.getFirst())
        .isEqualTo(
            "name,when,model,prompt,left,right,tokens,depth,layers,agreement,ratio,least,most");
    assertThat(csv).hasSize(rows.size() + 1);
    assertThat(csv.get(3)).startsWith("\"first, \"\"quoted\"\"\",");
    assertThat(seen.path("exported").asInt()).isEqualTo(rows.size());
    assertThat(seen.path("svg").asText("<svg")).startsWith("<svg");
    assertThat(seen.path("imported").asInt()).isEqualTo(1);
    assertThat(seen.path("odd").asText()).contains("has no runs of this page");
    assertThat(seen.path("printed").toString())
        .isEqualTo("{\"form\":false,\"text\":true,\"runs\":true}");
  }

  @Test
  @Tag("slow")
  void chat_goesOn_branches_andKeepsToASchema() {
    JsonNode seen = play("chats");

    assertThat(texts(seen.path("errors"))).isEmpty();
    JsonNode second = seen.path("second");
    assertThat(second.findValuesAsText("role"))
        .containsExactly("system", "user", "assistant", "user");
    assertThat(second.findValuesAsText("content"))
        .containsExactly("the end", "the cat", seen.path("answer").asText(), "the dog");
    assertThat(seen.path("prompt").asText()).isEqualTo("the cat");
    assertThat(seen.path("third").findValuesAsText("content"))
        .containsExactly("the end", "the bird");
    assertThat(texts(seen.path("others"))).containsExactly("Or: the cat");
    assertThat(seen.path("wrong").asText()).startsWith("JSON Schema: no JSON: ");
    assertThat(seen.path("held").asText()).endsWith("true");
  }

  private static void requireLens(JsonNode seen, List<GeneratedToken> alone) {
    assertThat(seen.path("cells").asInt()).isEqualTo(4 * TOKENS);
    assertThat(texts(seen.path("frames"))).isEqualTo(counts(alone));
    assertThat(texts(seen.path("framesAtOnce"))).containsExactly("20", "0", "0", "0");
    assertThat(seen.path("estimate").asText()).startsWith("Estimated").contains("1.00 of 5 layers");
    assertThat(seen.path("askedMeanwhile").asInt()).isZero();
    assertThat(seen.path("tip").asText()).contains("left at", "of 5", "this token: ");
    assertThat(seen.path("tipAsSeen").asText()).isEqualTo(seen.path("tip").asText());
    assertThat(seen.path("tipGone").asBoolean()).isTrue();
    assertThat(texts(seen.path("opened").path("heads")))
        .containsExactly("exit 1", "exit 2", "exit 4", "final head");
    assertThat(texts(seen.path("opened").path("choices"))).containsExactly("5", "5", "5", "5");
    assertThat(seen.path("savedTokens").asInt()).isEqualTo(TOKENS);
    assertThat(seen.path("savedThreshold").asDouble()).isEqualTo(0.02);
    assertThat(seen.path("picture").path("broken").asBoolean()).isFalse();
    assertThat(seen.path("picture").path("texts").asInt()).isGreaterThan(2 * TOKENS);
  }

  @Test
  @Tag("slow")
  void identicalRuns_sameSettingOnBothSides_claimNoDifference() {
    JsonNode seen = play("repeats");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(texts(seen.path("texts")))
        .hasSize(8)
        .containsOnly(PROMPT + server.greedy(PROMPT, 60));
    assertThat(texts(seen.path("verdicts")))
        .hasSize(4)
        .allMatch(
            verdict ->
                verdict.startsWith("No difference in speed that could be told (")
                        && coversOne(verdict)
                    || verdict.startsWith("No verdict about speed: "))
        .noneMatch(verdict -> verdict.contains("other texts in work"));
    for (int i = 0; i < 4; i++) { // both texts, a turn of each that does not count, and the rest
      String turns = seen.path("verdicts").path(i).asText().replaceAll(".*?(\\d+) turns.*", "$1");
      assertThat(seen.path("asked").path(i).asInt())
          .isEqualTo(2 + 2 * (1 + Integer.parseInt(turns)));
    }
  }

  /** Whether the spread that a verdict states has 1 in it. */
  private static boolean coversOne(String verdict) {
    Matcher spread = Pattern.compile("(\\d+\\.\\d\\d) to (\\d+\\.\\d\\d) in ").matcher(verdict);
    return spread.find()
        && Double.parseDouble(spread.group(1)) <= 1
        && Double.parseDouble(spread.group(2)) >= 1;
  }

  @Test
  @Tag("slow")
  void othersTextsAndABusyMachine_areNoticed() {
    assumeTrue(
        Files.exists(Path.of("/proc/self/schedstat")), "skipped: no kernel that counts waits");
    JsonNode seen = play("busy");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(seen.path("others").asText()).contains("had other texts in work meanwhile");
    assertThat(seen.path("verdict").asText())
        .contains("The machine was busy: it kept the server waiting for a processor ")
        .doesNotContain("other texts");
  }

  @Test
  @Tag("slow")
  void drafts_acceptedAndRejected_areToldWithTheirExit() {
    JsonNode seen = play("drafts");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(seen.path("mode").asText()).isEqualTo("speculative");
    assertThat(seen.path("a").path("title").asText())
        .isEqualTo("Left: Drafts, lossless: exit 2, length 3, margin 0");
    assertThat(seen.path("a").path("text").asText()).isEqualTo(PROMPT + server.greedy(PROMPT, 24));
    assertThat(seen.path("held").asInt()).isEqualTo(seen.path("drafted").asInt());
    assertThat(texts(seen.path("off")))
        .isNotEmpty()
        .allMatch(words -> words.startsWith("exit 2 drafted ") && words.endsWith(", rejected"));
    assertThat(seen.path("tip").asText()).contains("exit 2 drafted ", ", rejected");
  }

  @Test
  @Tag("slow")
  void settingsChangedAmidARun_newRunBegins_andNothingStaleIsShown() {
    JsonNode seen = play("restarts");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(seen.path("meanwhile").path("text").asText()).startsWith("Comes after the left one");
    assertThat(seen.path("meanwhile").path("figures").size()).isZero();
    JsonNode moved = seen.path("moved");
    assertThat(moved.path("title").asText()).endsWith("max-probability ≥ 0.00");
    assertThat(moved.path("text").asText()).isEqualTo(text(early(0)));
    assertThat(texts(moved.path("counts"))).containsExactly("20", "0", "0", "0");
    assertThat(seen.path("address").asText()).contains("a.threshold=0", "tokens=20");
    assertThat(seen.path("afterSwitch").path("text").asText()).isEqualTo("Not written yet.");
    assertThat(seen.path("afterSwitch").path("figures").size()).isZero();
    assertThat(seen.path("verdictAfterSwitch").asText()).isEmpty();
    assertThat(seen.path("kept").asBoolean()).isTrue();
    assertThat(seen.path("runs").asInt()).isGreaterThanOrEqualTo(3);
    assertThat(seen.path("pinned").path("a").asText()).isEqualTo("Left: Full model");
    assertThat(seen.path("pinned").path("b").asText()).startsWith("Pinned: Early exit");
    assertThat(seen.path("pinned").path("verdict").asText()).contains("no verdict about speed");
  }

  @Test
  @Tag("slow")
  void whatCannotBeDone_isSaidInPlainWords_andOldFiguresGo() {
    JsonNode seen = play("refuses");

    assertThat(seen.path("empty").asText())
        .isEqualTo("Temperature: nothing is no number from 0 to 2");
    assertThat(seen.path("drawn").asText()).startsWith("temperature 0.75, seed 5;");
    assertThat(seen.path("refusal").asText()).contains("context of 96");
    for (String side : List.of("a", "b")) {
      JsonNode pane = seen.path("refused").path(side);
      assertThat(pane.path("tokens").asInt()).as(side).isZero();
      assertThat(pane.path("figures").size()).as(side).isZero();
      assertThat(pane.path("text").asText()).as(side).doesNotContain("the cat the cat");
    }
    assertThat(seen.path("refused").path("verdict").asText()).isEmpty();
    assertThat(seen.path("refusedHeight").asInt()).isLessThan(400);
    assertThat(seen.path("nobody").asText())
        .startsWith("nobody answers at 127.0.0.1:")
        .endsWith("is eellm serve still running?");
    assertThat(seen.path("renamed").asText()).startsWith("small: 5 layers");
    assertThat(seen.path("afterStop").asInt()).isEqualTo(8);
  }

  @Test
  void promptThatLeavesLittleRoom_isToldFromAWrongNumber_andWhatFitsIsOffered() {
    int room = 96 - server.served.prompt("q".repeat(50), "prompt").size();
    JsonNode seen = play("tight");

    assertThat(seen.path("count").asText()).endsWith("; %d may follow".formatted(room));
    assertThat(seen.path("offer").asText()).isEqualTo("Use " + room);
    assertThat(seen.path("tooMany").path("message").asText())
        .isEqualTo(
            "Tokens: 80 are more than the %1$d that fit behind this prompt; use %1$d or less"
                .formatted(room));
    assertThat(texts(seen.path("tooMany").path("blamed"))).containsExactly("tokens");
    assertThat(seen.path("tooMany").path("address").asText()).contains("prompt=qqqq");
    assertThat(seen.path("taken").asInt()).isEqualTo(room);
    assertThat(seen.path("gone").asBoolean()).isTrue();
    assertThat(seen.path("tokens").asInt()).isBetween(1, room);
    assertThat(seen.path("noRoom").path("message").asText())
        .isEqualTo("Prompt: it leaves no room for a token; shorten it");
    assertThat(texts(seen.path("noRoom").path("blamed"))).containsExactly("prompt");
    assertThat(seen.path("long").asText()).contains("fit the model's context of 96");
    assertThat(seen.path("tooLong").path("message").asText())
        .startsWith("prompt: ")
        .contains("context of 96");
    assertThat(seen.path("after").asText()).startsWith(PROMPT);
  }

  @Test
  void pageLoadedOnAPhone_showsTheSettingsOfBothSidesWhenTheyAreUnfolded() {
    JsonNode seen = play("narrow");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(seen.path("mode").asBoolean()).isTrue();
    assertThat(seen.path("sides")).hasSize(2).allMatch(height -> height.asInt() > 60);
  }

  @Test
  void policies_areTheServers_andOneThatItLacksIsRefusedByName() {
    JsonNode seen = play("unknown");

    assertThat(texts(seen.path("policies")))
        .isEqualTo(
            Stream.of(PolicyName.values())
                .filter(policy -> policy != PolicyName.FULL) // which a mode is
                .map(PolicyName::toString)
                .toList());
    assertThat(seen.path("thresholds").toString())
        .isEqualTo("[[\"0.9\",\"1\"],[\"0.8\",\"1\"],[\"0.5\",\"3\"]]");
    assertThat(seen.path("refusal").asText()).startsWith("early_exit.policy: 'none-such' is ");
  }

  @Test
  @Tag("slow")
  void keyOfTheServer_firstClickWithIt_generates() {
    ServerOptions options = AccessTest.keys("right");
    try (TestServer keyed = TestServer.start(other, limits -> limits, options)) {
      JsonNode seen = play(keyed, "key");

      assertThat(seen.path("wanted").asText()).startsWith("this server wants its API key");
      assertThat(seen.path("odd").asText()).startsWith("the API key has a character");
      assertThat(seen.path("tokens").asInt()).isEqualTo(TOKENS);
      assertThat(seen.path("link").asText()).doesNotContain("right");
    }
  }

  @Test
  @Tag("slow")
  void keyboardAlone_reachesTokensCellsAndButtons_andFocusIsNotLost() {
    JsonNode seen = play("keyboard");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(seen.path("focusAfterRun").asText()).isEqualTo("go");
    JsonNode places = seen.path("places");
    assertThat(places.path(0).asInt()).isEqualTo(1);
    assertThat(places.path(1).asInt()).isEqualTo(47);
    assertThat(places.path(2).asInt()).isZero();
    assertThat(places.path(3).asInt()).isPositive();
    assertThat(places.path(4).asInt()).isLessThan(places.path(3).asInt());
    assertThat(seen.path("opened").asText()).startsWith("Token ").contains(" of 48: ");
    assertThat(seen.path("tipGone").asBoolean()).isTrue();
    assertThat(seen.path("cell").asText()).contains("by exit 2", "% sure", "full model’s choice");
    assertThat(seen.path("openedInLens").asText()).startsWith("Token 48 of 48");
    assertThat(seen.path("focusKept").asBoolean()).isTrue();
  }

  @Test
  @Tag("slow")
  void endOfAText_isSaidWithItsReason() {
    int end = server.tokenizer.endOfDocument();
    int seed =
        IntStream.range(0, 500)
            .filter(i -> drawn(i).getLast().id() == end && drawn(i).size() < 80)
            .findFirst()
            .orElseThrow();
    JsonNode byModel =
        play(
            server,
            "ends",
            "prompt=the+cat+and&tokens=80&a.mode=full&b.mode=full&temperature=2&seed=" + seed);

    assertThat(texts(byModel.path("errors"))).isEmpty();
    assertThat(byModel.path("a").path("end").asText())
        .isEqualTo("Ended by the model with %s.".formatted(server.tokenizer.piece(end)));
    assertThat(byModel.path("a").path("tokens").asInt()).isEqualTo(drawn(seed).size());

    String full = server.greedy(PROMPT, 20);
    int place = full.indexOf('I'); // letters that the text has
    JsonNode atText =
        play(server, "ends", "prompt=the+cat+and&tokens=20&a.mode=full&stop=" + full.charAt(place));

    assertThat(atText.path("a").path("end").asText()).isEqualTo("Ended at a stop text.");
    assertThat(atText.path("a").path("text").asText()).isEqualTo(PROMPT + full.substring(0, place));
  }

  private static List<GeneratedToken> drawn(long seed) {
    return server
        .alone(PROMPT, 80, DecodingMethod.full(), new RandomSampler(2, 0, 1, 1, seed))
        .tokens();
  }

  @Test
  @Tag("slow")
  void calibratedServer_itsThresholdsAreNamedFramedAndTaken() throws IOException {
    Path file = other.resolve("calibration.json");
    Calibration.of(
            PolicyName.MAX_PROBABILITY, new TreeMap<>(Map.of(1, 0.2, 4, 0.15)), new TreeMap<>())
        .write(file);
    Calibration calibration = Calibration.read(file);
    DecodingSettings settings =
        DecodingSettings.NONE.with(DecodingSetting.CALIBRATION, calibration);
    try (TestServer calibrated = TestServer.start(other, settings)) {
      List<GeneratedToken> alone =
          calibrated
              .alone(
                  PROMPT,
                  TOKENS,
                  new DecodingMethod.EarlyExit(calibration.policy()),
                  new RandomSampler(0, 0, 1, 1, 0))
              .tokens();
      JsonNode seen = play(calibrated, "calibrated");

      assertThat(texts(seen.path("errors"))).isEmpty();
      assertThat(seen.path("server").path("title").asText())
          .isEqualTo(
              "Left: As the server is set: calibration max-probability,"
                  + " thresholds 0.2 at exit 1, 0.15 at exit 4");
      for (String made : List.of("server", "taken", "kept")) {
        assertThat(seen.path(made).path("text").asText()).as(made).isEqualTo(text(alone));
        assertThat(texts(seen.path(made).path("counts"))).as(made).isEqualTo(counts(alone));
      }
      assertThat(seen.path("lensOf").asText()).isEqualTo("b"); // the full model's text, by drafts
      assertThat(texts(seen.path("frames"))).isEqualTo(counts(alone));
      assertThat(seen.path("agreement").asText()).contains("given the full model's text: ");
      assertThat(seen.path("slider").asBoolean()).isTrue(); // which would be for no exit
      for (String made : List.of("taken", "kept")) {
        assertThat(seen.path(made).path("title").asText())
            .as(made)
            .isEqualTo("Left: Early exit: max-probability ≥ 0.2 at exit 1, 0.15 at exit 4");
      }
      assertThat(seen.path("address").asText())
          .contains("a.thresholds.1=0.2", "a.thresholds.4=0.15", "a.exits=1%2C4")
          .doesNotContain("b.thresholds");
      assertThat(seen.path("typed").path("title").asText())
          .isEqualTo("Left: Early exit: max-probability ≥ 0.9 at exit 1, 0.15 at exit 4");
    }
  }

  @Test
  @Tag("slow")
  void curve_onRequest_growsPointByPoint_andGoesWithItsText() {
    JsonNode seen = play("curve");

    assertThat(texts(seen.path("errors"))).isEmpty();
    int points = seen.path("points").size();
    assertThat(points).isBetween(3, 6);
    assertThat(texts(seen.path("grown")))
        .endsWith(
            IntStream.rangeClosed(1, points).mapToObj(Integer::toString).toArray(String[]::new));
    assertThat(seen.path("spreads").asInt()).isEqualTo(points);
    assertThat(seen.path("state").asText())
        .containsPattern(
            "max-probability; 9 turns for each threshold, this prompt"
                + "|At threshold 1, where nothing leaves early, the speed was \\d+\\.\\d\\d to");
    double full = seen.path("points").path(points - 1).asDouble(); // drawn from left to right
    assertThat(seen.path("points").path(0).asDouble()).isLessThan(full);
    assertThat(texts(seen.path("labels"))).isNotEmpty();
    assertThat(texts(seen.path("beyond"))).isEmpty();
    assertThat(texts(seen.path("together"))).isEmpty();
    assertThat(seen.path("stays").asBoolean()).isTrue();
    assertThat(seen.path("gone").asBoolean()).isTrue();
    assertThat(seen.path("text").asText())
        .isEqualTo("the dog and" + server.greedy("the dog and", TOKENS));
  }

  @Test
  @Tag("slow")
  void looks_allWidthsAndSchemes_haveNoFaultForAxe() {
    JsonNode seen = play("looks");

    assertThat(texts(seen.path("errors"))).isEmpty();
    assertThat(texts(seen.path("faults"))).isEmpty();
    assertThat(texts(seen.path("tooWide"))).isEmpty();
    assertThat(seen.path("weight").asInt()).isBetween(10_000, 250_000);
    JsonNode scale = seen.path("scale");
    for (int i = 1; i < scale.size(); i++) {
      assertThat(scale.path(i).path("grey").asDouble())
          .isGreaterThan(scale.path(i - 1).path("grey").asDouble());
      assertThat(scale.path(i).path("mark").asDouble())
          .isGreaterThanOrEqualTo(scale.path(i - 1).path("mark").asDouble());
    }
    assertThat(scale.path(11).path("mark").asDouble())
        .isGreaterThan(scale.path(0).path("mark").asDouble());
  }
}
