package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.eellm.checkpoint.HuggingFaceFamily;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.convert.GgufWriter.Quantization;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.data.DataException;
import org.eellm.data.Progress;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.gguf.GgufFixture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Tokenizers go into GGUF files and come back. */
final class GgufTokenizerTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String WORDS =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}DIGITS"
          + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

  private static final List<String> TEXTS =
      List.of(
          "",
          " ",
          "the cat and the dog",
          "The Cat's 12345 dogs aren't HERE'S\r\n\n  two  blanks ",
          "na\u00efve \uD83E\uDD99 \u65e5\u672c\n\tx\u0301 e\u0301",
          "<|im_start|>user <|endoftext|> <s> <think>\u2581</s> <0x0A>",
          "public static int add(List<String> values) { return 3.14; }");

  @TempDir private Path folder;

  /** How text is cut into words. */
  private enum Cut {
    GPT_2,
    LLAMA_3,
    QWEN_2,
    SMOLLM
  }

  /** Byte-level pairs, special tokens behind them, and one that is none. */
  private Path bytePairs(Cut cut) throws IOException {
    Path corpus = folder.resolve("corpus.txt");
    Files.writeString(corpus, "the cat and the dog and the bird and the cat and the end\n");
    Path target = folder.resolve("tokenizer");
    BpeTrainer.train(
            TextCorpus.of(List.of(corpus.toString()), TextCorpus.Format.DEFAULT),
            260,
            1,
            Progress.NONE)
        .save(target);
    ObjectNode file = (ObjectNode) JSON.readTree(target.resolve("tokenizer.json").toFile());
    ArrayNode added = (ArrayNode) file.path("added_tokens");
    List<String> names = List.of("<|im_start|>", "<|im_end|>", "<think>");
    for (int i = 0; i < names.size(); i++) {
      added
          .addObject()
          .put("id", 260 + i)
          .put("content", names.get(i))
          .put("single_word", false)
          .put("lstrip", false)
          .put("rstrip", false)
          .put("normalized", false)
          .put("special", i < 2);
    }
    ObjectNode bytes = ((ObjectNode) file.path("pre_tokenizer")).deepCopy();
    ObjectNode before = JSON.createObjectNode();
    switch (cut) {
      case GPT_2 -> {}
      case SMOLLM -> before.put("type", "Digits").put("individual_digits", true);
      case LLAMA_3, QWEN_2 -> {
        String digits = cut == Cut.LLAMA_3 ? "{1,3}" : "";
        before.put("type", "Split").put("behavior", "Isolated").put("invert", false);
        before.putObject("pattern").put("Regex", WORDS.replace("DIGITS", digits));
        bytes.put("use_regex", false);
      }
    }
    if (cut != Cut.GPT_2) {
      ObjectNode words = file.putObject("pre_tokenizer").put("type", "Sequence");
      words.putArray("pretokenizers").add(before).add(bytes);
    }
    if (cut == Cut.QWEN_2) {
      file.putObject("normalizer").put("type", "NFC");
    }
    Files.writeString(target.resolve("tokenizer.json"), file.toString());
    ObjectNode config =
        (ObjectNode) JSON.readTree(target.resolve("tokenizer_config.json").toFile());
    if (cut == Cut.QWEN_2) { // as newer models have it
      Files.writeString(target.resolve("chat_template.jinja"), "{{ messages }}");
    } else {
      config.put("chat_template", "{{ messages }}");
    }
    if (cut == Cut.LLAMA_3) {
      config.put("bos_token", "<|im_start|>").put("add_bos_token", true);
    }
    Files.writeString(target.resolve("tokenizer_config.json"), config.toString());
    return target;
  }

  private Path export(Path model, Path tokenizer) {
    Path file = folder.resolve("model.gguf");
    try (SourceModel source = ModelReader.open(model)) {
      GgufWriter.write(
          source,
          file,
          Quantization.F32,
          new Options(Optional.empty(), Optional.of(tokenizer)),
          (done, all) -> {});
    }
    return file;
  }

  private static void assertSame(Tokenizer read, Tokenizer own) {
    for (String text : TEXTS) {
      assertThat(read.encode(text)).as(text).containsExactly(own.encode(text));
      assertThat(read.decode(own.encode(text))).as(text).isEqualTo(own.decode(own.encode(text)));
    }
    assertThat(read.beginningOfSequence()).isEqualTo(own.beginningOfSequence());
    assertThat(read.vocabSize()).isEqualTo(own.vocabSize());
    for (int id = 0; id < own.vocabSize(); id++) {
      assertThat(read.piece(id)).isEqualTo(own.piece(id));
      assertThat(read.bytes(id)).as(own.piece(id)).isEqualTo(own.bytes(id));
    }
  }

  @ParameterizedTest
  @EnumSource
  void load_bytePairsOfAnExport_areThoseThatWereExported(Cut cut) throws IOException {
    Path theirs = folder.resolve("theirs");
    HuggingFaceFamily.LLAMA_2.write(theirs, SafetensorsType.F32, 1);
    Files.writeString( // its begin and end are the tokenizer's
        theirs.resolve("generation_config.json"), "{\"bos_token_id\": 260, \"eos_token_id\": 259}");
    Path tokenizer = bytePairs(cut);
    Tokenizer own = Tokenizer.load(tokenizer);

    Tokenizer read = Tokenizer.load(export(theirs, tokenizer));

    assertSame(read, own);
    assertThat(read.endOfDocument()).isEqualTo(259);
    assertThat(JSON.readTree(read.configuration()).path("chat_template").asText())
        .isEqualTo("{{ messages }}");
    read.save(folder.resolve("saved"));
    assertSame(Tokenizer.load(folder.resolve("saved")), own);
  }

  @ParameterizedTest
  @MethodSource("org.eellm.golden.Stories#all")
  void load_sentencePieceOfAnExport_isThatWhichWasExported(Path stories) {
    Tokenizer own = Tokenizer.load(stories);
    Tokenizer read = Tokenizer.load(export(stories, stories));
    assertSame(read, own);
    assertThat(read.endOfDocument()).isEqualTo(own.endOfDocument());
  }

  // Files from the format's description

  private static GgufFixture pieces() {
    return new GgufFixture()
        .text("tokenizer.ggml.model", "llama")
        .texts(
            "tokenizer.ggml.tokens",
            List.of("<unk>", "<s>", "</s>", "<0x0A>", "\u2581", "a", "b", "ab", "\u2581a"))
        .numbers("tokenizer.ggml.token_type", List.of(2, 3, 3, 6, 1, 1, 1, 1, 1))
        .number("tokenizer.ggml.bos_token_id", 1)
        .number("tokenizer.ggml.eos_token_id", 2);
  }

  private Path write(GgufFixture file) throws IOException {
    return file.write(folder.resolve("tokenizer.gguf"));
  }

  @Test
  void encode_sentencePiece_joinsTheHighestScoreFirst() throws IOException {
    List<Float> scores = List.of(0f, 0f, 0f, 0f, -9f, -9f, -9f, -2f, -1f);
    Tokenizer blankFirst = Tokenizer.load(write(pieces().reals("tokenizer.ggml.scores", scores)));
    assertThat(blankFirst.encode("ab")).containsExactly(8, 6); // " a" before "ab"
    assertThat(blankFirst.encode("b\nab")).containsExactly(4, 6, 3, 7);
    assertThat(blankFirst.beginningOfSequence()).hasValue(1); // unless the file says otherwise
    assertThat(blankFirst.decode(8, 6, 3, 5)).isEqualTo("ab\na");

    List<Float> others = List.of(0f, 0f, 0f, 0f, -9f, -9f, -9f, -1f, -2f);
    Tokenizer without =
        Tokenizer.load(
            write(
                pieces()
                    .reals("tokenizer.ggml.scores", others)
                    .flag("tokenizer.ggml.add_space_prefix", false)
                    .flag("tokenizer.ggml.add_bos_token", false)));
    assertThat(without.encode(" ab")).containsExactly(4, 7);
    assertThat(without.encode("ab")).containsExactly(7);
    assertThat(without.beginningOfSequence()).isEmpty();
    assertThat(without.decode(4, 7)).isEqualTo(" ab");
  }

  private static GgufFixture pairs(String pre, List<String> merges) {
    return new GgufFixture()
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", pre)
        .texts("tokenizer.ggml.tokens", List.of("a", "b", "ab", "<end>"))
        .numbers("tokenizer.ggml.token_type", List.of(1, 1, 1, 3))
        .texts("tokenizer.ggml.merges", merges)
        .number("tokenizer.ggml.eos_token_id", 3);
  }

  private void assertRefused(GgufFixture file, String message) throws IOException {
    Path path = write(file);
    assertThatThrownBy(() -> Tokenizer.load(path))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(path + ": ")
        .hasMessageContaining(message)
        .message()
        .hasLineCount(1);
  }

  @Test
  void load_whatCannotBeHonoured_isRefusedByName() throws IOException {
    assertThat(Tokenizer.load(write(pairs("gpt-2", List.of("a b")))).encode("ab"))
        .containsExactly(2);
    assertRefused(pairs("tekken", List.of()), "tokenizer.ggml.pre: tekken is no way to cut text");
    assertRefused(pairs("gpt-2", List.of("ab")), "'ab' is no pair");
    assertRefused(pairs("gpt-2", List.of("b b")), "'b b' makes 'bb', which is not among");
    assertRefused(
        pairs("gpt-2", List.of()).flag("tokenizer.ggml.add_eos_token", true),
        "tokenizer.ggml.add_eos_token: true is not supported");
    assertRefused(new GgufFixture().number("a", 1), "tokenizer.ggml.model is missing");
    assertRefused(
        new GgufFixture().text("tokenizer.ggml.model", "bert"),
        "tokenizer.ggml.model: bert is no tokenizer that is read");
    assertRefused(
        new GgufFixture().text("tokenizer.ggml.model", "gpt2"), "tokenizer.ggml.tokens is missing");
    assertRefused(pieces(), "tokenizer.ggml.scores: 0 elements are not as many as the 9");
    assertRefused(
        pieces().reals("tokenizer.ggml.scores", Collections.nCopies(8, 0f)),
        "tokenizer.ggml.scores: 8 elements are not as many as the 9");
    Consumer<GgufFixture> gpt2 = file -> file.text("tokenizer.ggml.model", "gpt2");
    GgufFixture twice = new GgufFixture();
    gpt2.accept(twice);
    assertRefused(
        twice.text("tokenizer.ggml.pre", "gpt-2").texts("tokenizer.ggml.tokens", List.of("a", "a")),
        "tokens 0 and 1 are both 'a'");
    GgufFixture typed = new GgufFixture();
    gpt2.accept(typed);
    assertRefused(
        typed
            .texts("tokenizer.ggml.tokens", List.of("a"))
            .numbers("tokenizer.ggml.token_type", List.of(9)),
        "tokenizer.ggml.token_type: 9 of token 0 is unknown");
    GgufFixture end = new GgufFixture();
    gpt2.accept(end);
    assertRefused(
        end.text("tokenizer.ggml.pre", "gpt-2")
            .texts("tokenizer.ggml.tokens", List.of("a"))
            .number("tokenizer.ggml.eos_token_id", 5),
        "tokenizer.ggml.eos_token_id: 5 is no token; there are 1");
    GgufFixture wrong = new GgufFixture();
    gpt2.accept(wrong);
    assertRefused(
        wrong.numbers("tokenizer.ggml.tokens", List.of(1)),
        "tokenizer.ggml.tokens: an array of 1 whole numbers is not an array of texts");
  }
}
