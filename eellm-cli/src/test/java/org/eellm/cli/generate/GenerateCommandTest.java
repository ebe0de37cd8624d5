package org.eellm.cli.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The command on a random model, whose texts make no sense and whose exits are used. */
final class GenerateCommandTest extends WithGenerateCommand {
  @Test
  void generate_text_goesToStdoutAndFiguresToStderr() {
    assertThat(generate("--prompt", "the cat", "--max-tokens", "12", "--threshold", "0.5"))
        .isZero();
    assertThat(err.toString())
        .matches(
            "\\d+ tokens in \\d+\\.\\d\\d s, [\\d.]+ tokens/s.*; left at .*; mean layer [\\d.]+ of"
                + " 5\n");
    assertThat(out.toString()).endsWith("\n").doesNotContain("\u001b");
  }

  @Test
  void generate_json_hasAnEntryForEachToken() throws IOException {
    JsonNode result =
        json("--prompt", "the cat", "--max-tokens", "12", "--threshold", "0.5", "--exits", "2,4")
            .getFirst();

    int count = result.get("ids").size();
    assertThat(count).isPositive();
    assertThat(result.get("exits")).hasSize(count);
    assertThat(result.get("confidences")).hasSize(count);
    assertThat(strings(result.get("heads"))).hasSize(count).isSubsetOf("exit_2", "exit_4", "final");
    assertThat(strings(result.get("exits"))).isSubsetOf("2", "4", "5");
    assertThat(result.get("tokens_per_second").asDouble()).isPositive();
    assertThat(result.get("prompt_tokens").asInt()).isPositive();
    assertThat(result.get("finish_reason").asText()).isIn("length", "end_token");
  }

  @Test
  void generate_severalPrompts_printsEachInOrderAsAlone() throws IOException {
    Path file = folder.resolve("prompts.txt");
    Files.writeString(file, "the dog\n\nbird and\n");
    String[] sampling = {"--temperature", "1", "--seed", "3", "--max-tokens", "9"};
    List<JsonNode> together =
        json(concat(sampling, "--prompt", "the cat", "--prompt-file", file.toString()));

    assertThat(together).hasSize(3);
    List<String> prompts = List.of("the cat", "the dog", "bird and");
    for (int i = 0; i < 3; i++) {
      JsonNode alone = json(concat(sampling, "--prompt", prompts.get(i))).getFirst();
      assertThat(together.get(i).get("ids")).isEqualTo(alone.get("ids"));
      assertThat(together.get(i).get("text")).isEqualTo(alone.get("text"));
    }
    assertThat(generate("--prompt", "the cat", "--prompt", "the dog", "--max-tokens", "3"))
        .isZero();
    assertThat(out.toString()).startsWith("==> prompt 1 <==\n").contains("\n==> prompt 2 <==\n");
  }

  @Test
  void generate_modelWithSamplingValues_drawsByThemUnlessOptionsSay() throws IOException {
    String[] fixed = {"--prompt", "the cat", "--max-tokens", "12", "--seed", "5"};
    List<JsonNode> greedy = json(fixed);
    List<JsonNode> drawn = json(concat(fixed, "--temperature", "1.5", "--top-k", "9"));
    Path file = folder.resolve("model/generation_config.json");
    String before = Files.readString(file);
    try {
      Files.writeString(file, "{\"do_sample\": true, \"temperature\": 1.5, \"top_k\": 9}");

      assertThat(json(fixed).getFirst().get("ids")).isEqualTo(drawn.getFirst().get("ids"));
      assertThat(err.toString())
          .contains("generation_config.json says: temperature 1.5, top-k 9; options overrule it");
      assertThat(json(concat(fixed, "--temperature", "0")).getFirst().get("ids"))
          .isEqualTo(greedy.getFirst().get("ids"))
          .isNotEqualTo(drawn.getFirst().get("ids"));
      assertThat(json(concat(fixed, "--temperature", "1.5", "--top-k", "9"))).hasSize(1);
      assertThat(err.toString()).doesNotContain("generation_config");
    } finally {
      Files.writeString(file, before);
    }
  }

  @Test
  void generate_standardInput_isReadLineByLine() throws IOException {
    InputStream standard = System.in;
    System.setIn(new ByteArrayInputStream("the cat\nthe dog".getBytes(StandardCharsets.UTF_8)));
    try {
      assertThat(json("--prompt-file", "-", "--max-tokens", "2")).hasSize(2);
    } finally {
      System.setIn(standard);
    }
  }

  @Test
  void generate_stopText_endsBeforeIt() throws IOException {
    String[] options = {
      "--prompt", "the cat", "--temperature", "1", "--seed", "8", "--max-tokens", "40"
    };
    String text = json(options).getFirst().get("text").asText();
    String stop = text.substring(7, 10);

    JsonNode stopped = json(concat(options, "--stop", stop)).getFirst();

    assertThat(stopped.get("text").asText()).isEqualTo(text.substring(0, text.indexOf(stop)));
    assertThat(stopped.get("finish_reason").asText()).isEqualTo("stopped");
  }

