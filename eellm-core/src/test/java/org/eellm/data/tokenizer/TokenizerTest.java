package org.eellm.data.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.eellm.data.DataException;
import org.eellm.data.Progress;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.tokenizer.word.WordCutter;
import org.eellm.golden.Resources;
import org.eellm.golden.SharedFiles;
import org.eellm.golden.Stories;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

public final class TokenizerTest {
  private static final Path GPT_2 = Resources.folder("/gpt2-tokenizer/vocab.json");

  @TempDir Path folder;

  /** A small one that make_gpt2_tokenizer.py has learned, and GPT-2's own where it is at hand. */
  static Stream<Path> gpt2() {
    return Stream.concat(Stream.of(GPT_2), SharedFiles.find("models/gpt2-tokenizer").stream());
  }

  @Test
  void encode_smallGpt2_givesTheKnownIds() throws IOException {
    Tokenizer tokenizer = Tokenizer.load(GPT_2);
    JsonNode known = new ObjectMapper().readTree(GPT_2.resolve("known.json").toFile());

    assertThat(known).hasSizeGreaterThan(40);
    for (JsonNode text : known) {
      assertKnown(tokenizer, text.get("text").asText(), ints(text.get("ids")));
    }
    assertGpt2(tokenizer, 550);
  }

  private static int[] ints(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).mapToInt(JsonNode::asInt).toArray();
  }

  private static void assertKnown(Tokenizer tokenizer, String text, int[] ids) {
    assertThat(tokenizer.encode(text)).as(text).containsExactly(ids);
    assertThat(tokenizer.decode(ids)).isEqualTo(text);
  }

  private static void assertGpt2(Tokenizer tokenizer, int vocabSize) {
    assertThat(tokenizer.vocabSize()).isEqualTo(vocabSize);
    assertThat(tokenizer.endOfDocument()).isEqualTo(vocabSize - 1);
    assertThat(tokenizer.beginningOfSequence()).isEmpty();
  }

  static Stream<Arguments> llamaCpp() {
    return SharedFiles.both("models/gpt2-tokenizer", "vectors");
  }

  /** The texts of llama.cpp's tests, by GPT-2's own tokenizer, where they are at hand. */
  @ParameterizedTest(allowZeroInvocations = true)
  @MethodSource("llamaCpp")
  void encode_gpt2_givesTheIdsOfLlamaCpp(Path model, Path vectors) throws IOException {
    Tokenizer tokenizer = Tokenizer.load(model);
    String[] texts =
        Files.readString(vectors.resolve("ggml-vocab-gpt-2.gguf.inp"))
            .split("\n__ggml_vocab_test__\n"); // behind the last one is nothing
    List<String> expected = Files.readAllLines(vectors.resolve("ggml-vocab-gpt-2.gguf.out"));

    assertThat(texts).hasSameSizeAs(expected).hasSizeGreaterThan(40);
    for (int i = 0; i < texts.length; i++) {
      int[] ids =
          Arrays.stream(expected.get(i).strip().split(" "))
              .filter(id -> !id.isEmpty())
              .mapToInt(Integer::parseInt)
              .toArray();
      assertKnown(tokenizer, texts[i], ids);
    }
    assertGpt2(tokenizer, 50_257);
  }

  @ParameterizedTest
  @MethodSource("gpt2")
  void encode_gpt2_agreesWithTheTokenizersLibrary(Path gpt2) throws IOException {
    Tokenizer tokenizer = Tokenizer.load(gpt2);
    tokenizer.save(folder);
    try (HuggingFaceTokenizer library = library(folder)) {
      for (String text : hardTexts()) {
        assertThat(tokenizer.encode(text))
            .as(text)
            .containsExactly(ids(library.encode(text, false, false).getIds()));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("org.eellm.golden.Stories#all")
  void encode_sentencePiece_givesTheKnownIds(Path stories) throws IOException {
    Tokenizer tokenizer = Tokenizer.load(stories);
    int[] ids = Stories.known(stories).stream().mapToInt(id -> id).toArray();

    assertThat(tokenizer.beginningOfSequence()).hasValue(ids[0]);
    assertThat(tokenizer.endOfDocument()).isEqualTo(2);
    String text = tokenizer.decode(ids);
    assertThat(text).startsWith("Once upon a time, there was a little girl");
    int[] withoutBeginning = Arrays.copyOfRange(ids, 1, ids.length);
    assertThat(tokenizer.encode(text)).containsExactly(withoutBeginning);
  }

  @ParameterizedTest
  @MethodSource("org.eellm.golden.Stories#all")
  void decode_sentencePiece_roundTripsBytesOutsideTheVocabulary(Path stories) {
    Tokenizer tokenizer = Tokenizer.load(stories);
    for (String text :
        List.of("naïve 🦙 日本\n\tx", " two  blanks ", "<s> is text, so is </s>", "")) {
      assertThat(tokenizer.decode(tokenizer.encode(text))).isEqualTo(text);
    }
  }

  @Test
  void encode_otherWordPattern_goesThroughTheLibraryAndKeepsIds() throws IOException {
    Tokenizer plain = trained();
    plain.save(folder);
    // The same words, asked for as newer models do; and a special token behind the vocabulary,
    // another one behind that, and one that is none.
    ObjectMapper json = new ObjectMapper();
    ObjectNode file = (ObjectNode) json.readTree(folder.resolve("tokenizer.json").toFile());
    ObjectNode words = file.putObject("pre_tokenizer").put("type", "Sequence");
    words
        .putArray("pretokenizers")
        .add(
            json.createObjectNode()
                .put("type", "Split")
                .put("behavior", "Isolated")
                .put("invert", false)
                .set(
                    "pattern",
                    json.createObjectNode().put("Regex", WordCutter.GPT_2_WORD.expression())))
        .add(
            json.createObjectNode()
                .put("type", "ByteLevel")
                .put("add_prefix_space", false)
                .put("trim_offsets", true)
                .put("use_regex", false));
    int next = plain.vocabSize();
    addToken(file, next, "<|im_start|>", true);
    addToken(file, next + 1, "<|im_end|>", true);
    addToken(file, next + 2, "<think>", false);
    write("tokenizer.json", file.toString());
    Tokenizer tokenizer = Tokenizer.load(folder);

    assertThat(tokenizer.vocabSize()).isEqualTo(next + 3);
    for (String text : hardTexts()) {
      assertThat(tokenizer.encode(text)).as(text).isEqualTo(plain.encode(text));
    }
    String special = "<|im_start|>the <|endoftext|><|im_end|>";
    assertThat(tokenizer.encode(special)).isEqualTo(plain.encode(special));
    assertThat(tokenizer.encode("the<think>")).endsWith(next + 2).startsWith(plain.encode("the"));
    assertThat(tokenizer.decode(next, next + 2)).isEqualTo("<think>");
    assertThat(tokenizer.piece(next)).isEqualTo("<|im_start|>");
  }

  private static void addToken(ObjectNode file, int id, String content, boolean special) {
    ObjectNode token = file.withArray("added_tokens").get(0).deepCopy();
    token.put("id", id).put("content", content).put("special", special);
    file.withArray("added_tokens").add(token);
  }

  /** Published files differ in form; some of these forms the JSON library has to read. */
  @ParameterizedTest
  @ValueSource(strings = {"pretty", "pairs", "escaped", "merges first", "surrogates"})
  void load_otherFormsOfAFile_encodeAlike(String form) throws IOException {
    Tokenizer plain = trained();
    plain.save(folder);
    ObjectMapper json = new ObjectMapper();
    ObjectNode file = (ObjectNode) json.readTree(folder.resolve("tokenizer.json").toFile());
    ObjectNode model = (ObjectNode) file.path("model");
    addToken(file, plain.vocabSize(), "<|\uD83E\uDD99|>", false);
    if (form.equals("pairs")) {
      ArrayNode pairs = json.createArrayNode();
      for (JsonNode merge : model.path("merges")) {
        int blank = merge.asText().indexOf(' ');
        String left = merge.asText().substring(0, blank);
        pairs.addArray().add(left).add(merge.asText().substring(blank + 1));
      }
      model.set("merges", pairs);
    }
    if (form.equals("merges first")) {
      model.set("vocab", model.remove("vocab"));
    }
    if (form.equals("surrogates")) {
      ((ObjectNode) model.path("vocab")).put("\uD83E\uDD99", plain.vocabSize() + 1);
    }
    JsonMapper writer =
        JsonMapper.builder()
            .configure(
                JsonWriteFeature.ESCAPE_NON_ASCII,
                form.equals("escaped") || form.equals("surrogates"))
            .build();
    String text = form.equals("pretty") ? file.toPrettyString() : writer.writeValueAsString(file);
    write("tokenizer.json", text);
    Tokenizer tokenizer = Tokenizer.load(folder);

    for (String each : hardTexts()) {
      assertThat(tokenizer.encode(each)).as(each).isEqualTo(plain.encode(each));
    }
    assertThat(tokenizer.encode("a<|\uD83E\uDD99|>")).endsWith(plain.vocabSize());
    assertThat(tokenizer.definition()).isEqualTo(text);
  }

  @Test
  void save_chatTemplateBesideIt_isKeptAndAnOlderOneIsNot() throws IOException {
    trained().save(folder);
    write("chat_template.jinja", "{{ messages }}\n");
    for (Path path : List.of(folder, folder.resolve("tokenizer.json"))) {
      Tokenizer tokenizer = Tokenizer.load(path);
      assertThat(tokenizer.chatTemplate()).hasValue("{{ messages }}\n");
      tokenizer.save(folder.resolve("copy"));
      assertThat(folder.resolve("copy/chat_template.jinja")).hasContent("{{ messages }}\n");
    }
    trained().save(folder.resolve("copy"));
    assertThat(folder.resolve("copy/chat_template.jinja")).doesNotExist();
    Files.write(folder.resolve("chat_template.jinja"), new byte[] {(byte) 0xFF});
    assertThatThrownBy(() -> Tokenizer.load(folder))
        .isInstanceOf(DataException.class)
        .hasMessage(folder.resolve("chat_template.jinja") + ": cannot be read: not UTF-8 text");
  }

  /** Blanks beside an added token that takes them, and what is found first of several. */
  @Test
  void encode_addedTokens_takeBlanksAndTheLongestIsFound() throws IOException {
    Tokenizer plain = trained();
    plain.save(folder);
    ObjectMapper json = new ObjectMapper();
    ObjectNode file = (ObjectNode) json.readTree(folder.resolve("tokenizer.json").toFile());
    int next = plain.vocabSize();
    addToken(file, next, "<x>", false);
    addToken(file, next + 1, "<x>>", false);
    addToken(file, next + 2, "<y>", false);
    ((ObjectNode) file.path("added_tokens").path(3)).put("lstrip", true).put("rstrip", true);
    write("tokenizer.json", file.toString());
    Tokenizer tokenizer = Tokenizer.load(folder);

    try (HuggingFaceTokenizer library = library(folder)) {
      for (String text : List.of("a<x>>b<x>", "<x> a \u00A0\n<y>\t\u3000 b", "<y><y> <x><", "<")) {
        assertThat(tokenizer.encode(text))
            .as(text)
            .containsExactly(ids(library.encode(text, false, false).getIds()));
      }
    }
  }

  @Test
  void load_addedTokensWithGapsOrOutOfOrder_haveTheirIds() throws IOException {
    ObjectMapper json = new ObjectMapper();
    for (int[] ids : new int[][] {{1, 2}, {0, 2}, {1, 0}}) { // all behind; with a gap; swapped
      trained().save(folder);
      ObjectNode file = (ObjectNode) json.readTree(folder.resolve("tokenizer.json").toFile());
      int next = file.path("model").path("vocab").size();
      addToken(file, next + ids[0], "<think>", false);
      addToken(file, next + ids[1], "</think>", false);
      write("tokenizer.json", file.toString());
      Tokenizer tokenizer = Tokenizer.load(folder);
      assertThat(tokenizer.encode("a<think>")).endsWith(next + ids[0]);
      assertThat(tokenizer.encode("</think>")).containsExactly(next + ids[1]);
      assertThat(tokenizer.decode(next + ids[0], next + ids[1])).isEqualTo("<think></think>");
      // The library counts on from the vocabulary's size.
      file.set("normalizer", json.createObjectNode().put("type", "Lowercase"));
      write("tokenizer.json", file.toString());
      assertBad("", "think>' has the id");
      assertBad("", "which does not follow those before it; sort added tokens by their ids");
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      textBlock =
          """
          "tokenizer_class": "RobertaTokenizer"    | RobertaTokenizer is none of CodeGenTokenizer, GPT2Tokenizer, Qwen2Tokenizer
          "eos_token": {"content": "</s>"}         | eos_token </s> of tokenizer_config.json is not in the vocabulary
          "added_tokens_decoder": {"50257": {"content": "<x>"}} | ids go to 50257, but there are 283 tokens
          "added_tokens_decoder": {"x": {"content": "<x>"}}     | added_tokens_decoder: x is no token id
          ~"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>"~ |
          "tokenizer_class": "GPT2TokenizerFast"   |
          "model_max_length": 1024                 |
          """)
  void load_pairsOfAnotherClass_areRefused(String config, String message) throws IOException {
    writePairs();
    int[] plain = Tokenizer.load(folder).encode("the end");
    write("tokenizer_config.json", "{" + config + "}");
    if (message == null) {
      assertThat(Tokenizer.load(folder).encode("the end")).isEqualTo(plain);
    } else {
      assertBad("", message);
    }
  }

  @Test
  void load_pairsWithTokensBeside_haveThem() throws IOException {
    writePairs();
    int end = Tokenizer.load(folder).endOfDocument();
    write("added_tokens.json", "{\"<think>\": %d, \"<end>\": %d}".formatted(end + 2, end + 1));
    write("special_tokens_map.json", "{\"eos_token\": \"<end>\", \"bos_token\": \"<end>\"}");
    write("tokenizer_config.json", "{\"add_bos_token\": true}");
    Tokenizer tokenizer = Tokenizer.load(folder);

    assertThat(tokenizer.encode("the<think>")).endsWith(end + 2);
    assertThat(tokenizer.endOfDocument()).isEqualTo(end + 1);
    assertThat(tokenizer.beginningOfSequence()).hasValue(end + 1);
    assertThat(tokenizer.encode("<end>")).doesNotContain(end + 1);
    String other = "{\"%d\": {\"content\": \"<other>\"}}".formatted(end + 1);
    write("tokenizer_config.json", "{\"added_tokens_decoder\": " + other + "}");
    assertBad("", "is '<other>' there, but '<end>' elsewhere; keep one");
  }

  @Test
  void load_pairsOfQwen2_areCutAndEndAsQwenDoes() throws IOException {
    writePairs();
    int next = Tokenizer.load(folder).vocabSize();
    write(
        "tokenizer_config.json",
        """
        {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "added_tokens_decoder": {
          "%d": {"content": "<|im_end|>", "special": true}}}
        """
            .formatted(next));
    Tokenizer tokenizer = Tokenizer.load(folder);

    assertThat(tokenizer.endOfDocument()).isEqualTo(next);
    assertThat(tokenizer.encode("e\u0301")).isEqualTo(tokenizer.encode("\u00e9"));
    assertThat(tokenizer.definition()).contains("\\\\p{N}|", "NFC");
    tokenizer.save(folder.resolve("saved"));
    assertThat(Tokenizer.load(folder.resolve("saved")).encode("the end 12"))
        .isEqualTo(tokenizer.encode("the end 12"));
  }

  private static String ranks(Tokenizer pairs) {
    StringBuilder ranks = new StringBuilder();
    for (int id = 0; id < pairs.endOfDocument(); id++) {
      String bytes = Base64.getEncoder().encodeToString(pairs.bytes(id));
      ranks.append(bytes).append(' ').append(id).append('\n');
    }
    return ranks.toString();
  }

  @ParameterizedTest
  @CsvSource({"tekken.json, Mistral's tekken", "vocab.txt, WordPiece's list of words"})
  void load_otherFile_isRefusedByName(String file, String format) throws IOException {
    write(file, "{}");

    assertThatThrownBy(() -> Tokenizer.load(folder))
        .hasMessageContaining(
            "%s: is %s, which is not read; save the tokenizer as tokenizer.json"
                .formatted(file, format));
  }

  @Test
  void load_ranksOfLlama3_beginTextsAsItsProgramDoes() throws IOException {
    Tokenizer pairs = trained();
    int next = pairs.endOfDocument();
    write("tokenizer.model", ranks(pairs));
    write(
        "tokenizer_config.json",
        """
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<begin>", "eos_token": "<end>",
         "added_tokens_decoder": {"%d": {"content": "<begin>", "special": true},
           "%d": {"content": "<end>", "special": true}}}
        """
            .formatted(next, next + 1));
    Tokenizer tokenizer = Tokenizer.load(folder);

    assertThat(tokenizer.beginningOfSequence()).hasValue(next);
    assertThat(tokenizer.encode("the end")).isEqualTo(pairs.encode("the end"));
    tokenizer.save(folder.resolve("saved"));
    assertThat(Tokenizer.load(folder.resolve("saved")).beginningOfSequence()).hasValue(next);
  }

  @Test
  void load_ranksOfTheFirstQwen_haveTheTokensOfItsProgram() throws IOException {
    Tokenizer pairs = trained();
    int next = pairs.endOfDocument();
    write("qwen.tiktoken", ranks(pairs));
    write("tokenizer_config.json", "{\"tokenizer_class\": \"QWenTokenizer\"}");
    Tokenizer tokenizer = Tokenizer.load(folder);

    assertThat(tokenizer.endOfDocument()).isEqualTo(next);
    assertThat(tokenizer.beginningOfSequence()).isEmpty();
    assertThat(tokenizer.piece(next + 1)).isEqualTo("<|im_start|>");
    assertThat(tokenizer.piece(next + 3 + 204)).isEqualTo("<|extra_204|>");
    assertThat(tokenizer.vocabSize()).isEqualTo(next + 3 + 205);
  }

  /** The same pairs as ranks, in both places where tiktoken's files are. */
  @ParameterizedTest
  @CsvSource({"tokenizer.model, PreTrainedTokenizerFast", "qwen.tiktoken, QWenTokenizer"})
  void load_tiktoken_encodesAsTheSamePairs(String file, String kind) throws IOException {
    Tokenizer pairs = trained();
    String ranks = ranks(pairs);
    write(file, ranks);
    assertBad("", file + ": how tiktoken's tokenizer_class '' cuts text is not known");
    write(
        "tokenizer_config.json",
        """
        {"tokenizer_class": "%s", "eos_token": "<end>", "added_tokens_decoder": {
          "%d": {"content": "<end>", "special": true}}}
        """
            .formatted(kind, pairs.endOfDocument()));
    Tokenizer tokenizer = Tokenizer.load(folder);

    assertThat(tokenizer.endOfDocument()).isEqualTo(pairs.endOfDocument());
    for (String text : List.of("the cat and that bird", " the  dog<end>", "naïve 🦙")) {
      assertThat(tokenizer.encode(text)).isEqualTo(pairs.encode(text));
    }
    write(file, ranks + "IQ== 1\n");
    assertBad("", file + ":%d: the token is there twice".formatted(pairs.vocabSize()));
    write(file, ranks + "!!! 1\n");
    assertBad("", "'!!! 1' is no token of tiktoken's, in base64, with its rank");
  }

  private void writePairs() throws IOException {
    trained().save(folder);
    ObjectMapper json = new ObjectMapper();
    JsonNode model = json.readTree(folder.resolve("tokenizer.json").toFile()).path("model");
    Files.delete(folder.resolve("tokenizer.json"));
    Files.delete(folder.resolve("tokenizer_config.json"));
    write("vocab.json", model.path("vocab").toString());
    StringBuilder merges = new StringBuilder("#version: 0.2\n");
    for (JsonNode merge : model.path("merges")) {
      merges.append(merge.asText()).append('\n');
    }
    write("merges.txt", merges.toString());
  }

  @Test
  void encode_unigramWithMetaspace_roundTrips() throws IOException {
    write(
        "tokenizer.json",
        """
        {"version": "1.0", "truncation": null, "padding": null, "normalizer": null,
         "added_tokens": [
           {"id": 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true},
           {"id": 6, "content": "<pad>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
         "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always",
           "split": true},
         "post_processor": null,
         "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always",
           "split": true},
         "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab": [
           ["<unk>", 0.0], ["</s>", 0.0], ["▁", -2.0], ["a", -2.0], ["▁a", -1.0], ["b", -2.0]]}}
        """);
    Tokenizer tokenizer = Tokenizer.load(folder);
    assertThat(tokenizer.encode("ab a")).containsExactly(4, 5, 4);
    assertThat(tokenizer.decode(4, 5, 4, 6, 1)).isEqualTo("ab a");
    assertThat(tokenizer.endOfDocument()).isEqualTo(1);
    assertThat(tokenizer.vocabSize()).isEqualTo(7);
    assertThat(tokenizer.encode("</s>")).doesNotContain(1);
  }

  @Test
  void encode_specialTokensName_isPlainText() {
    for (Path model : Stream.concat(gpt2(), Stories.all()).toList()) {
      Tokenizer tokenizer = Tokenizer.load(model);
      String name = tokenizer.piece(tokenizer.endOfDocument());
      int[] ids = tokenizer.encode("a " + name + " b");
      assertThat(ids).doesNotContain(tokenizer.endOfDocument());
      assertThat(tokenizer.decode(ids)).isEqualTo("a " + name + " b");
    }
  }

  @Test
  void decode_everyUnicodeCharacter_roundTrips() {
    Tokenizer tokenizer = trained();
    StringBuilder text = new StringBuilder();
    for (int character = 0; character <= Character.MAX_CODE_POINT; character++) {
      if (character < Character.MIN_SURROGATE || character > Character.MAX_SURROGATE) {
        text.appendCodePoint(character);
        if (text.length() > 100_000) {
          assertThat(tokenizer.decode(tokenizer.encode(text.toString())))
              .isEqualTo(text.toString());
          text.setLength(0);
        }
      }
    }
    assertThat(tokenizer.decode(tokenizer.encode(text.toString()))).isEqualTo(text.toString());
  }

  @Test
  void bytes_ofAllTokens_areTheEncodedBytes() {
    Tokenizer tokenizer = trained();
    for (String text : hardTexts()) {
      int[] ids = tokenizer.encode(text);
      int length = Arrays.stream(ids).map(tokenizer::byteLength).sum();
      assertThat(length).isEqualTo(text.getBytes(StandardCharsets.UTF_8).length);
    }
    assertThat(tokenizer.bytes(tokenizer.endOfDocument())).isEmpty();
    assertThat(tokenizer.piece(tokenizer.endOfDocument())).isEqualTo("<|endoftext|>");
  }

  @Test
  @Timeout(120) // seconds, for the slowest machine; quadratic time would be days
  void encode_longUnbrokenText_isQuick() {
    Tokenizer tokenizer = trained();
    StringBuilder mixed = new StringBuilder();
    new Random(3).ints(1 << 20, 'a', 'z' + 1).forEach(mixed::appendCodePoint);
    for (String text : List.of("a".repeat(1 << 20), " ".repeat(1 << 20), mixed.toString())) {
      assertThat(tokenizer.decode(tokenizer.encode(text))).isEqualTo(text);
    }
  }

  @ParameterizedTest
  @MethodSource("gpt2")
  void streamingDecoder_characterSplitOverTokens_comesWhole(Path gpt2) {
    Tokenizer tokenizer = Tokenizer.load(gpt2);
    String text = "this is 🦙.cpp, naïve";
    StreamingDecoder decoder = tokenizer.streamingDecoder();
    List<String> parts = new ArrayList<>();
    for (int id : tokenizer.encode(text)) {
      parts.add(decoder.append(id));
    }
    parts.add(decoder.finish());
    assertThat(parts).contains("", "🦙").doesNotContain("\uFFFD");
    assertThat(String.join("", parts)).isEqualTo(text);
  }

  @Test
  void streamingDecoder_endsInsideACharacter_saysSo() {
    Tokenizer tokenizer = trained();
    int firstByte = tokenizer.encode("🦙")[0];
    StreamingDecoder decoder = tokenizer.streamingDecoder();
    assertThat(decoder.append(firstByte)).isEmpty();
    assertThat(decoder.finish()).isEqualTo("\uFFFD");
  }

  @ParameterizedTest
  @MethodSource("org.eellm.golden.Stories#all")
  void save_loadedTokenizer_isCopiedVerbatim(Path stories) throws IOException {
    Tokenizer.load(stories).save(folder.resolve("copy"));
    for (String file : List.of("tokenizer.json", "tokenizer_config.json")) {
      assertThat(folder.resolve("copy").resolve(file))
          .hasSameBinaryContentAs(stories.resolve(file));
    }
  }

  @Test
  void load_whatCannotBeUsed_saysWhyInOneLine() throws IOException {
    assertBad("", "no tokenizer there; give a folder with tokenizer.json");
    write("tokenizer.json", "{\"model\":\n{");
    assertBad("", "tokenizer.json:2: not valid JSON");
    write("tokenizer.json", "[]");
    assertBad("", "holds no JSON object");
    write("tokenizer.json", "{}");
    assertBad("", "has no model.vocab");
    write(
        "tokenizer.json",
        "{\"model\": {\"vocab\": {\"a\": -1}}, \"decoder\": {\"type\": \"Fuse\"}}");
    assertBad("", "-1 is no token id");
    write(
        "tokenizer.json",
        "{\"model\": {\"vocab\": {\"</s>\": 0}}, \"decoder\": {\"type\": \"CTC\"}}");
    assertBad("", "decoder CTC is not supported");
    write(
        "tokenizer.json",
        "{\"model\": {\"vocab\": {\"a\": 0}}, \"decoder\": {\"type\": \"Fuse\"}}");
    assertBad("", "no token ends a text; name it as eos_token in tokenizer_config.json");
    write("tokenizer_config.json", "{\"eos_token\": {\"content\": \"</end>\"}}");
    assertBad("", "eos_token </end> of tokenizer_config.json is not in the vocabulary");
    write("tokenizer_config.json", "{\"eos_token\": \"a\"}");
    assertBad("", "model.merges: null is no list of pairs");
  }

  private void assertBad(String path, String message) {
    assertThatThrownBy(() -> Tokenizer.load(folder.resolve(path)))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(folder.toString())
        .hasMessageContaining(message)
        .hasMessageNotContaining("\n");
  }

  private void write(String file, String content) throws IOException {
    Files.writeString(folder.resolve(file), content);
  }

  public static Tokenizer trained() {
    return BpeTrainer.train(
        Corpus.of(List.of("the cat and the dog and the bird, and that is all there is".repeat(3))),
        300,
        1,
        Progress.NONE);
  }

  /** Blanks of all kinds, digits, marks, emoji, control characters, and a long mixture. */
  static List<String> hardTexts() {
    List<String> texts =
        new ArrayList<>(
            List.of(
                "",
                " ",
                "  a  b ",
                "\r\n\n \t x\u00A0y\u2003z\u3000\u0085\u200B.",
                "I'll they've 'sup 'RE don't''s",
                "x² ½ Ⅷ 12345 ٣٤ 1,000.50",
                "e\u0301 नमस्ते 한국어 ﷺ",
                "👩‍👩‍👧‍👦🏳️‍🌈 \u0000\u0001\u007F\uFEFF\uFFFD",
                "</s><s> <|endoftext"));
    Random random = new Random(5);
    int[] characters =
        IntStream.generate(() -> random.nextInt(random.nextBoolean() ? 0x80 : 0x3000))
            .filter(character -> !Character.isSurrogate((char) character))
            .limit(20_000)
            .toArray();
    texts.add(new String(characters, 0, characters.length));
    return texts;
  }

  /** The tokenizers library on a folder, without the limits that it sets by itself. */
  static HuggingFaceTokenizer library(Path folder) throws IOException {
    return HuggingFaceTokenizer.newInstance(
        folder, Map.of("truncation", "false", "padding", "false"));
  }

  static int[] ids(long[] ids) {
    return Arrays.stream(ids).mapToInt(Math::toIntExact).toArray();
  }
}
