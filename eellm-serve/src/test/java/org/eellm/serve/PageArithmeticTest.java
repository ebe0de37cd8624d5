package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.HashSet;
import java.util.Set;
import org.eellm.decode.exit.PolicyName;
import org.junit.jupiter.api.Test;

/** What the page computes itself: where tokens leave, and what its timed turns allow to say. */
final class PageArithmeticTest extends WithServer {
  @Test
  void arithmetic_givenFigures_claimsNoMoreThanTheyAllow() {
    JsonNode answer =
        NodeScripts.install(PageArithmeticTest.class, "clients").run("decide.js", server.base());

    assertThat(answer.path("faster").asText())
        .isEqualTo("A has 1.50 times the speed of B (1.47 to 1.51 in 9 turns).");
    assertThat(answer.path("same").asText()).startsWith("No difference in speed");
    assertThat(answer.path("few").asText()).startsWith("No difference in speed");
    assertThat(answer.path("busy").asText())
        .startsWith("No verdict about speed: something else ran, a turn took 7.0 times the usual");
    assertThat(answer.path("onePause").asText())
        .isEqualTo("A has 1.50 times the speed of B (1.47 to 1.52 in the middle 16 of 18 turns).");
    assertThat(answer.path("twoPauses").asText()).startsWith("No verdict about speed");
    assertThat(answer.path("waited").path(0).asText()).isEmpty();
    assertThat(answer.path("waited").path(1).asText())
        .isEqualTo(
            " The server had other texts in work meanwhile. The machine was busy: it kept the"
                + " server waiting for a processor 43 % of its time.");
    assertThat(answer.path("spreadsCover").asBoolean()).isTrue();
    assertThat(answer.path("claims").asInt()).isZero();
    assertThat(answer.path("leaves"))
        .isEqualTo(
            TestServer.json(
                """
                {"half": 1, "one": 3, "zero": 0, "deepExit": 2, "each": 0, "margin": 2, "entropy": 1,
                 "patience": 2, "patienceOfOne": 0, "patienceOfThree": 3, "fixed": 1, "full": 3,
                 "calibrated": 2}
                """));
    assertThat(answer.path("between").asDouble()).isEqualTo(1.25);
    assertThat(answer.path("notBetween").isNull()).isTrue();
    assertThat(answer.path("common").asInt()).isEqualTo(2);
    assertThat(answer.path("serverDefault").asText()).isEqualTo("speculative");
    assertThat(answer.path("serverThreshold").path("policy").asText()).isEqualTo("max-probability");
    assertThat(answer.path("serverThreshold").path("threshold").asDouble()).isEqualTo(0.4);
    assertThat(answer.path("serverCalibrated"))
        .isEqualTo(
            TestServer.json(
                """
                {"mode": "early-exit", "policy": "margin", "thresholds": {"2": 0.3}, "exits": [2],
                 "scale": "confidence", "threshold": 0.8}
                """));
    assertThat(answer.path("serverMargin").path("threshold").asDouble()).isEqualTo(0.8);
    assertThat(answer.path("serverTempered").isNull()).isTrue();
    assertThat(answer.path("serverGated").isNull()).isTrue();
    assertThat(answer.path("unknown").isNull()).isTrue();
    for (PolicyName policy : PolicyName.values()) {
      JsonNode left = answer.path("policies").path(policy.toString());
      assertThat(left.path(1))
          .as("heads that the page finds for " + policy)
          .isEqualTo(left.path(0));
      Set<JsonNode> heads = new HashSet<>();
      left.path(0).forEach(heads::add);
      assertThat(heads)
          .as("heads where tokens leave by " + policy)
          .hasSizeGreaterThan(policy.thresholdRule().isPresent() ? 1 : 0);
    }
  }
}
