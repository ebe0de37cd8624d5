package org.eellm.cli.train;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.eellm.cli.Commands;
import org.eellm.train.metrics.MetricsFile;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A small model learns a made-up chat; its exit has to learn from chats, not from texts. */
@Tag("slow")
final class ChatTuningTest {
  private static final String[] WORDS =
      "ant bee cat dog eel fox gnu hen ibis jay kite lynx mole newt owl pig ram seal toad wolf"
          .split(" ");

  @TempDir Path folder;

  private String run(Object... args) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    String[] words = new String[args.length];
    for (int i = 0; i < args.length; i++) {
      words[i] = args[i].toString();
    }
    int exit = Commands.run(out, err, words);
    assertThat(exit).as("%s: %s", String.join(" ", words), err).isZero();
    return out.toString();
  }

  private Path config(String name, String sources, String rest) throws IOException {
    return Files.writeString(
        folder.resolve(name),
        """
        data:
          sources: %s
          validation: ["%s"]
          tokenizer: "%s"
          sequence_length: 64
        optimizer: {learning_rate: 3e-3, warmup_steps: 10}
        %s
        """
            .formatted(sources, folder.resolve("held"), folder.resolve("text-tokenizer"), rest));
  }

  /** Questions of random words, answered by what stands ever so far behind the last of them. */
  private void writeChats(String name, int count, long seed) throws IOException {
    SplittableRandom random = new SplittableRandom(seed);
    StringBuilder chats = new StringBuilder();
    for (int i = 0; i < count; i++) {
      int asked = random.nextInt(WORDS.length);
      String question = WORDS[random.nextInt(WORDS.length)] + " " + WORDS[asked];
      chats.append(
          "{\"prompt\": \"%s\", \"completion\": \"%s\"}\n".formatted(question, answer(asked)));
    }
    Files.writeString(folder.resolve(name), chats);
  }

  private static String answer(int asked) {
    return WORDS[(asked + 7) % WORDS.length] + " and " + WORDS[(asked * 3 + 1) % WORDS.length];
  }

  /** How many of as many questions as there are words the model answers right, word by word. */
  private int answered(Path model) throws IOException {
    StringBuilder questions = new StringBuilder();
    for (String word : WORDS) {
      questions.append("[user] ant ").append(word).append(" ; [assistant]\n");
    }
    Path file = Files.writeString(folder.resolve("questions.txt"), questions);
    List<JsonNode> answers = new ArrayList<>();
    for (String line :
        run("generate", "--model", model, "--prompt-file", file, "--max-tokens", 24, "--json")
            .lines()
            .toList()) {
      answers.add(new ObjectMapper().readTree(line));
    }
    assertThat(answers).hasSize(WORDS.length);
    int right = 0;
    for (int asked = 0; asked < WORDS.length; asked++) {
      String text = answers.get(asked).get("text").asText();
      right += text.contains(" " + answer(asked) + " ;") ? 1 : 0;
    }
    return right;
  }

  private void writeText() throws IOException {
    SplittableRandom random = new SplittableRandom(1);
    StringBuilder text = new StringBuilder();
    for (int line = 0; line < 4000; line++) {
      int word = random.nextInt(WORDS.length);
      for (int i = 0; i < 8; i++) {
        text.append(i == 0 ? "" : " ").append(WORDS[word]);
        word = (word + 1 + random.nextInt(2)) % WORDS.length;
      }
      text.append('\n');
    }
    Files.writeString(folder.resolve("text.txt"), text);
  }

  private JsonNode tuned(String sources, String name) throws IOException {
    Path output = folder.resolve(name);
    List<Object> arguments =
        new ArrayList<>(List.of("tune", "--model", folder.resolve("exits"), "--output", output));
    arguments.addAll(List.of("--preset", "tune-chat"));
    for (String setting :
        List.of(
            "data.sources=" + sources,
            "data.validation=[\"" + folder.resolve("held") + "\"]",
            "data.tokenizer=\"" + folder.resolve("text-tokenizer") + "\"",
            "data.sequence_length=64",
            "train.steps=150",
            "train.micro_batch_size=16",
            "train.eval_interval=150",
            "train.eval_batches=4",
            "train.threads=1",
            "optimizer.learning_rate=3e-3",
            "optimizer.warmup_steps=10")) {
      arguments.addAll(List.of("--set", setting));
    }
    run(arguments.toArray());
    return MetricsFile.read(output.resolve("metrics.jsonl")).stream()
        .filter(line -> line.has("validation_agreement_exit_1"))
        .toList()
        .getLast();
  }

  @Test
  void tune_onChats_agreesMoreOnAnswersThanOnText() throws IOException {
    writeText();
    writeChats("chats.jsonl", 4000, 2);
    writeChats("held.jsonl", 800, 3);
    Path text = folder.resolve("text");
    Path tokenizer = folder.resolve("text-tokenizer");
    run("prepare", "--input", text + ".txt", "--output", text, "--vocab-size", "320");
    Files.writeString(
        tokenizer.resolve("chat_template.jinja"),
        "{% for m in messages %}[{{ m.role }}] {{ m.content }} ; {% endfor %}"
            + "{% if add_generation_prompt %}[assistant]{% endif %}");
    for (String name : new String[] {"chats", "held"}) {
      run(
          "prepare",
          "--input",
          folder.resolve(name + ".jsonl"),
          "--output",
          folder.resolve(name),
          "--tokenizer",
          tokenizer);
    }
    String chats = "[\"" + folder.resolve("chats") + "\"]";
    String texts = "[\"" + text + "\"]";
    Path both =
        config(
            "train.yaml",
            "[\"%s\", \"%s\"]".formatted(text, folder.resolve("chats")),
            "model: {hidden_size: 64, num_layers: 4, num_heads: 2, max_positions: 64}\n"
                + "exits: {layers: []}\n"
                + "train: {steps: 600, micro_batch_size: 16, global_batch_size: 16,"
                + " eval_interval: 600, eval_batches: 4, threads: 1}");
    run("train", "--config", both, "--output", folder.resolve("model"));
    assertThat(answered(folder.resolve("model"))).isGreaterThanOrEqualTo(WORDS.length - 2);

    run(
        "add-exits",
        "--model",
        folder.resolve("model"),
        "--exits",
        "1",
        "--head",
        "norm,mlp",
        "--output",
        folder.resolve("exits"));
    double onChats = tuned(chats, "on-chats").get("validation_agreement_exit_1").asDouble();
    double onText = tuned(texts, "on-text").get("validation_agreement_exit_1").asDouble();
    System.out.printf(
        "agreement on answers: %.2f tuned on chats, %.2f tuned on text%n", onChats, onText);
    assertThat(onChats).isGreaterThan(onText + 0.1);
  }
}
