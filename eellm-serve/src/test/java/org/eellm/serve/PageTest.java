package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.eellm.config.HeadId;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The page in a real browser. */
final class PageTest {
  private static final int TOKENS = 20;

  @TempDir private Path folder;

  @Test
  void page_inChromium_showsWhereTokensLeaveAndComparesWithTheFullModel() {
    Optional<Path> chromium =
        Stream.of("chromium", "chromium-browser", "google-chrome")
            .flatMap(name -> NodeScripts.find(name).stream())
            .findFirst();
    assumeTrue(chromium.isPresent(), "skipped: needs chromium");
    NodeScripts scripts = NodeScripts.install(PageTest.class, "clients");
    int threads = Torch.threads();
    Torch.setThreads(1); // the model is tiny
    try (TestServer server = TestServer.start(folder)) {
      JsonNode seen =
          scripts.run(
              "browser.js",
              server.base(),
              chromium.get().toString(),
              "the cat and",
              Integer.toString(TOKENS),
              "0.02");

      // The refusal that the script asks for is an error to the browser too.
      assertThat(seen.path("errors")).as(seen.toString()).hasSize(1);
      assertThat(seen.path("errors").path(0).asText()).contains("400 (Bad Request)");
      assertThat(seen.path("about").asText()).isEqualTo("small: 5 layers, exits after 1, 2, 4");
      assertThat(seen.path("legend").toString())
          .isEqualTo("[\"exit 1\",\"exit 2\",\"exit 4\",\"final head\"]");
      requirePanes(server, seen);
      assertThat(seen.path("verdict").asText())
          .contains("times the full model's speed at", "% of its depth");
      assertThat(seen.path("tip").asText()).contains("left at", "of 5", "confidence");
      assertThat(seen.path("alternatives").asInt()).isBetween(1, 5);
      assertThat(seen.path("tipGone").asBoolean()).isTrue();
      assertThat(seen.path("walked").asBoolean()).isTrue();
      assertThat(seen.path("refusal").asText()).startsWith("max_tokens: 4000 do not fit");
      assertThat(seen.path("wideDesktop").asBoolean()).isFalse();
      for (String scheme : new String[] {"phone-light", "phone-dark"}) {
        assertThat(seen.path(scheme).path("wide").asBoolean()).as(scheme).isFalse();
        assertThat(seen.path(scheme).path("tip").asBoolean()).as(scheme).isTrue();
      }
      server.awaitIdle();
    } finally {
      Torch.setThreads(threads);
    }
  }

  private static void requirePanes(TestServer server, JsonNode seen) {
    JsonNode early = seen.path("early");
    JsonNode full = seen.path("full");
    List<GeneratedToken> alone =
        server
            .alone(
                "the cat and",
                TOKENS,
                new DecodingMethod.EarlyExit(ExitPolicies.maxProbability(Threshold.of(0.02))),
                new RandomSampler(0, 0, 1, 1, 0))
            .tokens();
    assertThat(early.path("text").asText())
        .isEqualTo("the cat and" + server.text(alone.stream().map(GeneratedToken::id).toList()));
    assertThat(early.path("tokens").asInt()).isEqualTo(TOKENS);
    assertThat(early.path("colours").asLong())
        .isEqualTo(alone.stream().map(GeneratedToken::head).distinct().count());
    assertThat(early.path("histogram").asText())
        .isEqualTo(
            HeadId.all(List.of(1, 2, 4)).stream()
                .map(head -> name(head) + " " + count(alone, head))
                .collect(Collectors.joining(", ", "Tokens by exit: ", "")));
    assertThat(bars(early)).isCloseTo(100, within(0.1));
    assertThat(early.path("figures").toString())
        .isEqualTo("[\"time\",\"tokens\",\"tokens/s\",\"mean depth\"]");
    assertThat(full.path("text").asText())
        .isEqualTo("the cat and" + server.greedy("the cat and", TOKENS));
    assertThat(full.path("histogram").asText())
        .isEqualTo("Tokens by exit: exit 1 0, exit 2 0, exit 4 0, final head " + TOKENS);
    assertThat(full.path("colours").asInt()).isEqualTo(1);
    assertThat(seen.path("shallow").path("histogram").asText())
        .isEqualTo("Tokens by exit: exit 1 %d, exit 2 0, exit 4 0, final head 0".formatted(TOKENS));
    assertThat(seen.path("own").path("histogram").asText()) // no exit is as sure as it asks for
        .isEqualTo("Tokens by exit: exit 1 0, exit 2 0, exit 4 0, final head " + TOKENS);
    assertThat(seen.path("thresholdRests").asBoolean()).isTrue();
  }

  private static String name(HeadId head) {
    return head.isExit() ? head.label() : "final head";
  }

  private static long count(List<GeneratedToken> tokens, HeadId head) {
    return tokens.stream().filter(token -> token.head().equals(head)).count();
  }

  private static double bars(JsonNode pane) {
    return StreamSupport.stream(pane.path("bars").spliterator(), false)
        .mapToDouble(width -> Double.parseDouble(width.asText().replace("%", "")))
        .sum();
  }
}
