package org.eellm.cli.generate;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.StreamSupport;
import org.eellm.cli.Commands;
import org.eellm.cli.SmallModelFolder;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** What tests of {@code generate} have: random models, and what the command prints with them. */
@ExtendWith(OneThread.class)
abstract class WithGenerateCommand {
  @TempDir static Path folder;
  final StringWriter out = new StringWriter();
  final StringWriter err = new StringWriter();

  @BeforeAll
  static void writeModels() throws IOException {
    try (Decoder model = SmallModel.plain()) {
      SmallModelFolder.write(folder.resolve("model"), model);
    }
    try (Decoder model =
        SmallModel.of(new ExitLayout(List.of(), false, false, false, false), DataType.FLOAT32)) {
      SmallModelFolder.write(folder.resolve("without-exits"), model);
    }
  }

  int generate(String... args) {
    return generateFrom("model", args);
  }

  int generateFrom(String model, String... args) {
    out.getBuffer().setLength(0);
    err.getBuffer().setLength(0);
    List<String> all =
        new ArrayList<>(List.of("generate", "--model", folder.resolve(model).toString()));
    all.addAll(Arrays.asList(args));
    return Commands.run(out, err, all.toArray(String[]::new));
  }

  List<JsonNode> json(String... args) throws IOException {
    List<String> all = new ArrayList<>(List.of(args));
    all.add("--json");
    assertThat(generate(all.toArray(String[]::new))).as(err.toString()).isZero();
    List<JsonNode> objects = new ArrayList<>();
    for (String line : out.toString().lines().toList()) {
      objects.add(new ObjectMapper().readTree(line));
    }
    return objects;
  }

  static List<String> strings(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).map(JsonNode::asText).toList();
  }

  static String[] concat(String[] first, String... second) {
    List<String> all = new ArrayList<>(List.of(first));
    all.addAll(List.of(second));
    return all.toArray(String[]::new);
  }

  List<String> heads(String... args) throws IOException {
    return strings(
        json(concat(args, "--prompt", "the cat", "--max-tokens", "6")).getFirst().get("heads"));
  }
}
