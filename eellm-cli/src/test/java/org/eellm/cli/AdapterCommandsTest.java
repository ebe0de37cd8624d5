package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.cli.Commands.json;
import static org.eellm.cli.Commands.print;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
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
  }
}
