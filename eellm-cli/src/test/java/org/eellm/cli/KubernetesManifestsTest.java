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
import java.util.regex.Pattern;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;

/** deploy/kubernetes: commands that can be called, and numbers of pods that agree. */
final class KubernetesManifestsTest {
  private static final Pattern COMMAND = Pattern.compile("(?m)^exec ./eellm (.*?) \"\\$@\"$");

  private static List<JsonNode> documents(String name) throws IOException {
    Path file = RepositoryFiles.root().resolve("deploy/kubernetes").resolve(name);
    ObjectMapper json = new ObjectMapper();
    List<JsonNode> documents = new ArrayList<>();
    new Load(LoadSettings.builder().build())
        .loadAllFromString(Files.readString(file))
        .forEach(document -> documents.add(json.valueToTree(document)));
    return documents;
  }

  /** All values of a key, wherever it is. */
  private static List<JsonNode> values(List<JsonNode> documents, String key) {
    return documents.stream().flatMap(document -> document.findValues(key).stream()).toList();
  }

  @ParameterizedTest
  @ValueSource(strings = {"job.yaml", "jobset.yaml", "trainjob.yaml"})
  void command_isUnderstood(String name) throws IOException {
    List<String> scripts =
        values(documents(name), "args").stream().map(args -> args.get(0).asText()).toList();

    assertThat(scripts).hasSize(1);
    List<String> commands =
        COMMAND.matcher(scripts.getFirst()).results().map(found -> found.group(1)).toList();
    assertThat(commands).hasSize(1);
    String command = commands.getFirst().replace("\"$PET_NPROC_PER_NODE\"", "8") + " --resume";
    assertThatCode(() -> RootCommand.commandLine().parseArgs(command.split(" ")))
        .doesNotThrowAnyException();
  }

  @ParameterizedTest
  @ValueSource(strings = {"job.yaml", "jobset.yaml"})
  void pods_areAsManyAsTheWorldHas(String name) throws IOException {
    List<JsonNode> documents = documents(name);
    List<String> sizes =
        values(documents, "env").getFirst().findParents("name").stream()
            .filter(variable -> variable.get("name").asText().equals("EELLM_WORLD_SIZE"))
            .map(variable -> variable.get("value").asText())
            .toList();

    assertThat(sizes).hasSize(1);
    assertThat(values(documents, "completions")).extracting(JsonNode::asText).isEqualTo(sizes);
    assertThat(values(documents, "parallelism")).extracting(JsonNode::asText).isEqualTo(sizes);
  }

  @ParameterizedTest
  @ValueSource(strings = {"jobset.yaml", "trainjob.yaml"})
  void wrongUse_endsTheContainerThatIsThere(String name) throws IOException {
    List<JsonNode> documents = documents(name);

    assertThat(values(documents, "onExitCodes"))
        .singleElement()
        .satisfies(
            codes -> {
              assertThat(codes.get("values").toString()).isEqualTo("[2]");
              assertThat(values(documents, "containers"))
                  .singleElement()
                  .extracting(containers -> containers.get(0).get("name"))
                  .isEqualTo(codes.get("containerName"));
            });
  }
}
