package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.eellm.checkpoint.WeightFiles;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.convert.GgufWriter.Quantization;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.golden.GoldenCase;
import org.eellm.tensor.Tensors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** GGUF files, read here by a small reader written from the format's description. */
final class GgufWriterTest {

  @TempDir private Path folder;

  private record Tensor(List<Long> shape, int type, float[] values) {}

  private record Gguf(Map<String, Object> metadata, Map<String, Tensor> tensors) {
    Tensor tensor(String name) {
      return Objects.requireNonNull(tensors.get(name), name);
    }
  }

  private Gguf write(Path model, Quantization quantization, Optional<Path> tokenizer)
      throws IOException {
    Path file = folder.resolve("model.gguf");
    try (SourceModel source = ModelReader.open(model)) {
      GgufWriter.write(
          source, file, quantization, new Options(Optional.empty(), tokenizer), (done, all) -> {});
    }
    assertThat(folder).isDirectoryNotContaining("glob:**/.converting*");
    return read(file);
  }

  /** A tokenizer of bytes alone, for any vocabulary of at least 256. */
  private Path tokenizer() throws IOException {
    Path path = Files.createDirectories(folder.resolve("tokenizer"));
    StringBuilder vocabulary = new StringBuilder();
    for (int i = 0; i < 200; i++) {
      vocabulary.append(i > 0 ? "," : "").append("\"t").append(i).append("\":").append(i);
    }
    Files.writeString(
        path.resolve("tokenizer.json"),
        """
        {"added_tokens":[{"id":202,"content":"</s>","special":true,"single_word":false,
           "lstrip":false,"rstrip":false,"normalized":false}],
         "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
         "decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true},
         "model":{"type":"BPE","vocab":{%s,"t1t2":200,"t3t4":201},"merges":[["t1","t2"],["t3","t4"]]}}
        """
            .formatted(vocabulary));
    return path;
  }

