package org.eellm.cli.train;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.stream.IntStream;
import org.eellm.cli.Commands;
import org.eellm.cli.option.WorkProgress;
import org.eellm.data.IndexedDataset;
import org.eellm.data.Progress.Work;
import org.eellm.data.tokenizer.Tokenizer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class PrepareCommandTest {
  @TempDir Path folder;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @BeforeEach
  void writeCorpus() throws IOException {
    Files.writeString(
        folder.resolve("a.txt"), "the cat and the dog\n<|endoftext|>\nthe bird and the cat\n");
    Files.writeString(
        folder.resolve("b.jsonl"), "{\"content\": \"the end\"}\nno json\n{\"content\": \"\"}\n");
  }

  @Test
  void prepare_text_writesDatasetAndTokenizer() {
    assertThat(prepare("--input", path("a.txt"), "--vocab-size", "264")).isZero();
    assertThat(err.toString()).isEmpty();
    assertThat(out.toString())
        .contains("documents   2\n")
        .contains("vocabulary  264\n")
        .contains(path("out") + ".bin, .idx and " + path("out-tokenizer") + "/\n");
    Tokenizer tokenizer = Tokenizer.load(folder.resolve("out-tokenizer"));
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("out"))) {
      assertThat(tokenizer.decode(dataset.sequence(1))).isEqualTo("the bird and the cat");
    }
  }

  @Test
  void prepare_json_printsOneObject() throws IOException {
    prepare("--input", path("a.txt"), "--vocab-size", "264");
    out.getBuffer().setLength(0);
    assertThat(
            prepare(
                "--input",
                path("a.txt"),
                path("b.jsonl"),
                "--key",
                "content",
                "--skip-bad-lines",
                "--tokenizer",
                path("out-tokenizer"),
                "--json"))
        .isZero();
    assertThat(out.toString().lines()).hasSize(1);
    JsonNode result = new ObjectMapper().readTree(out.toString());
    assertThat(result.get("documents").asInt()).isEqualTo(3);
    assertThat(result.get("empty_documents").asInt()).isEqualTo(1);
    assertThat(result.get("skipped_lines").asInt()).isEqualTo(1);
    assertThat(result.get("vocab_size").asInt()).isEqualTo(264);
    assertThat(result.get("text_bytes").asInt()).isEqualTo(19 + 20 + 7);
    assertThat(result.get("tokenizer").asText()).endsWith("out-tokenizer");
  }

  @Test
  void prepare_chats_countsTheAnswersAlone() throws IOException {
    assertThat(prepare("--input", path("a.txt"), "--vocab-size", "264")).isZero();
    Path model = folder.resolve("out-tokenizer");
    Files.writeString(
        model.resolve("chat_template.jinja"),
        "{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}"
            + "{% if add_generation_prompt %}assistant:{% endif %}");
    Files.writeString(
        folder.resolve("chats.jsonl"),
        """
        {"messages": [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "the dog"}]}
        {"prompt": "the cat", "completion": "the bird"}
        {"conversations": [{"from": "human", "value": "the"}, {"from": "gpt", "value": "end"}]}
        {"messages": [{"role": "user", "content": "the cat"}]}
        {"messages": [{"role": "user", "content": ["the"]}]}
        {"text": "the cat and the dog"}
        """);
    out.getBuffer().setLength(0);
    String[] command = {"--input", path("chats.jsonl"), "--tokenizer", model.toString()};
    assertFails(1, "chats.jsonl:4: the chat has no message of the assistant", command);
    err.getBuffer().setLength(0);
    int exit =
        Commands.run(
            out,
            err,
            "prepare",
            "--output",
            path("set"),
            "--skip-bad-lines",
            command[0],
            command[1],
            command[2],
            command[3]);
    assertThat(err.toString()).isEmpty();
    assertThat(exit).isZero();

    assertThat(out.toString())
        .contains("documents   4\n")
        .contains("chats       3, written by chat_template.jinja\n")
        .contains("left out    2 bad lines\n");
    assertThat(folder.resolve("set-tokenizer/chat_template.jinja")).exists();
    Tokenizer tokenizer = Tokenizer.load(folder.resolve("set-tokenizer"));
    try (IndexedDataset dataset = IndexedDataset.open(folder.resolve("set"))) {
      assertThat(dataset.check(264)).isPresent();
      assertThat(counted(dataset, tokenizer, 0)).isEqualTo(" the dog;");
      assertThat(counted(dataset, tokenizer, 1)).isEqualTo(" the bird;");
      assertThat(counted(dataset, tokenizer, 2)).isEqualTo(" end;");
      assertThat(counted(dataset, tokenizer, 3)).isEqualTo("the cat and the dog");
      assertThat(tokenizer.decode(dataset.sequence(0)))
          .isEqualTo("user: the cat;assistant: the dog;");
      assertThat(dataset.isCounted(dataset.start(1) - 1)).isTrue(); // the end
    }
  }

  @Test
  void prepare_otherTokenizerInPlaceOfATemplatedOne_leavesNoTemplate() throws IOException {
    assertThat(prepare("--input", path("a.txt"), "--vocab-size", "264")).isZero();
    Path template = folder.resolve("out-tokenizer/chat_template.jinja");
    Files.writeString(template, "{{ messages[0].content }}{{ messages[1].content }}");
    Files.writeString(
        folder.resolve("chat.jsonl"), "{\"prompt\": \"the\", \"completion\": \"end\"}");
    // By the tokenizer's file, whose template is beside it.
    assertThat(
            prepare(
                "--input", path("chat.jsonl"), "--tokenizer", path("out-tokenizer/tokenizer.json")))
        .isZero();
    assertThat(out.toString()).contains("chats       1, written by chat_template.jinja\n");
    assertThat(template).exists();
    assertThat(prepare("--input", path("a.txt"), "--vocab-size", "264")).isZero();
    assertThat(template).doesNotExist();
  }

  private static String counted(IndexedDataset dataset, Tokenizer tokenizer, int document) {
    int[] ids = dataset.sequence(document);
    return tokenizer.decode(
        IntStream.range(0, ids.length)
            .filter(i -> dataset.isCounted(dataset.start(document) + i))
            .map(i -> ids[i])
            .toArray());
  }

  @Test
  void merge_shards_areTheWhole() throws IOException {
    assertThat(prepare("--input", path("a.txt"), "--vocab-size", "264")).isZero();
    String tokenizer = path("out-tokenizer");
    Files.writeString(
        folder.resolve("chat.jsonl"), "{\"prompt\": \"the\", \"completion\": \"end\"}");
    for (String name : new String[] {"a.txt", "chat.jsonl"}) {
      Commands.run(
          out,
          err,
          "prepare",
          "--output",
          path("shard-" + name),
          "--input",
          path(name),
          "--tokenizer",
          tokenizer);
    }
    Commands.run(
        out,
        err,
        "prepare",
        "--output",
        path("whole"),
        "--input",
        path("a.txt"),
        path("chat.jsonl"),
        "--tokenizer",
        tokenizer);
    out.getBuffer().setLength(0);
    String[] merge = {
      "merge", "--input", path("shard-a.txt"), path("shard-chat.jsonl"), "--output", path("both")
    };
    assertThat(Commands.run(out, err, merge)).isZero();

    assertThat(err.toString()).isEmpty();
    assertThat(out.toString()).contains(".bin and .idx and .mask\n").contains("documents   3\n");
    for (String ending : new String[] {".bin", ".idx", ".mask", "-tokenizer/tokenizer.json"}) {
      assertThat(folder.resolve("both" + ending))
          .hasSameBinaryContentAs(folder.resolve("whole" + ending));
    }
    assertThat(Commands.run(out, err, "merge", "--input", path("both"), "--output", path("both")))
        .isEqualTo(1);
    assertThat(err.toString()).contains("is merged, and cannot be the output");
    Files.writeString(folder.resolve("both.progress"), "{}");
    assertThat(Commands.run(out, err, merge)).isEqualTo(1);
    assertThat(err.toString()).contains("both.progress: tells of a prepare that was stopped");
    Files.delete(folder.resolve("both.progress"));
    Files.writeString(folder.resolve("shard-a.txt-tokenizer/chat_template.jinja"), "{{ x }}");
    assertThat(Commands.run(out, err, merge)).isEqualTo(1);
    assertThat(err.toString())
        .contains(
            "shard-chat.jsonl: is of another chat template than %s; prepare both with one"
                .formatted(path("shard-a.txt")));
    prepare("--input", path("a.txt"), "--vocab-size", "262");
    assertThat(
            Commands.run(
                out, err, "merge", "--input", path("both"), path("out"), "--output", path("x")))
        .isEqualTo(1);
    assertThat(err.toString()).contains("out: is of another tokenizer than " + path("both"));
    assertThat(folder.resolve("x.bin")).doesNotExist();
  }

  @Test
  void prepare_chatsWithoutAModel_areRefused() throws IOException {
    Files.writeString(
        folder.resolve("chats.jsonl"), "{\"prompt\": \"the cat\", \"completion\": \"a dog\"}\n");
    assertFails(
        1,
        "chats.jsonl:1: is a chat; name a model's folder with --tokenizer",
        "--input",
        path("chats.jsonl"));
  }

  @Test
  void prepare_leftOutAndTooFewTokens_areSaid() {
    assertThat(prepare("--input", path("b.jsonl"), "--key", "content", "--skip-bad-lines"))
        .isZero();
    assertThat(out.toString())
        .contains("left out    1 documents without text\n")
        .contains("left out    1 bad lines\n")
        .contains("note        fewer tokens than the 8,192 asked for");
  }

  @Test
  void prepare_badInput_isOneLine() {
    assertFails(
        1, "missing.txt: no such file or folder; check the path", "--input", path("missing.txt"));
    assertFails(
        1,
        "b.jsonl:1: has no key \"text\" and no chat but \"content\"",
        "--input",
        path("b.jsonl"));
    assertFails(1, "b.jsonl:2: not valid JSON", "--input", path("b.jsonl"), "--key", "content");
    assertFails(1, "no tokenizer there", "--input", path("a.txt"), "--tokenizer", path("nowhere"));
    assertThat(folder.resolve("out.bin")).doesNotExist();
    assertThat(folder.resolve("out-tokenizer")).doesNotExist();
  }

  @Test
  void prepare_wrongUse_isExitCode2() {
    assertFails(2, "Missing required option: '--input=PATH'");
    assertFails(2, "--threads 0 is below 1", "--input", path("a.txt"), "--threads", "0");
    assertFails(2, "--vocab-size is below 257", "--input", path("a.txt"), "--vocab-size", "256");
    assertFails(
        2,
        "--vocab-size is for a tokenizer that is trained",
        "--input",
        path("a.txt"),
        "--vocab-size",
        "300",
        "--tokenizer",
        path("t"));
  }

  @Test
  void progress_withoutTerminal_isALineNowAndThen() {
    StringWriter shown = new StringWriter();
    try (PrintWriter writer = new PrintWriter(shown);
        WorkProgress progress = new WorkProgress(writer, false, Duration.ZERO)) {
      progress.report(Work.TOKENIZING, 500_000, 2_000_000);
      progress.report(Work.MERGING_PAIRS, 10, 1000);
    }
    assertThat(shown.toString().lines().toList())
        .satisfiesExactly(
            line -> assertThat(line).matches("tokenizing: 25 % of 2\\.0 MB, read at [\\d.]+ MB/s"),
            line -> assertThat(line).isEqualTo("merging pairs: 1 % of 1,000"));
  }

  @Test
  void progress_onATerminal_isABar() {
    StringWriter shown = new StringWriter();
    try (PrintWriter writer = new PrintWriter(shown);
        WorkProgress progress = new WorkProgress(writer, true, Duration.ZERO)) {
      progress.report(Work.TOKENIZING, 2_000_000, 2_000_000);
    }
    assertThat(shown.toString()).contains("tokenizing 100%").contains("2/2 MB");
  }

  @Test
  void finished_partOfTheWork_isALineExceptOnATerminal() {
    StringWriter shown = new StringWriter();
    try (PrintWriter writer = new PrintWriter(shown)) {
      new WorkProgress(writer, false, Duration.ofDays(1)).finished("threshold 0.9: 3 left");
      new WorkProgress(writer, true, Duration.ofDays(1)).finished("threshold 0.8: 2 left");
    }
    assertThat(shown.toString().lines()).containsExactly("threshold 0.9: 3 left");
  }

  private void assertFails(int exitCode, String message, String... args) {
    err.getBuffer().setLength(0);
    assertThat(prepare(args)).isEqualTo(exitCode);
    assertThat(err.toString()).startsWith("eellm: ").contains(message);
    if (exitCode == 1) {
      assertThat(err.toString().lines()).hasSize(1);
    }
  }

  private int prepare(String... args) {
    String[] all = new String[args.length + 3];
    all[0] = "prepare";
    all[1] = "--output";
    all[2] = path("out");
    System.arraycopy(args, 0, all, 3, args.length);
    return Commands.run(out, err, all);
  }

  private String path(String name) {
    return folder.resolve(name).toString();
  }
}
