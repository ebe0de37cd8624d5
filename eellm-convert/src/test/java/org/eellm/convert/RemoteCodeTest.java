package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.lang.ProcessBuilder.Redirect;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.eellm.SavedModel;
import org.eellm.checkpoint.HuggingFaceFamily;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.TrainConfig.Device;
import org.eellm.convert.ExitEditor.Start;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.decode.Generator;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener;
import org.eellm.golden.Stories;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Exported folders in Python: in transformers if the machine's Python has it, else in a stand-in
 * for it that has Llama alone. A test is skipped where Python or PyTorch is absent.
 */
final class RemoteCodeTest {
  private static final int NEW = 24;
  private static final List<String> PYTHONS = List.of("/usr/bin/python3", "python3");
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir private Path folder;

  /**
   * A model that both sides run.
   *
   * @param drafts the exit that LayerSkip's way of decoding drafts with; 0 for none
   */
  private record Case(String name, Path source, ExitLayout exits, int drafts) {}

  private static ExitLayout exits(String parts) {
    List<String> all = Arrays.asList(parts.split(","));
    return new ExitLayout(
        List.of(1, 2),
        all.contains("norm"),
        all.contains("mlp"),
        all.contains("block"),
        all.contains("tied"));
  }

  private Path source(HuggingFaceFamily family) throws IOException {
    Path source = folder.resolve(family + "-source");
    family.write(source, SafetensorsType.F32, 3);
    return source;
  }

  @Test
  @Tag("slow")
  void modelingFile_everyKindOfHead_computesWhatEellmComputes() throws Exception {
    List<Case> cases = new ArrayList<>();
    for (String parts :
        List.of(
            "norm,tied", "norm", "mlp,norm", "block,norm,tied", "mlp,block,norm", "mlp", "block")) {
      cases.add(new Case("stories " + parts, Stories.folder(), exits(parts), 0));
    }
    Path biased = FamiliesTest.theirs("llama_bias");
    cases.add(new Case("llama_bias", biased, exits("mlp,block,norm"), 0));
    JsonNode answers = run(cases).get("answers");

    for (int i = 0; i < cases.size(); i++) {
      assertSame(cases.get(i), answers.get(i));
    }
  }

