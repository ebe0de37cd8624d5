package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.eellm.cli.Commands.json;
import static org.eellm.cli.Commands.print;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.StreamSupport;
import org.eellm.Decoding;
import org.eellm.EarlyExitModel;
import org.eellm.Token;
import org.eellm.config.ConfigException;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Low-rank changes from tuning to use. */
final class AdapterCommandsTest {
  @TempDir private Path folder;

  private static JsonNode ids(Object... arguments) throws IOException {
    List<Object> all = new ArrayList<>(List.of(arguments));
    all.addAll(List.of("--prompt", "the cat"));
    return json("generate --json --mode full --max-tokens 12", all.toArray()).path("ids");
  }

  @Test
  void tune_lora_isAppliedAtLoad_andMergedAlike() throws IOException {
    Path model = folder.resolve("model");
    try (Decoder decoder = SmallModel.plain()) {
      SmallModelFolder.write(model, decoder);
    }
    Path text =
        Files.writeString(
            folder.resolve("text.txt"),
            "the cat and the dog and the bird and the cat and the end\n".repeat(60));
    Path data = folder.resolve("data");
    print("prepare", "--tokenizer", model, "--output", data, "--input", text);
    Path config =
        Files.writeString(
            folder.resolve("tune.yaml"),
            """
            data: {sources: ["%s"], sequence_length: 16, split: [80, 20, 0]}
            train: {steps: 20, micro_batch_size: 2, global_batch_size: 4, threads: 1}
            optimizer: {learning_rate: 2e-2, schedule: constant}
            tune: {lora: {rank: 8, alpha: 16}}
            """
                .formatted(data));
    Path tuned = folder.resolve("tuned");
    Path merged = folder.resolve("merged");

    print("tune", "--model", model, "--config", config, "--output", tuned);
    print("convert", "--model", model, "--adapter", tuned, "--output", merged);

    JsonNode own = ids("--model", model);
    JsonNode applied = ids("--model", model, "--adapter", tuned);
    assertThat(applied).hasSize(12).isNotEqualTo(own);
    assertThat(applied).isEqualTo(ids("--model", merged));
    assertThat(ids("--model", model, "--adapter", tuned, "--quantize", "int8"))
        .isEqualTo(ids("--model", merged, "--quantize", "int8"));
    try (EarlyExitModel beside = EarlyExitModel.at(model).adapter("tuned", tuned).load()) {
      Decoding full = Decoding.full().withMaxTokens(12);
      assertThat(ids(beside, full.withAdapter("tuned"))).isEqualTo(ids(applied));
      assertThat(ids(beside, full)).isEqualTo(ids(own));
      assertThatThrownBy(() -> beside.generate("the cat", full.withAdapter("other")))
          .isInstanceOf(ConfigException.class)
          .hasMessageStartingWith("withAdapter(other): the model was loaded with [tuned]; ");
    }
    assertThat(
            Commands.runWords("generate --prompt the --model", model, "--adapter", "a=" + tuned)
                .err())
        .startsWith("eellm: --adapter: a=" + tuned + " has a name, which requests to eellm serve");
  }

  private static List<Integer> ids(JsonNode ids) {
    return StreamSupport.stream(ids.spliterator(), false).map(JsonNode::asInt).toList();
  }

  private static List<Integer> ids(EarlyExitModel model, Decoding decoding) {
    List<Integer> ids = new ArrayList<>();
    for (Token token : model.generate("the cat", decoding)) {
      ids.add(token.id());
    }
    return ids;
  }
}
