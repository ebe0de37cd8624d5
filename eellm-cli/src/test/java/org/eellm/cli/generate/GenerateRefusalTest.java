package org.eellm.cli.generate;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.eellm.cli.SmallModelFolder;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.data.Progress;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What the command refuses, and in which words. */
final class GenerateRefusalTest extends WithGenerateCommand {
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "--exits 3 | --exits: there is no exit after layer 3; this model has exits after layer 1,"
            + " layer 2, layer 4",
        "--policy fixed | --policy: fixed needs one exit; name it with --exits, one of layer 1,"
            + " layer 2, layer 4",
        "--policy full --threshold 0.5 | --threshold has no effect with the policy full; leave it"
            + " out",
        "--policy full --max-pending 3 | --max-pending has no effect with the policy full; leave"
            + " it out",
        "--patience 3 | --patience has no effect with the policy max-probability; leave it out",
        "--threshold high | --threshold: 'high' is no number or list of them; write 0.9, or"
            + " 2=0.8,4=0.9",
        "--threshold 2=0.8 | --threshold: none for the exits after layer 1, layer 4; give a"
            + " threshold for each of layer 1, layer 2, layer 4",
        "--exits 2 --threshold 2=0.8,4=1 | --threshold: layer 4 has no exit in use; give a"
            + " threshold for each of layer 2",
        "--threshold 2=0.8,x=1 | --threshold: '2=0.8,x=1' is no number or list of them; write 0.9,"
            + " or 2=0.8,4=0.9",
        "--temperature -1 | --temperature: -1.0 is negative; use 0 for the best token always, or"
            + " more",
        "--threshold -0.5 | --threshold: -0.5 is no threshold; use 0 or more",
        "--threshold 1=0.5,2=-1,4=0 | --threshold: -1.0 is no threshold; use 0 or more",
        "--max-pending 0 | --max-pending: 0 is below 1; use 1 or more",
        "--batch-size 0 | --batch-size: 0 is below 1; use 1 or more",
        "--mode full --exits 2 | --exits has no effect in the mode full; leave it out",
        "--mode speculative --threshold 0.5 | --threshold has no effect in the mode speculative;"
            + " leave it out",
        "--threshold 0.5 --draft-length 3 | --draft-length has no effect in the mode early-exit;"
            + " leave it out",
        "--draft-source table | --draft-source: table needs a draft table beside the model; make"
            + " one with eellm draft-table, or use text",
        "--draft-source recycled --draft-memory own | --draft-memory: own leaves nothing to draft"
            + " from by the source recycled; use shared",
        "--mode full --draft-source text | --draft-source has no effect in the mode full; leave it"
            + " out",
        "--draft-source text --draft-exit 2 | --draft-source has no effect where an exit drafts at"
            + " fixed length; leave it out",
        "--mode speculative --draft-exit 3 | --draft-exit: there is no exit after layer 3; this"
            + " model has exits after layer 1, layer 2, layer 4",
        "--mode speculative --exits 1,2 --draft-exit 2 | --draft-exit has no effect where several"
            + " exits draft, unless it is the first of two; leave it out",
        "--mode speculative --exits 1,2 --draft-resume 4 | --draft-resume has no effect where"
            + " several exits draft; leave it out",
        "--mode speculative --exits 3 | --exits: there is no exit after layer 3; this model has"
            + " exits after layer 1, layer 2, layer 4",
        "--mode speculative --draft-length 0 | --draft-length: 0 is not a whole number in 1..64",
        "--mode speculative --draft-length 65 | --draft-length: 65 is not a whole number in 1..64",
        "--mode speculative --draft-margin 1.5 | --draft-margin: 1.5 is outside [0, 1]; use"
            + " a number from 0 to 1",
        "--policy patience --patience 0 | --patience: 0 is below 1; use 1 or more exits",
        "--threshold-decay -1 | --threshold-decay: -1.0 is negative; use 0 or more; CALM takes 4",
        "--max-tokens 0 | --max-tokens: 0 is below 1; use 1 or more",
        "--json --alternatives -1 | --alternatives: -1 is negative; use 0 for none",
        "--beams 0 | --beams: 0 is below 1; use 1 or more",
        "--beams 2 --length-penalty NaN | --length-penalty: NaN is no finite number; use 1",
        "--repetition-penalty 0 | --repetition-penalty: 0.0 is no number from 1e-9 to 1e9; 1 is"
            + " none",
        "--presence-penalty NaN | --presence-penalty: NaN is no number from -1e9 to 1e9; 0 is none",
        "--top-k -1 | --top-k: -1 is negative; use 0 for no limit",
        "--top-p 2 | --top-p: 2.0 is outside (0, 1]; 1 is no limit",
        "--logit-bias -1=3 | --logit-bias: -1 is no token id; use 0 or more",
        "--stop= | --stop: is empty; give the text at which to stop",
        "--policy entropy --threshold-decay 4 | --threshold-decay has no effect with the policy"
            + " entropy; leave it out",
        "--beams 2 --temperature 1 | --temperature has no effect with --beams, which searches in"
            + " the full model; leave it out",
        "--beams 2 --seed 3 | --seed has no effect with --beams, which searches in the full model;"
            + " leave it out",
        "--beams 2 --threshold 0.5 | --threshold has no effect with --beams, which searches in"
            + " the full model; leave it out",
        "--length-penalty 2 | --length-penalty has no effect without --beams; leave it out",
        "--min-p 2 | --min-p: 2.0 is outside [0, 1]; 0 is no limit",
        "--threads 0 | --threads: 0 is outside 1..1024; use as many as there are cores, or fewer",
        "--threads 100000 | --threads: 100000 is outside 1..1024; use as many as there are cores,"
            + " or fewer",
      })
  void generate_optionThatCannotBeHonoured_isWrongUse(String options, String message) {
    assertThat(generate(concat(options.split(" "), "--prompt", "the cat"))).isEqualTo(2);
    assertThat(err.toString()).isEqualTo("eellm: " + message + "\n");
    assertThat(out.toString()).isEmpty();
  }

  @Test
  void generate_calibrationOfAnotherModelsExits_isRefusedByItsOption() throws IOException {
    Path file = folder.resolve("other.json");
    Files.writeString(file, "{\"policy\": \"margin\", \"thresholds\": {\"2\": 0.5, \"3\": 0.5}}");

    assertThat(generate("--prompt", "the cat", "--calibration", file.toString())).isEqualTo(2);

    assertThat(err.toString())
        .isEqualTo(
            "eellm: --calibration: there is no exit after layer 3; this model has exits after layer"
                + " 1, layer 2, layer 4\n");
  }

  @Test
  void generate_draftAtTheLastLayer_isRefusedByItsOption() throws IOException {
    try (Decoder model =
        SmallModel.of(new ExitLayout(List.of(5), true, false, false, false), DataType.FLOAT32)) {
      SmallModelFolder.write(folder.resolve("last"), model);
    }

    assertThat(generateFrom("last", "--prompt", "the cat", "--draft-exit", "5")).isEqualTo(2);

    assertThat(err.toString()).startsWith("eellm: --draft-exit: layer 5 is the model's last");
  }

  @Test
  void generate_unknownQuantization_isRefused() {
    assertThat(generate("--prompt", "a", "--quantize", "int3")).isEqualTo(2);
    assertThat(err.toString()).contains("--quantize").contains("[NONE, INT8, INT4]");
  }

  @ParameterizedTest
  @CsvSource({
    "int4, int8, '--quantize int4: GPUs multiply with 8 bits at least'",
    "int8, none, '--quantize-heads none: on GPUs all matrices are rounded alike'"
  })
  void generate_quantizationThatGpusLack_isRefused(String layers, String heads, String message) {
    int code =
        generate(
            "--prompt", "a", "--device", "cuda", "--quantize", layers, "--quantize-heads", heads);
    assertThat(err.toString()).contains(message);
    assertThat(code).isEqualTo(2);
  }

  @Test
  void generate_statsWhereNoneAreKept_areRefused() {
    assertThat(generate("--prompt", "a", "--stats", "--beams", "2")).isEqualTo(2);
    assertThat(err.toString()).startsWith("eellm: --stats has no effect with --beams");
    assertThat(generate("--prompt", "a", "--stats", "--pp", "2", "--nproc", "2")).isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: --stats: tells of one process, and --pp 2 has a part of the layers on each of"
                + " its ranks; leave it or --pp out\n");
  }

  @Test
  void generate_exitOptionsWithoutExits_areRefused() {
    assertThat(generateFrom("without-exits", "--prompt", "a", "--threshold", "0.5")).isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: --threshold has no effect with the policy full, which a model without exits"
                + " has; leave it out\n");
    assertThat(generateFrom("without-exits", "--prompt", "a", "--mode", "recompute")).isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo("eellm: --mode: recompute needs exits, and this model has none; use full\n");
    assertThat(generateFrom("without-exits", "--prompt", "a", "--draft-source", "exits"))
        .isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo("eellm: --draft-source: this model has no exits; use text\n");
    assertThat(generateFrom("without-exits", "--prompt", "a", "--draft-length", "3")).isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: --draft-exit: there is no exit after layer 1; this model has none at all, use"
                + " full\n");
    assertThat(generateFrom("without-exits", "--prompt", "a", "--policy", "margin")).isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo("eellm: --policy: margin needs exits, and this model has none; use full\n");
  }

  @Test
  void generate_noPrompt_isWrongUse() {
    assertThat(generate()).isEqualTo(2);
    assertThat(err.toString())
        .startsWith("eellm: there is no prompt; give --prompt TEXT or --prompt-file FILE\n");
  }

  @Test
  void generate_badPrompts_areNamedWithARemedy() throws IOException {
    assertThat(generate("--prompt", "the cat", "--prompt", "")).isEqualTo(1);
    assertThat(err.toString())
        .isEqualTo("eellm: prompt 2 is empty; give it at least one character\n");

    assertThat(generate("--prompt", "x".repeat(SmallModel.CONTEXT + 1))).isEqualTo(1);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: prompt 1 has 97 tokens, but the model's context is 96; shorten it to 96 or"
                + " less\n");

    assertThat(generate("--prompt", "x".repeat(90), "--max-tokens", "7")).isEqualTo(1);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: prompt 1 has 90 tokens and up to 7 are to follow, but the model's context is"
                + " 96; let 6 or fewer follow, or shorten the prompt\n");

    Path file = folder.resolve("latin1.txt");
    Files.write(file, new byte[] {'a', (byte) 0xe9, '\n'});
    assertThat(generate("--prompt-file", file.toString())).isEqualTo(1);
    assertThat(err.toString())
        .isEqualTo("eellm: " + file + " is not UTF-8; convert it, for example with iconv\n");

    Files.writeString(file, "\n\n");
    assertThat(generate("--prompt-file", file.toString())).isEqualTo(1);
    assertThat(err.toString()).isEqualTo("eellm: " + file + " has no prompt; write one a line\n");

    assertThat(generate("--prompt-file", folder.resolve("absent").toString())).isEqualTo(1);
    assertThat(err.toString())
        .isEqualTo("eellm: " + folder.resolve("absent") + ": no such file or folder\n");
  }

  @Test
  void generate_tokenizerOfAnotherModel_isRefused() throws IOException {
    Path other = folder.resolve("other");
    Path corpus = folder.resolve("long.txt");
    Files.writeString(
        corpus, "a few more words, a few more pairs, words and pairs and pairs of words\n");
    Tokenizer large =
        BpeTrainer.train(
            TextCorpus.of(List.of(corpus.toString()), TextCorpus.Format.DEFAULT),
            270,
            1,
            Progress.NONE);
    try (Decoder model = SmallModel.plain()) {
      SmallModelFolder.write(other, model, large);
    }
    assertThat(generateFrom("other", "--prompt", "a")).isEqualTo(1);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: "
                + other
                + ": the tokenizer has 270 tokens, but the model's vocabulary 264; put the"
                + " tokenizer there that the model was trained with\n");
  }

  @Test
  void generate_noModel_isNamed() {
    assertThat(generateFrom("absent", "--prompt", "a")).isEqualTo(1);
    assertThat(err.toString()).contains("absent: no such folder");
  }

  @Test
  void generate_stagesThatFail_sayWhich() {
    String tooLong = "x".repeat(SmallModel.CONTEXT + 1);
    assertThat(generate("--prompt", tooLong, "--nproc", "2", "--pp", "2")).isEqualTo(1);
    assertThat(out.toString()).isEmpty();
    assertThat(err.toString())
        .contains("eellm: prompt 1 has 97 tokens, but the model's context is 96")
        .doesNotContain("connection");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--nproc 3 --pp 2 | --nproc: 3 ranks for --tp 1 x --pp 2; start 2",
        "--pp 0 | --pp: 0 is below 1; use 1 or more",
        "--tp 0 | --tp: 0 is below 1; use 1 or more",
        "--timeout 5 | --timeout has no effect on a single rank; leave it out, or give --tp or"
            + " --pp",
        "--nproc 2 --pp 2 --timeout 0 | --timeout: 0 is below 1; use 1 or more",
        "--nproc 2 --pp 2 --beams 2 | --tp or --pp has no effect with --beams, which"
            + " searches in the full model; leave it out",
        "--nproc 2 --pp 2 --prompt-file - | --prompt-file -: ranks that --nproc starts have no"
            + " standard input; give a file"
      })
  void generate_ranksThatCannotBe_isWrongUse(String options, String message) {
    List<String> words = new ArrayList<>(List.of("--prompt", "the cat"));
    words.addAll(List.of(options.split(" ")));

    assertThat(generate(words.toArray(String[]::new))).isEqualTo(2);
    assertThat(err.toString()).isEqualTo("eellm: " + message + "\n");
  }

  @Test
  void generate_severalRanksWithoutALauncher_saysHowToStartThem() {
    assertThat(generate("--prompt", "the cat", "--pp", "2")).isEqualTo(1);
    assertThat(err.toString()).contains("add --nproc 2");
  }
}