  /** Its loader asks classes for what this file's does not have. */
  @Test
  void modelingFile_oldTransformers_isRefused() throws Exception {
    String python = python();
    Path file = export(layerskip(), model(layerskip())).resolve("modeling_eellm.py");
    Path standin = script().resolveSibling("standin");
    Process process =
        new ProcessBuilder(
                python,
                "-c",
                "import runpy, sys; sys.path.insert(0, sys.argv[1]); import transformers;"
                    + " transformers.__version__ = '4.46.3'; runpy.run_path(sys.argv[2])",
                standin.toString(),
                file.toString())
            .redirectErrorStream(true)
            .start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).isEqualTo(1);
    assertThat(said)
        .contains("ImportError: transformers 4.46.3 is too old for exits; install 4.57 or later");
  }

  private static Case layerskip() {
    return new Case("layerskip", Stories.folder(), exits("norm,tied"), 2);
  }

  @Test
  @Tag("slow")
  void generate_draftsAtATiedExit_isTheFullModelsText() throws Exception {
    JsonNode answer = run(List.of(layerskip()));
    assumeTransformers(answer);

    JsonNode theirs = answer.get("answers").get(0);
    assertThat(ids(theirs.path("full"))).hasSize(NEW);
    assertThat(ids(theirs.path("drafted"))).isEqualTo(ids(theirs.path("full")));
  }

  @Test
  @Tag("slow")
  void modelingFile_anyFamilyOfTransformers_computesWhatEellmComputes() throws Exception {
    List<Case> cases = new ArrayList<>();
    // Phi-4-mini has other factors for long texts than for short ones. Of OLMo 3, versions of
    // transformers differ in which layers scale positions.
    List<String> different = List.of("phi4_mini", "olmo3");
    for (String name : FamiliesTest.NAMES) {
      if (!different.contains(name)) {
        cases.add(new Case(name, FamiliesTest.theirs(name), exits("mlp,norm"), 0));
      }
    }
    for (HuggingFaceFamily family : HuggingFaceFamily.values()) {
      cases.add(new Case(family.name(), source(family), exits("mlp,norm"), 0));
    }
    Path gpt2 = folder.resolve(HuggingFaceFamily.GPT2 + "-source");
    Case block = new Case("block", gpt2, exits("block,norm"), 0);
    cases.add(block);
    JsonNode answer = run(cases);
    assumeTransformers(answer);
    JsonNode answers = answer.get("answers");

    assertThat(answers.get(cases.indexOf(block)).path("refused").asText())
        .startsWith("exits with a block are not computed in GPT2Model");
    for (Case one : cases.subList(0, cases.size() - 1)) {
      JsonNode theirs = answers.get(cases.indexOf(one));
      if (theirs.has("refused")) {
        assertThat(theirs.get("refused").asText())
            .as(one.name)
            .contains("where layers have experts");
      } else {
        assertSame(one, theirs);
      }
    }
  }

  @Test
  void export_withExits_namesTheFileUntilItIsReadAgain() {
    Case one = new Case("names", Stories.folder(), exits("norm,tied"), 0);
    Path exported = export(one, model(one));
    JsonNode names = JsonFiles.read(exported.resolve("config.json")).get("auto_map");
    assertThat(names.path("AutoModelForCausalLM").asText())
        .isEqualTo("modeling_eellm.EarlyExitForCausalLM");
    assertThat(exported.resolve("modeling_eellm.py"))
        .content()
        .contains("class EarlyExitForCausalLM:");
    try (SourceModel back = ModelReader.open(exported)) {
      assertThat(back.configFile().has("auto_map")).isFalse();
      assertThat(back.architecture().exits()).isEqualTo(one.exits());
      ModelWriter.writeHuggingFace(
          ExitEditor.remove(back, List.of(1, 2)),
          folder.resolve("plain"),
          Options.asItIs(),
          (done, total) -> {});
    }
    assertThat(folder.resolve("plain/config.json")).content().doesNotContain("auto_map");
    assertThat(folder.resolve("plain/modeling_eellm.py")).doesNotExist();
  }

  /** As Phi-3's configuration does on the hub; its Python files are not copied. */
  @Test
  void export_configThatNamesOtherFiles_namesNone() throws IOException {
    Path source = Files.createDirectory(folder.resolve("phi3"));
    try (Stream<Path> files = Files.list(FamiliesTest.theirs("phi3"))) {
      for (Path file : files.toList()) {
        Files.copy(file, source.resolve(file.getFileName()));
      }
    }
    ObjectNode config = (ObjectNode) JsonFiles.read(source.resolve("config.json"));
    config
        .putObject("auto_map")
        .put("AutoConfig", "configuration_phi3.Phi3Config")
        .put("AutoModelForCausalLM", "modeling_phi3.Phi3ForCausalLM");
    JSON.writeValue(source.resolve("config.json").toFile(), config);

    Case one = new Case("phi3", source, exits("norm"), 0);
    JsonNode named = JsonFiles.read(export(one, model(one)).resolve("config.json"));
    assertThat(named.get("auto_map"))
        .isEqualTo(
            JSON.createObjectNode()
                .put("AutoModelForCausalLM", "modeling_eellm.EarlyExitForCausalLM"));
    Case plain = new Case("plain", source, ExitLayout.none(), 0);
    assertThat(JsonFiles.read(export(plain, source).resolve("config.json")).has("auto_map"))
        .isFalse();
  }

  // eellm's side

  private Path model(Case one) {
    Path path = folder.resolve(one.name + "-model");
    try (SourceModel source = ModelReader.open(one.source)) {
      ModelWriter.writeModel(
          ExitEditor.add(source, one.exits, start(one.exits), 1),
          path,
          Options.asItIs(),
          (done, total) -> {});
    }
    return path;
  }

  /** Copied modules are all alike; drawn norms are ones. */
  private static Start start(ExitLayout exits) {
    return exits.mlp() || exits.block() ? Start.RANDOM : Start.COPY;
  }

  private Path export(Case one, Path model) {
    Path path = folder.resolve(one.name.replaceAll("[^a-zA-Z0-9]", "_") + "_exported");
    try (SourceModel source = ModelReader.open(model)) {
      ModelWriter.writeHuggingFace(source, path, Options.asItIs(), (done, total) -> {});
    }
    return path;
  }

  private static List<Integer> text(Case one) {
    return Files.exists(one.source.resolve("golden.json"))
        ? Stories.known(one.source).subList(0, 48)
        : FamilyLogitsTest.text(
            FamiliesTest.NAMES.contains(one.name) ? one.source : FamiliesTest.theirs("gemma2"));
  }

  private static Architecture wide(Path model) {
    Architecture stored = HuggingFaceConfig.read(model).architecture();
    return new Architecture(stored.model().withDtype(DataType.FLOAT32), stored.exits());
  }

  private static Map<String, float[]> logits(Path model, List<Integer> text) {
    try (Decoder decoder = SavedModel.readWeights(model, wide(model), Torch.cpu())) {
      return Layouts.logits(decoder, text.stream().mapToLong(Integer::longValue).toArray());
    }
  }

  private static Result greedy(Path model, List<Integer> prompt, double threshold) {
    DecodingMethod method =
        new DecodingMethod.EarlyExit(ExitPolicies.maxProbability(Threshold.of(threshold)));
    Request request = new Request(prompt, NEW, Set.of(), method, Sampler.greedy());
    ModelFolder files = new ModelFolder(model, Optional.empty());
    try (DecodingModel decoder = files.decoder(wide(model), Device.CPU, MatrixQuantization.NONE)) {
      return Generator.generate(decoder, Limits.of(decoder), List.of(request), TokenListener.none())
          .getFirst();
    }
  }

  private static double[] logProbabilities(float[] logits, int first, int count) {
    double sum = 0;
    for (int i = first; i < first + count; i++) {
      sum += Math.exp(logits[i]);
    }
    double[] all = new double[count];
    for (int i = 0; i < count; i++) {
      all[i] = logits[first + i] - Math.log(sum);
    }
    return all;
  }

  /** A threshold that about half of the rows of the first exit reach. */
  private static double threshold(float[] logits, int rows) {
    int vocabulary = logits.length / rows;
    double[] most = new double[rows];
    for (int row = 0; row < rows; row++) {
      most[row] =
          Math.exp(
              Arrays.stream(logProbabilities(logits, row * vocabulary, vocabulary))
                  .max()
                  .orElseThrow());
    }
    Arrays.sort(most);
    return (most[rows / 2] + most[rows / 2 - 1]) / 2;
  }

  private static void assertSame(Case one, JsonNode theirs) {
    assertThat(theirs.path("refused").asText()).as(one.name).isEmpty();
    Path model = Path.of(theirs.get("model").asText());
    List<Integer> text = text(one);
    Map<String, float[]> ours = logits(model, text);
    assertThat(theirs.get("heads").size()).as(one.name).isEqualTo(ours.size());
    ours.forEach(
        (head, logits) -> {
          JsonNode rows = theirs.get("heads").get(head.replace("exit_", ""));
          assertClose(one.name + " " + head, logits, rows);
        });
    assertClose(
        one.name + " plain", Objects.requireNonNull(ours.get("final")), theirs.get("plain"));
    List<GeneratedToken> tokens =
        greedy(model, text.subList(0, text.size() - NEW), theirs.get("threshold").asDouble())
            .tokens();
    assertThat(ids(theirs.get("ids")))
        .as(one.name)
        .isEqualTo(tokens.stream().map(GeneratedToken::id).toList());
    assertThat(ids(theirs.get("layers")))
        .as(one.name)
        .isEqualTo(tokens.stream().map(GeneratedToken::layer).toList());
  }

  private static void assertClose(String name, float[] logits, JsonNode rows) {
    int vocabulary = logits.length / rows.size();
    for (int row = 0; row < rows.size(); row++) {
      double[] theirs =
          StreamSupport.stream(rows.get(row).spliterator(), false)
              .mapToDouble(JsonNode::asDouble)
              .toArray();
      assertThat(logProbabilities(logits, row * vocabulary, vocabulary))
          .as("%s, row %d", name, row)
          .usingComparatorWithPrecision(1e-4)
          .containsExactly(theirs);
    }
  }

  private static List<Integer> ids(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).map(JsonNode::asInt).toList();
  }

  // Python's side

  /** Exports models and runs them; each answer also has the model's folder and the threshold. */
  private JsonNode run(List<Case> cases) throws Exception {
    List<String> command = new ArrayList<>(List.of(python(), script().toString()));
    List<Map<String, Object>> jobs = new ArrayList<>();
    List<Path> models = new ArrayList<>();
    for (Case one : cases) {
      Path model = model(one);
      List<Integer> text = text(one);
      String first = "exit_" + one.exits.layers().getFirst();
      models.add(model);
      jobs.add(
          Map.of(
              "folder",
              export(one, model).toString(),
              "ids",
              text,
              "prompt",
              text.size() - NEW,
              "threshold",
              threshold(Objects.requireNonNull(logits(model, text).get(first)), text.size()),
              "drafts",
              one.drafts));
    }
    Path input = folder.resolve("jobs.json");
    Path output = folder.resolve("answers.json");
    JSON.writeValue(input.toFile(), jobs);
    command.addAll(List.of(input.toString(), output.toString()));
    Path log = folder.resolve("python.log");
    Process process =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(Redirect.to(log.toFile()))
            .start();
    boolean ended = process.waitFor(5, TimeUnit.MINUTES);
    process.destroyForcibly();
    assertThat(ended && process.exitValue() == 0).as(() -> tail(log)).isTrue();
    JsonNode answers = JSON.readTree(output.toFile());
    for (int i = 0; i < jobs.size(); i++) {
      ObjectNode answer = (ObjectNode) answers.get("answers").get(i);
      answer.put("model", models.get(i).toString());
      answer.put("threshold", (double) Objects.requireNonNull(jobs.get(i).get("threshold")));
    }
    return answers;
  }

  private static String tail(Path log) {
    try {
      List<String> lines = Files.readAllLines(log);
      return String.join("\n", lines.subList(Math.max(0, lines.size() - 30), lines.size()));
    } catch (IOException e) {
      return e.toString();
    }
  }

  private Path script() throws IOException {
    for (String name :
        List.of("run.py", "standin/transformers/__init__.py", "standin/transformers/utils.py")) {
      Path target = folder.resolve("python").resolve(name);
      Files.createDirectories(target.getParent());
      try (InputStream in = RemoteCodeTest.class.getResourceAsStream("exits/" + name)) {
        Files.copy(Objects.requireNonNull(in, name), target);
      }
    }
    return folder.resolve("python/run.py");
  }

  private static void assumeTransformers(JsonNode answer) {
    assumeTrue(
        !answer.get("version").asText().equals("stand-in"), "skipped: needs Python's transformers");
  }

  private static String python() throws Exception {
    for (String python : PYTHONS) {
      try {
        Process process =
            new ProcessBuilder(python, "-c", "import torch, safetensors.torch")
                .redirectErrorStream(true)
                .redirectOutput(Redirect.DISCARD)
                .start();
        if (process.waitFor() == 0) {
          return python;
        }
      } catch (IOException _) {
        // It is absent, and the next may be there.
      }
    }
    assumeTrue(false, "skipped: needs Python with torch and safetensors");
    throw new AssertionError();
  }
}
