package org.eellm.cli;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.eellm.distributed.launch.RankInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;

/** deploy/kubernetes: commands that can be called, and numbers of pods that agree. */
final class KubernetesManifestsTest {
  private static final Pattern COMMAND = Pattern.compile("(?m)^exec ./eellm (.*?) \"\\$@\"$");

  private static final Pattern EXPORT = Pattern.compile("([A-Z_]+)=\\$(PET_[A-Z_]+)");

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

  private static String script(List<JsonNode> documents) {
    return values(documents, "args").getFirst().get(0).asText();
  }

  /** With what Kubernetes adds to it. */
  @ParameterizedTest
  @CsvSource({"job.yaml, eellm-0.eellm", "jobset.yaml, eellm-node-0-0.eellm"})
  void variables_ofTheSecondPod_areItsPlaceInTheWorld(String name, String first)
      throws IOException {
    List<JsonNode> documents = documents(name);
    Map<String, String> environment = new HashMap<>(Map.of("JOB_COMPLETION_INDEX", "1"));
    values(documents, "env")
        .getFirst()
        .forEach(each -> environment.put(each.get("name").asText(), each.get("value").asText()));
    int pods = values(documents, "completions").getFirst().asInt();

    assertThat(RankInfo.detect(environment)).contains(place(pods, first));
    // The names that pods get: of a Job behind its Service, of a JobSet's Job behind its own.
    List<String> names = new ArrayList<>(List.of("eellm"));
    values(documents, "replicatedJobs")
        .forEach(jobs -> names.addAll(List.of(jobs.get(0).get("name").asText(), "0")));
    String service =
        values(documents, "subdomain").stream().map(JsonNode::asText).findFirst().orElse("eellm");
    assertThat(first).isEqualTo(String.join("-", names) + "-0." + service);
  }

  private static RankInfo place(int pods, String first) {
    return new RankInfo(1, pods, 0, 1, first, 29500, new RankInfo.StoreHost.RankZero());
  }

  /** Trainer sets torchrun's options, as its documentation of the policy torch names them. */
  @Test
  void exports_ofTrainersVariables_areAPlaceInTheWorld() throws IOException {
    List<JsonNode> documents = documents("trainjob.yaml");
    JsonNode trainer = values(documents, "trainer").getFirst();
    int pods = trainer.get("numNodes").asInt();
    Map<String, String> given =
        Map.of(
            "PET_NNODES", Integer.toString(pods),
            "PET_NPROC_PER_NODE", trainer.get("numProcPerNode").asText(),
            "PET_NODE_RANK", "1",
            "PET_MASTER_ADDR", "eellm-node-0-0.eellm",
            "PET_MASTER_PORT", "29500");
    Map<String, String> environment = new HashMap<>(given);
    EXPORT
        .matcher(script(documents))
        .results()
        .forEach(each -> environment.put(each.group(1), requireNonNull(given.get(each.group(2)))));

    assertThat(RankInfo.detect(environment)).contains(place(pods, "eellm-node-0-0.eellm"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"jobset.yaml", "trainjob.yaml"})
  void ranksOfAPod_areAsManyAsItsGpus(String name) throws IOException {
    List<JsonNode> documents = documents(name);
    String ranks =
        values(documents, "numProcPerNode").stream()
            .map(JsonNode::asText)
            .findFirst()
            .orElseGet(() -> script(documents).replaceAll("(?s).*--nproc (\\d+) .*", "$1"));

    assertThat(values(documents, "nvidia.com/gpu"))
        .extracting(JsonNode::asText)
        .containsOnly(ranks);
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
              assertThat(values(documents, "failurePolicy"))
                  .singleElement()
                  .satisfies(policy -> assertThat(policy.get("rules").get(0).has("name")).isTrue());
              assertThat(values(documents, "containers"))
                  .singleElement()
                  .extracting(containers -> containers.get(0).get("name"))
                  .isEqualTo(codes.get("containerName"));
            });
  }
}
