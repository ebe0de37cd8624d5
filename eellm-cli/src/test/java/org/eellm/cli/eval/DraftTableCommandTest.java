package org.eellm.cli.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.cli.Commands.run;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.eellm.checkpoint.DraftTable;
import org.eellm.cli.Commands.Outcome;
import org.eellm.cli.SmallModelFolder;
import org.eellm.config.TrainConfig.Device;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class DraftTableCommandTest {
  @TempDir private Path folder;

  private Path model;

  @BeforeEach
  void writeModel() throws IOException {
    model = folder.resolve("model");
    try (Decoder decoder = SmallModel.plain()) {
      SmallModelFolder.write(model, decoder);
    }
  }

  private Outcome draftTable(String... more) throws IOException {
    Path text = folder.resolve("text.txt");
    Files.writeString(text, "the cat and the dog. ".repeat(20));
    Path data = folder.resolve("text");
    Outcome prepared =
        run(
            "prepare",
            "--input",
            text.toString(),
            "--output",
            data.toString(),
            "--tokenizer",
            model.toString());
    assertThat(prepared.code()).as(prepared.err()).isZero();
    String[] args = {"draft-table", "--model", model.toString(), "--data", data.toString()};
    String[] all = new String[args.length + more.length];
    System.arraycopy(args, 0, all, 0, args.length);
    System.arraycopy(more, 0, all, args.length, more.length);
    return run(all);
  }

  @Test
  void draftTable_dataset_isStoredWithTheModelAndLoaded() throws IOException {
    Outcome outcome = draftTable();

    assertThat(outcome.code()).as(outcome.err()).isZero();
    assertThat(outcome.out()).contains("pairs of tokens, written to " + model);
    try (LoadedModel loaded = LoadedModel.load(model, Device.CPU)) {
      int[] ids = loaded.tokenizer().encode("the cat");
      DraftTable table = loaded.vocabulary().draftTable();
      int place = table.find(ids[ids.length - 3], ids[ids.length - 2]);
      assertThat(table.follower(place)).isEqualTo(ids[ids.length - 1]);
    }
    Outcome generated =
        run("generate", "--model", model.toString(), "--prompt", "the cat", "--max-tokens", "3");
    assertThat(generated.code()).as(generated.err()).isZero();
  }

  @Test
  void draftTable_noPairs_isRefused() throws IOException {
    Outcome outcome = draftTable("--pairs", "0");

    assertThat(outcome.code()).isNotZero();
    assertThat(outcome.err()).contains("--pairs: 0 is outside 1..1048576");
  }
}