  @Test
  void write_rounded_countsAsCopiesOnlyWhatIsTheSourcesBytes() throws IOException {
    Path golden = GoldenCase.named("llama_mlp_block_gqa").folder();
    Options options = new Options(Optional.empty(), Optional.of(tokenizer()));
    try (SourceModel source = ModelReader.open(golden)) {
      for (Quantization quantization : Quantization.values()) {
        ModelWriter.Outcome outcome =
            GgufWriter.write(
                ExitEditor.remove(source, source.architecture().exits().layers()),
                folder.resolve(quantization + ".gguf"),
                quantization,
                options,
                (done, all) -> {});
        int norms = 2 * 4 + 1; // beside them only matrices, some of which are permuted
        assertThat(outcome.copies())
            .isEqualTo(quantization == Quantization.F32 ? outcome.tensors().size() - 2 * 4 : norms);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void write_llama_hasEveryTensorOfTheTrunkUnderItsName(Quantization quantization)
      throws IOException {
    Path golden = GoldenCase.named("llama_mlp_block_gqa").folder();
    Gguf gguf = write(golden, quantization, Optional.of(tokenizer()));
    assertThat(gguf.metadata())
        .containsEntry("general.architecture", "llama")
        .containsEntry("llama.block_count", 4)
        .containsEntry("llama.attention.head_count", 8)
        .containsEntry("llama.attention.head_count_kv", 2)
        .containsEntry("llama.attention.layer_norm_rms_epsilon", 1e-5f)
        .containsEntry("tokenizer.ggml.model", "gpt2")
        .containsEntry("tokenizer.ggml.pre", "gpt-2")
        .containsEntry("tokenizer.ggml.merges", List.of("t1 t2", "t3 t4"));
    assertThat((List<?>) gguf.metadata().get("tokenizer.ggml.tokens")).hasSize(256);
    assertThat(gguf.tensors()).hasSize(3 + 4 * 9);
    assertThat(gguf.tensor("blk.3.ffn_down.weight").shape()).containsExactly(96L, 64L);
    assertThat(gguf.tensor("output_norm.weight").type()).isZero();
    try (SourceModel model = ModelReader.open(golden)) {
      float tolerance =
          switch (quantization) {
            case F32 -> 0;
            case BF16 -> 1f / 256;
            case Q8_0 -> 1f / 127; // of a block's largest value, which is below 1 here
          };
      float[] up = values(model, "model.layers.2.mlp.up_proj.weight");
      assertThat(gguf.tensor("blk.2.ffn_up.weight").values())
          .usingComparatorWithPrecision(tolerance)
          .containsExactly(up);
      // A head's first half and second half alternate: neighbours are llama.cpp's pairs.
      float[] query = values(model, "model.layers.1.self_attn.q_proj.weight");
      float[] permuted = gguf.tensor("blk.1.attn_q.weight").values();
      for (int head = 0; head < 8; head++) {
        for (int pair = 0; pair < 4; pair++) {
          for (int half = 0; half < 2; half++) {
            int to = (head * 8 + 2 * pair + half) * 64;
            int from = (head * 8 + 4 * half + pair) * 64;
            assertThat(permuted[to + 5]).isCloseTo(query[from + 5], within(tolerance));
          }
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"gpt2,gpt2", "megatron_tp1_pp2,gpt2"})
  void write_gpt2_fusesQueriesKeysAndValues(String name, String family) throws IOException {
    Path tokenizer = Files.createDirectories(folder.resolve("pairs"));
    Files.writeString(
        tokenizer.resolve("vocab.json"), "{\"a\":0,\"b\":1,\"ab\":2,\"<|endoftext|>\":3}");
    Files.writeString(tokenizer.resolve("merges.txt"), "#version: 0.2\na b\n");
    Gguf gguf = write(Layouts.folder(name), Quantization.F32, Optional.of(tokenizer));
    assertThat(gguf.metadata()).containsEntry("general.architecture", family);
    assertThat(gguf.tensor("blk.0.attn_qkv.weight").shape()).containsExactly(32L, 96L);
    assertThat(gguf.tensor("blk.0.attn_qkv.bias").shape()).containsExactly(96L);
    try (SourceModel model = ModelReader.open(Layouts.folder(name))) {
      float[] key = values(model, "model.layers.0.self_attn.k_proj.weight");
      float[] fused = gguf.tensor("blk.0.attn_qkv.weight").values();
      assertThat(Arrays.copyOfRange(fused, 32 * 32, 64 * 32)).containsExactly(key);
    }
  }

  @ParameterizedTest
  @CsvSource({"gpt_neox,false", "gpt_neox_parallel,true"})
  void write_gptNeox_dividesWhatWasFusedByHeads(String name, boolean parallel) throws IOException {
    Path tokenizer = Files.createDirectories(folder.resolve("pairs"));
    Files.writeString(
        tokenizer.resolve("vocab.json"), "{\"a\":0,\"b\":1,\"ab\":2,\"<|endoftext|>\":3}");
    Files.writeString(tokenizer.resolve("merges.txt"), "#version: 0.2\na b\n");
    Gguf gguf = write(Layouts.folder(name), Quantization.F32, Optional.of(tokenizer));
    assertThat(gguf.metadata())
        .containsEntry("general.architecture", "gptneox")
        .containsEntry("gptneox.use_parallel_residual", parallel)
        .containsEntry("gptneox.rope.dimension_count", 2)
        .containsEntry("gptneox.attention.layer_norm_epsilon", 1e-5f);
    float[] ours = gguf.tensor("blk.1.attn_qkv.weight").values(); // queries, keys, values by heads
    try (WeightFiles files = WeightFiles.openStored(Layouts.folder(name))) {
      float[] theirs = // heads of query, key and value
          files
              .tensor("gpt_neox.layers.1.attention.query_key_value.weight")
              .bytes()
              .toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
      int size = 8 * 32;
      for (int head = 0; head < 4; head++) {
        for (int part = 0; part < 3; part++) {
          int to = (part * 4 + head) * size;
          int from = (head * 3 + part) * size;
          assertThat(Arrays.copyOfRange(ours, to, to + size))
              .containsExactly(Arrays.copyOfRange(theirs, from, from + size));
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("org.eellm.golden.Stories#all")
  void write_trainedModel_hasItsTokenizersPiecesAndScores(Path stories) throws IOException {
    Gguf gguf = write(stories, Quantization.F32, Optional.empty());
    assertThat(gguf.metadata())
        .containsEntry("tokenizer.ggml.model", "llama")
        .containsEntry("tokenizer.ggml.bos_token_id", 1)
        .containsEntry("tokenizer.ggml.eos_token_id", 2)
        .containsEntry("tokenizer.ggml.unknown_token_id", 0)
        .containsEntry("tokenizer.ggml.add_bos_token", true)
        .containsEntry("tokenizer.ggml.add_space_prefix", true);
    // The model's own tokenizer file: a score, a length and the piece, for each id.
    ByteBuffer own =
        ByteBuffer.wrap(Files.readAllBytes(stories.resolve("tok512.bin")))
            .order(ByteOrder.LITTLE_ENDIAN);
    own.getInt();
    List<?> tokens = (List<?>) Objects.requireNonNull(gguf.metadata().get("tokenizer.ggml.tokens"));
    List<?> scores = (List<?>) Objects.requireNonNull(gguf.metadata().get("tokenizer.ggml.scores"));
    float before = Float.POSITIVE_INFINITY;
    float ours = Float.POSITIVE_INFINITY;
    for (int id = 0; id < 512; id++) {
      float score = own.getFloat();
      byte[] piece = new byte[own.getInt()];
      own.get(piece);
      if (id >= 259 && piece.length > 1 && !new String(piece, StandardCharsets.UTF_8).isBlank()) {
        assertThat(tokens.get(id))
            .isEqualTo(new String(piece, StandardCharsets.UTF_8).replace(' ', '\u2581'));
        if (score < 0 && (float) scores.get(id) < 0) {
          assertThat((float) scores.get(id) < ours).as("%d", id).isEqualTo(score < before);
          before = score;
          ours = (float) scores.get(id);
        }
      }
    }
  }

  @Test
  void write_whatLlamaCppDoesNotHave_isRefused() throws IOException {
    Path tokenizer = tokenizer();
    assertRefused("qwen_block_norm", tokenizer, "llama.cpp has no model of this shape");
    assertRefused("llama_embedding", folder, "no tokenizer there");
    Files.writeString(
        tokenizer.resolve("tokenizer.json"),
        "{\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true},\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"<|endoftext|>\",0]],\"unk_id\":0}}");
    assertRefused("llama_embedding", tokenizer, "a tokenizer of type Unigram is not exported");
    Files.writeString(
        tokenizer.resolve("tokenizer.json"),
        "{\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true},\"model\":{\"vocab\":{\"<|endoftext|>\":256},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true}}");
    assertRefused("llama_embedding", tokenizer, "token id 256 is outside the model's vocabulary");
    Files.writeString(
        tokenizer.resolve("tokenizer.json"),
        "{\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true},\"model\":{\"vocab\":{\"<|endoftext|>\":1},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Whitespace\"}}");
    assertRefused("llama_embedding", tokenizer, "is none that is exported");
  }

  private void assertRefused(String name, Path tokenizer, String message) {
    assertThatThrownBy(
            () -> write(GoldenCase.named(name).folder(), Quantization.F32, Optional.of(tokenizer)))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message);
  }

  private static float[] values(SourceModel model, String name) throws IOException {
    List<float[]> values = new ArrayList<>();
    model.tensor(name).use(value -> values.add(Tensors.toFloats(value)));
    return values.getFirst();
  }

  private static Gguf read(Path path) throws IOException {
    ByteBuffer file = ByteBuffer.wrap(Files.readAllBytes(path)).order(ByteOrder.LITTLE_ENDIAN);
    assertThat(string(file, 4)).isEqualTo("GGUF");
    assertThat(file.getInt()).isEqualTo(3);
    long tensors = file.getLong();
    long keys = file.getLong();
    Map<String, Object> metadata = new LinkedHashMap<>();
    for (long i = 0; i < keys; i++) {
      metadata.put(string(file, file.getLong()), value(file, file.getInt()));
    }
    record Info(String name, List<Long> shape, int type, long offset) {}
    List<Info> infos = new ArrayList<>();
    for (long i = 0; i < tensors; i++) {
      String name = string(file, file.getLong());
      List<Long> shape = new ArrayList<>();
      for (int n = file.getInt(); n > 0; n--) {
        shape.add(file.getLong());
      }
      infos.add(new Info(name, shape, file.getInt(), file.getLong()));
    }
    int data = (file.position() + 31) / 32 * 32;
    Map<String, Tensor> all = new LinkedHashMap<>();
    for (Info info : infos) {
      assertThat(info.offset() % 32).isZero();
      int count = (int) (long) info.shape().stream().reduce(1L, (a, b) -> a * b);
      file.position(data + (int) info.offset());
      all.put(info.name(), new Tensor(info.shape(), info.type(), values(file, info.type(), count)));
    }
    return new Gguf(metadata, all);
  }

  private static float[] values(ByteBuffer file, int type, int count) {
    float[] values = new float[count];
    float scale = 0;
    for (int i = 0; i < count; i++) {
      if (type == 8 && i % 32 == 0) {
        scale = Float.float16ToFloat(file.getShort());
      }
      values[i] =
          switch (type) {
            case 0 -> file.getFloat();
            case 30 -> Float.intBitsToFloat(file.getShort() << 16);
            case 8 -> scale * file.get();
            default -> throw new IllegalStateException("type " + type);
          };
    }
    return values;
  }

  private static Object value(ByteBuffer file, int type) {
    return switch (type) {
      case 4, 5 -> file.getInt();
      case 6 -> file.getFloat();
      case 7 -> file.get() == 1;
      case 8 -> string(file, file.getLong());
      case 9 -> {
        int element = file.getInt();
        List<Object> values = new ArrayList<>();
        for (long n = file.getLong(); n > 0; n--) {
          values.add(value(file, element));
        }
        yield values;
      }
      default -> throw new IllegalStateException("type " + type);
    };
  }

  private static String string(ByteBuffer file, long length) {
    byte[] bytes = new byte[(int) length];
    file.get(bytes);
    return new String(bytes, StandardCharsets.UTF_8);
  }
}
