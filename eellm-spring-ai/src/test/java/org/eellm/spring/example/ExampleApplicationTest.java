package org.eellm.spring.example;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.eellm.Decoding;
import org.eellm.EarlyExitModel;
import org.eellm.spring.TinyModel;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.boot.test.context.SpringBootTest.WebEnvironment;
import org.springframework.core.env.Environment;
import org.springframework.test.context.DynamicPropertyRegistry;
import org.springframework.test.context.DynamicPropertySource;

/** The example, started as an application is, with a tiny model that nobody has trained. */
@Timeout(60)
@SpringBootTest(
    webEnvironment = WebEnvironment.RANDOM_PORT,
    properties = {
      "eellm.threads=1",
      "eellm.warm-up=0s",
      "eellm.chat.max-tokens=60",
      "management.endpoint.health.show-details=always",
      "management.endpoints.web.exposure.include=health,metrics"
    })
final class ExampleApplicationTest {
  @TempDir private static Path folder;

  @Autowired private Environment environment;
  @Autowired private EarlyExitModel model;

  @DynamicPropertySource
  static void model(DynamicPropertyRegistry properties) throws IOException {
    Path written = TinyModel.write(folder.resolve("tiny"));
    properties.add("eellm.model", written::toString);
  }

  private String get(String path) throws IOException, InterruptedException {
    URI address =
        URI.create("http://127.0.0.1:" + environment.getProperty("local.server.port") + path);
    try (HttpClient client = HttpClient.newHttpClient()) {
      HttpResponse<String> answer =
          client.send(
              HttpRequest.newBuilder(address).build(), HttpResponse.BodyHandlers.ofString());
      assertThat(answer.statusCode()).as(answer.body()).isEqualTo(200);
      return answer.body();
    }
  }

  private static String asks(String path) {
    return path + "?question=" + URLEncoder.encode("the cat", StandardCharsets.UTF_8);
  }

  @Test
  void ask_overHttp_isTheModelsText() throws Exception {
    assertThat(get(asks("/ask")))
        .isEqualTo(
            model.complete(
                "User: the cat\nAssistant:",
                Decoding.lossless().withMaxTokens(60).withStop("\nUser:", "\nAssistant:")));
  }

  @Test
  void page_aboutFrameworks_hasThisApplication() throws IOException {
    Path root = Path.of("").toAbsolutePath();
    while (!Files.exists(root.resolve("docs/java-frameworks.md"))) {
      root = root.getParent();
    }
    String source =
        Files.readString(
            root.resolve(
                "eellm-spring-ai/src/test/java/org/eellm/spring/example/ExampleApplication.java"));
    assertThat(Files.readString(root.resolve("docs/java-frameworks.md")))
        .contains("```java\n" + source.substring(source.indexOf("@SpringBoot")) + "```");
  }

  @Test
  void entity_modelThatKnowsNoJson_isARecord() throws Exception {
    assertThat(get(asks("/circle"))).matches("\\{\"radius\":-?\\d+,\"color\":\"(RED|GREEN)\"}");
  }

  @Test
  void health_modelIsThere_isUpWithItsExits() throws Exception {
    assertThat(get("/actuator/health"))
        .contains("\"eellm\":{")
        .contains("\"exits\":[1,2,4]")
        .contains("\"status\":\"UP\"");
  }

  @Test
  void metrics_afterAnAnswer_countTokensAndTexts() throws Exception {
    get(asks("/ask"));

    assertThat(get("/actuator/metrics/gen_ai.client.token.usage?tag=gen_ai.system:eellm"))
        .contains("\"statistic\":\"COUNT\"");
    assertThat(get("/actuator/metrics/gen_ai.client.operation")).contains("eellm");
    assertThat(get("/actuator/metrics/eellm.texts.running")).contains("\"value\":0.0");
  }
}