  @Test
  void generate_heldToAGrammar_writesATextOfIt() throws IOException {
    Path schema = Files.writeString(folder.resolve("schema.json"), "{\"enum\": [\"yes\", \"no\"]}");
    Path rules = Files.writeString(folder.resolve("rules.gbnf"), "root ::= [ab]{3}");

    assertThat(held("--json-schema", schema.toString())).isIn("\"yes\"", "\"no\"");
    assertThat(held("--grammar", rules.toString())).matches("[ab]{3}");
    assertThat(held("--regex", "[0-9]{2}(, [0-9]{2})?")).matches("[0-9]{2}(, [0-9]{2})?");
  }

  private String held(String option, String value) throws IOException {
    return json("--prompt", "the cat", "--temperature", "1", option, value)
        .getFirst()
        .get("text")
        .asText();
  }

  @Test
  void generate_policies_leaveAsTheySay() throws IOException {
    assertThat(heads("--policy", "full")).containsOnly("final");
    assertThat(heads("--policy", "fixed", "--exits", "2")).containsOnly("exit_2");
    assertThat(heads("--policy", "margin", "--threshold", "0")).containsOnly("exit_1");
    assertThat(heads("--policy", "entropy", "--threshold", "99")).containsOnly("exit_1");
    assertThat(heads("--policy", "patience", "--patience", "1")).containsOnly("exit_1");
    assertThat(heads("--threshold", "1=2,2=0,4=2")).containsOnly("exit_2");
  }

  @Test
  void generate_modes_giveTheTextsTheyPromise() throws IOException {
    String[] options = {"--prompt", "the cat", "--max-tokens", "20"};
    JsonNode full = json(concat(options, "--mode", "full")).getFirst();
    JsonNode drafted = json(concat(options, "--mode", "speculative")).getFirst();
    JsonNode fixed =
        json(concat(
                options,
                "--mode",
                "speculative",
                "--draft-exit",
                "4",
                "--draft-length",
                "3",
                "--draft-margin",
                "0"))
            .getFirst();
    JsonNode early = json(concat(options, "--threshold", "0.3")).getFirst();
    JsonNode anew = json(concat(options, "--threshold", "0.3", "--mode", "recompute")).getFirst();

    assertThat(drafted.get("ids")).isEqualTo(full.get("ids"));
    assertThat(fixed.get("ids")).isEqualTo(full.get("ids"));
    assertThat(fixed.get("drafted_tokens").asInt()).isPositive();
    assertThat(anew.get("ids")).isEqualTo(early.get("ids"));
    assertThat(anew.get("heads")).isEqualTo(early.get("heads"));
    assertThat(full.get("drafted_tokens").asInt()).isZero();

    assertThat(generate(concat(options, "--mode", "speculative", "--draft-margin", "0"))).isZero();
    assertThat(err.toString()).containsPattern("; \\d+ of \\d+ drafts held, \\d+ %\n");
  }

  @Test
  void generate_alternatives_areToldInJson() throws IOException {
    JsonNode result =
        json("--prompt", "the cat", "--max-tokens", "3", "--alternatives", "2").getFirst();

    assertThat(result.get("log_probabilities")).hasSize(result.get("ids").size());
    assertThat(result.get("alternatives").get(0)).hasSize(2);
    assertThat(result.get("alternatives").get(0).get(0).get("id"))
        .isEqualTo(result.get("ids").get(0));
    assertThat(json("--prompt", "the cat", "--max-tokens", "3").getFirst().has("alternatives"))
        .isFalse();
  }

  @Test
  void generate_beams_areTheBestText() throws IOException {
    String[] options = {"--prompt", "the cat", "--max-tokens", "12"};
    JsonNode one = json(concat(options, "--beams", "1")).getFirst();
    JsonNode full = json(concat(options, "--mode", "full")).getFirst();

    assertThat(one.get("ids")).isEqualTo(full.get("ids"));
    assertThat(generate(concat(options, "--beams", "4", "--length-penalty", "0.8"))).isZero();
    assertThat(out.toString()).isNotBlank();
  }

  @Test
  void generate_calibration_replacesPolicyExitsAndThresholdsUnlessGiven() throws IOException {
    Path file = folder.resolve("thresholds.json");
    Files.writeString(file, "{\"policy\": \"max-probability\", \"thresholds\": {\"2\": 0}}");

    assertThat(heads("--calibration", file.toString())).containsOnly("exit_2");
    assertThat(heads("--calibration", file.toString(), "--threshold", "1")).containsOnly("final");
    assertThat(generate("--prompt", "a", "--calibration", file.toString(), "--policy", "margin"))
        .isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: --policy has no effect with --calibration, whose file says it; leave it out\n");
    assertThat(generate("--prompt", "a", "--calibration", folder.resolve("absent").toString()))
        .isEqualTo(1);
    assertThat(err.toString()).contains("absent: no such file or folder");
  }

