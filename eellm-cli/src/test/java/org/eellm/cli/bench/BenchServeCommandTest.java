package org.eellm.cli.bench;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.eellm.cli.Commands;
import org.eellm.serve.TestServer;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@ExtendWith(OneThread.class)
final class BenchServeCommandTest {
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  private int bench(String... options) {
    List<String> all = new ArrayList<>(List.of("bench", "serve"));
    all.addAll(List.of(options));
    return Commands.run(out, err, all.toArray(String[]::new));
  }

  @Test
  void benchServe_clients_checksAnswersAndTellsWhatIsHeld(@TempDir Path folder) {
    try (TestServer server = TestServer.start(folder)) {
      int code =
          bench("--url", server.base(), "--clients", "4", "--seconds", "1", "--max-tokens", "8");

      assertThat(code).as(err + "\n" + out).isZero();
      assertThat(out.toString())
          .startsWith(server.base() + "\n4 clients without a pause, ")
          .containsPattern("\n  [0-9,]+ text, [0-9,]+ left, [0-9,]+ refused\n")
          .containsPattern("\n  first token: median [0-9]+ ms, 95 % within ")
          .contains("\nafterwards: 0 texts in work, 0 waiting, 0 cache positions in use; ");
    }
  }

  @Test
  void benchServe_arrivalsInJson_hasALoadOfEachShare(@TempDir Path folder) throws IOException {
    try (TestServer server = TestServer.start(folder)) {
      String[] options = {
        "--url",
        server.base(),
        "--arrivals",
        "0.2,0.5",
        "--clients",
        "1",
        "--seconds",
        "1",
        "--words",
        "4",
        "--long-words",
        "8",
        "--max-tokens",
        "4",
        "--json"
      };

      assertThat(bench(options)).as(err + "\n" + out).isZero();

      JsonNode report = new ObjectMapper().readTree(out.toString());
      assertThat(report.path("url").asText()).isEqualTo(server.base());
      assertThat(report.path("held").isNull()).isTrue();
      assertThat(report.path("loads").findValuesAsText("share"))
          .containsExactly("0.0", "0.2", "0.5");
      for (JsonNode load : report.path("loads")) {
        assertThat(load.at("/first_token/p99").asDouble()).isPositive();
        assertThat(load.path("tokens_per_second").asDouble()).isPositive();
      }
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--clients 0 | --clients: 0 is below 1",
        "--arrivals 0 | --arrivals: 0.0 is outside (0, 10]; 1 is the highest throughput",
        "--arrivals 0.5,11 | --arrivals: 11.0 is outside (0, 10]",
        "--words 5 | --words, --long-words: of requests that arrive; give --arrivals 0.5,0.8,1",
        "--long-words 5 | --words, --long-words: of requests that arrive",
        "--url ftp://a | --url: 'ftp://a' is no address of a server"
      })
  void benchServe_badOptions_areNamedWithARemedy(String options, String message) {
    assertThat(bench(options.split(" "))).isEqualTo(2);
    assertThat(err.toString()).startsWith("eellm: " + message);
    assertThat(out.toString()).isEmpty();
  }
}
