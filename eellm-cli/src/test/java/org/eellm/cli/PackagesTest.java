package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.eellm.cli.option.OptionsFile;
import org.junit.jupiter.api.Test;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;
import picocli.CommandLine;

/**
 * What the packages start is a command that can be called, and waits as long as it needs to stop.
 */
final class PackagesTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  private static String text(String name) throws IOException {
    return Files.readString(RepositoryFiles.root().resolve("deploy").resolve(name));
  }

  /** The value of a line {@code KEY=VALUE} of the unit. */
  private static String unit(String key) throws IOException {
    Matcher line = Pattern.compile("(?m)^" + key + "=(.*)$").matcher(text("debian/eellm.service"));
    assertThat(line.find()).as(key).isTrue();
    return line.group(1);
  }

  /** The container, and what is around it. */
  private static JsonNode pod() throws IOException {
    List<Object> documents = new ArrayList<>();
    new Load(LoadSettings.builder().build())
        .loadAllFromString(text("kubernetes/serve.yaml"))
        .forEach(documents::add);
    return JSON.valueToTree(documents.get(1)).path("spec").path("template").path("spec");
  }

  private static CommandLine parsed(List<String> command) {
    CommandLine all = RootCommand.commandLine();
    CommandLine serve = Objects.requireNonNull(all.getSubcommands().get("serve"));
    OptionsFile.read(serve, command);
    assertThatCode(() -> all.parseArgs(command.toArray(String[]::new))).doesNotThrowAnyException();
    return serve;
  }

  private static Object value(CommandLine serve, String option) {
    return serve.getCommandSpec().findOption(option).getValue();
  }

  @Test
  void unit_startsTheServerWithTheFileOfThePackage() throws IOException {
    String installed = "/etc/eellm/serve.yaml";
    String file = RepositoryFiles.root().resolve("deploy/debian/serve.yaml").toString();

    assertThat(text("debian/control/conffiles")).isEqualTo(installed + "\n");
    assertThat(unit("ExecStart")).isEqualTo("/usr/bin/eellm serve --config " + installed);
    CommandLine serve = parsed(List.of("serve", "--config", file));
    assertThat(value(serve, "--host")).isEqualTo("127.0.0.1");
    assertThat(Integer.parseInt(unit("TimeoutStopSec")))
        .isGreaterThan((Integer) value(serve, "--drain-timeout"));
  }

  @Test
  void pod_startsTheServerAndLetsItDrain() throws IOException {
    JsonNode pod = pod();
    JsonNode container = pod.path("containers").path(0);

    List<String> command = new ArrayList<>();
    container.path("args").forEach(argument -> command.add(argument.asText()));
    CommandLine serve = parsed(command);
    JsonNode port = container.path("ports").path(0);
    assertThat(value(serve, "--port")).isEqualTo(port.path("containerPort").intValue());
    assertThat(value(serve, "--model").toString())
        .isEqualTo(container.path("volumeMounts").path(0).path("mountPath").textValue());
    int sleep = container.at("/lifecycle/preStop/sleep/seconds").intValue();
    assertThat(pod.path("terminationGracePeriodSeconds").intValue())
        .isGreaterThan(sleep + (Integer) value(serve, "--drain-timeout"));
  }

  @Test
  void pod_isAskedWhetherItLivesAndIsReady() throws IOException {
    JsonNode container = pod().path("containers").path(0);

    assertThat(container.at("/livenessProbe/httpGet/path").textValue()).isEqualTo("/health/live");
    assertThat(container.at("/readinessProbe/httpGet/path").textValue()).isEqualTo("/health/ready");
    assertThat(container.findValues("port"))
        .extracting(JsonNode::textValue)
        .containsOnly(container.at("/ports/0/name").textValue());
  }

  @Test
  void pod_hasTheImagesUserAndNoRights() throws IOException {
    JsonNode pod = pod();
    JsonNode limits = pod.path("containers").path(0).path("securityContext");

    assertThat(text("docker/serve.Dockerfile"))
        .contains(
            "USER %d:%d\n"
                .formatted(
                    pod.at("/securityContext/runAsUser").intValue(),
                    pod.at("/securityContext/runAsGroup").intValue()));
    assertThat(limits.path("readOnlyRootFilesystem").booleanValue()).isTrue();
    assertThat(limits.path("allowPrivilegeEscalation").booleanValue()).isFalse();
    assertThat(limits.at("/capabilities/drop/0").textValue()).isEqualTo("ALL");
  }

  @Test
  void watchedMetrics_areThoseOfTheServer() throws IOException {
    Path root = RepositoryFiles.root();
    Path source = root.resolve("eellm-serve/src/main/java/org/eellm/serve/Metrics.java");
    Set<String> known = metrics(Files.readString(source));

    for (String file :
        List.of(
            "deploy/prometheus/alerts.yaml", "deploy/prometheus/grafana.json", "docs/operate.md")) {
      Set<String> watched = metrics(Files.readString(root.resolve(file)));
      assertThat(watched).as(file).isNotEmpty().isSubsetOf(known);
    }
  }

  /** The names of metrics in a text; those of a histogram's parts as its own. */
  private static Set<String> metrics(String text) {
    return Pattern.compile("\\b(?:eellm|process)_[a-z_]+")
        .matcher(text)
        .results()
        .map(name -> name.group().replaceFirst("_bucket$", ""))
        .collect(Collectors.toSet());
  }
}