  @Test
  void generate_furtherSampling_changesTheText() throws IOException {
    String[] options = {"--prompt", "the cat", "--max-tokens", "8", "--mode", "full"};
    JsonNode plain = json(options).getFirst();
    String best = plain.get("ids").get(0).asText();

    JsonNode banned = json(concat(options, "--logit-bias", best + "=-1000,3=0.5")).getFirst();
    assertThat(strings(banned.get("ids"))).doesNotContain(best);
    JsonNode varied = json(concat(options, "--presence-penalty", "1000")).getFirst();
    assertThat(strings(varied.get("ids"))).doesNotHaveDuplicates();
    JsonNode sure = json(concat(options, "--temperature", "3", "--min-p", "1")).getFirst();
    assertThat(sure.get("ids")).isEqualTo(plain.get("ids"));
  }

  @Test
  void generate_modelWithoutExits_usesTheWholeModel() {
    assertThat(generateFrom("without-exits", "--prompt", "the cat", "--max-tokens", "5")).isZero();
    assertThat(err.toString()).contains("left at final head 100 %; mean layer 5.0 of 5");
  }

  @Test
  void generate_quantized_goesOnFromTheSameModelInFewerBits() throws IOException {
    String[] text = {"--prompt", "the cat", "--max-tokens", "20", "--mode", "full"};
    String exact = json(text).getFirst().get("text").asText();

    for (String type : List.of("int8", "int4")) {
      JsonNode quantized = json(concat(text, "--quantize", type)).getFirst();
      assertThat(quantized.get("ids").size()).isEqualTo(20);
    }
    assertThat(json(concat(text, "--quantize-heads", "int8")).getFirst().get("ids").size())
        .isEqualTo(20);
    assertThat(json(concat(text, "--quantize", "none")).getFirst().get("text").asText())
        .isEqualTo(exact);
  }

  @Test
  void generate_stats_followTheText() {
    String[] options = {"--prompt", "the cat", "--max-tokens", "12", "--threshold", "0.5"};
    assertThat(generate(options)).isZero();
    String text = out.toString();

    assertThat(generate(concat(options, "--stats"))).isZero();

    assertThat(out.toString()).isEqualTo(text);
    assertThat(err.toString())
        .contains("; left at ")
        .containsPattern(
            "\n\\d+ tokens in [\\d.]+ s, [\\d.]+ tokens/s; the first after [\\d.]+ ms\n")
        .containsPattern("\n[\\d.]+ rows pass a layer at once, on average\n")
        .containsPattern("\n[\\d.]+ MB of weights a token, \\d+ % of the rate")
        .containsPattern("\nattention +[\\d.]+ +[\\d.]+\n")
        .containsPattern("\npolicies and sampling +[\\d.]+ +[\\d.]+\n")
        .containsPattern("\nrest +[\\d.]+ +[\\d.]+\n");
  }

  @Test
  void generate_statsAsJson_areALastLineOfAllPrompts() throws IOException {
    List<JsonNode> lines =
        json("--prompt", "the cat", "--prompt", "the dog", "--max-tokens", "12", "--stats");

    assertThat(lines).hasSize(3);
    int tokens = lines.get(0).get("ids").size() + lines.get(1).get("ids").size();
    JsonNode stats = lines.get(2).path("stats");
    assertThat(stats.path("tokens").asInt()).isEqualTo(tokens);
    for (String figure :
        List.of(
            "seconds",
            "tokens_per_second",
            "first_token_seconds",
            "weight_bytes",
            "read_bytes_per_second",
            "share_of_read_rate")) {
      assertThat(stats.path(figure).asDouble()).as(figure).isPositive();
    }
    assertThat(stats.path("rows_per_pass").asDouble()).isGreaterThan(1);
    double shares = 0;
    double microseconds = 0;
    for (JsonNode part : stats.path("parts")) {
      shares += part.path("share").asDouble();
      microseconds += part.path("microseconds").asDouble();
    }
    assertThat(shares).isCloseTo(1, within(1e-6));
    assertThat(microseconds * tokens / 1e6)
        .isCloseTo(stats.path("seconds").asDouble(), within(1e-6));
  }

  @Test
  void generate_onRanksOfTheirOwnProcesses_printsWhatOneProcessDoes() throws IOException {
    String[] options = {
      "--prompt", "the cat", "--prompt", "the dog and", "--max-tokens", "12", "--threshold", "0.15"
    };
    List<JsonNode> alone = json(options);

    List<String> onRanks = new ArrayList<>(List.of(options));
    onRanks.addAll(List.of("--nproc", "2", "--pp", "2", "--threads", "1"));
    List<JsonNode> results = json(onRanks.toArray(String[]::new));

    assertThat(results).hasSize(2);
    for (int i = 0; i < 2; i++) {
      for (String key : List.of("text", "ids", "exits", "heads", "finish_reason")) {
        assertThat(results.get(i).get(key)).as(key).isEqualTo(alone.get(i).get(key));
      }
    }
  }
}
