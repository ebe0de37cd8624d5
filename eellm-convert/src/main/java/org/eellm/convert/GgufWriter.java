package org.eellm.convert;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.eellm.checkpoint.huggingface.GgufExits;
import org.eellm.checkpoint.huggingface.GgufFamily;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.RopeScaling;
import org.eellm.convert.ConversionFile.Place;
import org.eellm.convert.ModelWriter.Listener;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.convert.ModelWriter.Outcome;
import org.eellm.file.IoErrors;
import org.eellm.tensor.Tensors;

/**
 * Writes the trunk of a model as a GGUF file (version 3), which llama.cpp runs. llama.cpp knows no
 * exits, and refuses tensors that it does not know: they go into a file beside it.
 */
public final class GgufWriter {
  private static final int VERSION = 3;
  private static final int ALIGNMENT = 32;
  private static final int BLOCK = 32;
  private static final int BLOCK_BYTES = 34; // a float16 scale and 32 bytes

  /** How matrices are stored; vectors are always float32. */
  public enum Quantization {
    F32(0, 0),
    BF16(30, 32),
    Q8_0(8, 7);

    private final int tensorType;
    private final int fileType;

    Quantization(int tensorType, int fileType) {
      this.tensorType = tensorType;
      this.fileType = fileType;
    }
  }

  /** The file's header, growing. */
  private final ByteArrayOutputStream header = new ByteArrayOutputStream();

  private int keys;

  private GgufWriter() {}

  /**
   * Writes a file.
   *
   * @throws CheckpointException if llama.cpp has no such model or tokenizer, or the file exists or
   *     cannot be written
   */
  public static Outcome write(
      SourceModel model,
      Path output,
      Quantization quantization,
      Options options,
      Listener listener) {
    SourceModel trunk = ExitEditor.remove(model, model.architecture().exits().layers());
    GgufFamily family = family(trunk);
    GgufTokenizer tokenizer =
        GgufTokenizer.read(
            options.tokenizer().orElse(model.folder()), trunk.architecture().model().vocabSize());
    List<Target> targets = new ArrayList<>();
    Path beside = GgufExits.beside(output);
    Path forNow = ModelWriter.temporary(beside); // refuses those of another model, which lie there
    if (!model.architecture().exits().layers().isEmpty()) {
      byte[] layout = layout(model, quantization);
      targets.add(target(beside, forNow, layout, items(GgufTensors.ofExits(model), quantization)));
    }
    byte[] metadata = metadata(trunk, family, tokenizer, quantization);
    List<Item> items = items(GgufTensors.of(trunk, family), quantization);
    targets.add(target(output, ModelWriter.temporary(output), metadata, items));
    long total = targets.stream().flatMap(Target::tensors).mapToLong(Place::size).sum();
    long[] done = {0};
    List<TensorRecord> records = new ArrayList<>();
    try {
      for (Target target : targets) {
        Files.createDirectories(target.file().path().getParent());
        records.addAll(
            target
                .file()
                .write(
                    bytes -> {
                      done[0] += bytes;
                      listener.done(done[0], total);
                    }));
      }
      for (Target target : targets) {
        ModelWriter.publish(target.file().path(), target.output());
      }
      int copies = targets.stream().mapToInt(Target::copies).sum();
      return new Outcome(output, records, copies, total, ModelWriter.readTokenizer(output, output));
    } catch (IOException failure) {
      throw new CheckpointException(
          "%s: cannot be written: %s".formatted(output, IoErrors.reason(failure)), failure);
    }
  }

  /** A file to be written under a temporary name. */
  private record Target(Path output, ConversionFile file, int copies) {
    Stream<Place> tensors() {
      return file.places().stream();
    }
  }

  private static Target target(Path output, Path temporary, byte[] metadata, List<Item> items) {
    int copies = (int) items.stream().filter(Item::isCopy).count();
    return new Target(output, layOut(temporary, metadata, items), copies);
  }

  private static List<Item> items(List<ModelTensor> tensors, Quantization quantization) {
    return tensors.stream().map(tensor -> item(tensor, quantization)).toList();
  }

  /** A tensor in the format that it gets in the file. */
  private record Item(ModelTensor tensor, int type, long size, TensorSource.Content content) {
    /** Whether it is the source's very bytes. */
    boolean isCopy() {
      return type != Quantization.Q8_0.tensorType && tensor.isCopy();
    }
  }

  private static Item item(ModelTensor tensor, Quantization quantization) {
    long width = tensor.shape().getLast();
    // llama.cpp's own files have routers so, too.
    boolean exact = tensor.shape().size() == 1 || tensor.name().endsWith(".ffn_gate_inp.weight");
    if (quantization == Quantization.Q8_0 && !exact && width % BLOCK == 0) {
      ModelTensor wide = tensor.as(SafetensorsType.F32);
      return new Item(
          wide,
          Quantization.Q8_0.tensorType,
          tensor.numel() / BLOCK * BLOCK_BYTES,
          sink -> wide.use(value -> quantize(Tensors.bytes(value), sink)));
    }
    // Rows that do not divide into blocks stay exact.
    boolean half = quantization == Quantization.BF16 && !exact;
    ModelTensor typed = tensor.as(half ? SafetensorsType.BF16 : SafetensorsType.F32);
    return new Item(
        typed,
        half ? Quantization.BF16.tensorType : Quantization.F32.tensorType,
        typed.byteSize(),
        typed.content());
  }

  /** Blocks of 32 values as llama.cpp's Q8_0: scale = max / 127, and the values by it, rounded. */
  private static void quantize(MemorySegment values, TensorSource.Sink sink) throws IOException {
    long blocks = values.byteSize() / Float.BYTES / BLOCK;
    int most = 1 << 15;
    ByteBuffer buffer = ByteBuffer.allocate(most * BLOCK_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (long block = 0; block < blocks; block++) {
      float largest = 0;
      for (int i = 0; i < BLOCK; i++) {
        largest = Math.max(largest, Math.abs(at(values, block * BLOCK + i)));
      }
      float scale = largest / 127;
      float inverse = scale == 0 ? 0 : 1 / scale;
      buffer.putShort(Float.floatToFloat16(scale));
      for (int i = 0; i < BLOCK; i++) {
        float x = at(values, block * BLOCK + i) * inverse;
        buffer.put((byte) (x < 0 ? Math.ceil(x - 0.5) : Math.floor(x + 0.5)));
      }
      if (!buffer.hasRemaining() || block == blocks - 1) {
        sink.write(MemorySegment.ofArray(buffer.array()).asSlice(0, buffer.position()));
        buffer.clear();
      }
    }
  }

  private static float at(MemorySegment values, long index) {
    return values.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, index);
  }

  private static GgufFamily family(SourceModel trunk) {
    return GgufFamily.of(trunk.architecture().model())
        .orElseThrow(
            () ->
                new CheckpointException(
                    "%s: llama.cpp has no model of this shape (model_type %s); docs/quantize.md says which it has"
                        .formatted(
                            trunk.folder(), trunk.configFile().path("model_type").asText())));
  }

  // Metadata

  private static byte[] layout(SourceModel model, Quantization quantization) {
    ExitLayout exits = model.architecture().exits();
    GgufWriter out = new GgufWriter();
    out.general(GgufExits.ARCHITECTURE, model, quantization);
    out.array(GgufExits.LAYERS, 5, exits.layers().size());
    exits.layers().forEach(out::int32);
    out.flag(GgufExits.NORM, exits.norm());
    out.flag(GgufExits.MLP, exits.mlp());
    out.flag(GgufExits.BLOCK, exits.block());
    out.flag(GgufExits.TIE_OUTPUT, exits.tieOutput());
    return out.finish();
  }

  private void general(String architecture, SourceModel model, Quantization quantization) {
    text("general.architecture", architecture);
    text("general.name", String.valueOf(model.folder().getFileName()));
    number("general.alignment", ALIGNMENT);
    number("general.file_type", quantization.fileType);
    if (quantization == Quantization.Q8_0) {
      number("general.quantization_version", 2);
    }
  }

  private static byte[] metadata(
      SourceModel trunk, GgufFamily of, GgufTokenizer tokenizer, Quantization quantization) {
    ModelConfig model = trunk.architecture().model();
    GgufWriter out = new GgufWriter();
    String family = of.text();
    out.general(family, trunk, quantization);
    out.number(family + ".vocab_size", model.vocabSize());
    out.number(family + ".context_length", trunk.publishedPositions());
    out.number(family + ".embedding_length", model.hiddenSize());
    out.number(family + ".block_count", model.numLayers());
    out.number(family + ".feed_forward_length", model.ffnHiddenSize());
    if (of.routed()) {
      out.number(family + ".expert_count", model.experts().count());
      out.number(family + ".expert_used_count", model.experts().perToken());
    }
    if (of == GgufFamily.QWEN3MOE) {
      out.number(family + ".expert_feed_forward_length", model.experts().hiddenSize());
    }
    out.number(family + ".attention.head_count", model.numHeads());
    out.number(family + ".attention.head_count_kv", model.numKeyValueHeads());
    out.real(
        family
            + (model.normalization() == Normalization.LAYERNORM
                ? ".attention.layer_norm_epsilon"
                : ".attention.layer_norm_rms_epsilon"),
        model.normEpsilon());
    if (model.positionEmbedding() == PositionEmbedding.ROPE) {
      out.number(family + ".attention.key_length", model.headDim());
      out.number(family + ".attention.value_length", model.headDim());
      out.number(family + ".rope.dimension_count", model.positions().rotaryDim());
      out.real(family + ".rope.freq_base", model.ropeTheta());
      out.scaling(family + ".rope.scaling.", model.ropeScaling());
    }
    if (model.slidingWindow() > 0) {
      out.number(family + ".attention.sliding_window", model.slidingWindow());
    }
    if (of == GgufFamily.GEMMA2) {
      out.real(family + ".attn_logit_softcapping", model.attentionSoftcap());
      out.real(family + ".final_logit_softcapping", model.logitSoftcap());
    }
    if (of == GgufFamily.GRANITE) {
      out.real(family + ".attention.scale", model.attention(0).scale());
      out.real(family + ".embedding_scale", model.embeddingScale());
      out.real(family + ".residual_scale", model.residualScale());
      out.real(family + ".logit_scale", 1 / model.logitScale());
    }
    if (of == GgufFamily.GPTNEOX) {
      out.flag(family + ".use_parallel_residual", model.residual() == Residual.PARALLEL);
    }
    out.tokenizer(trunk.config(), tokenizer);
    return out.finish();
  }

  /** llama.cpp computes YaRN's factor for scores itself, and takes LongRoPE's from the file. */
  private void scaling(String prefix, RopeScaling scaling) {
    switch (scaling) {
      case RopeScaling.None _, RopeScaling.Llama3 _ -> {}
      case RopeScaling.Linear(double factor) -> {
        text(prefix + "type", "linear");
        real(prefix + "factor", factor);
      }
      case RopeScaling.Yarn yarn -> {
        text(prefix + "type", "yarn");
        real(prefix + "factor", yarn.factor());
        number(prefix + "original_context_length", yarn.originalMaxPositions());
      }
      case RopeScaling.LongRope scaled -> {
        text(prefix + "type", "longrope");
        number(prefix + "original_context_length", scaled.originalMaxPositions());
        real(prefix + "attn_factor", scaled.attentionFactor());
      }
    }
  }

  private void tokenizer(HuggingFaceConfig config, GgufTokenizer tokenizer) {
    text("tokenizer.ggml.model", tokenizer.model());
    tokenizer.pre().ifPresent(pre -> text("tokenizer.ggml.pre", pre));
    texts("tokenizer.ggml.tokens", tokenizer.tokens());
    array("tokenizer.ggml.token_type", 5, tokenizer.types().size());
    tokenizer.types().forEach(this::int32);
    if (!tokenizer.scores().isEmpty()) {
      array("tokenizer.ggml.scores", 6, tokenizer.scores().size());
      tokenizer.scores().forEach(score -> int32(Float.floatToIntBits(score)));
    }
    if (!tokenizer.merges().isEmpty()) {
      texts("tokenizer.ggml.merges", tokenizer.merges());
    }
    config.bosTokenId().ifPresent(id -> number("tokenizer.ggml.bos_token_id", id));
    if (!config.eosTokenIds().isEmpty()) {
      number("tokenizer.ggml.eos_token_id", config.eosTokenIds().getFirst());
    }
    tokenizer.unknown().ifPresent(id -> number("tokenizer.ggml.unknown_token_id", id));
    flag("tokenizer.ggml.add_bos_token", tokenizer.addsBeginning());
    flag("tokenizer.ggml.add_space_prefix", tokenizer.addsBlank());
    tokenizer.template().ifPresent(template -> text("tokenizer.chat_template", template));
  }

  private void key(String name, int type) {
    keys++;
    string(name);
    int32(type);
  }

  private void number(String name, int value) {
    key(name, 4);
    int32(value);
  }

  private void real(String name, double value) {
    key(name, 6);
    int32(Float.floatToIntBits((float) value));
  }

  private void flag(String name, boolean value) {
    key(name, 7);
    header.write(value ? 1 : 0);
  }

  private void text(String name, String value) {
    key(name, 8);
    string(value);
  }

  private void array(String name, int type, long count) {
    key(name, 9);
    int32(type);
    int64(count);
  }

  private void texts(String name, List<String> values) {
    array(name, 8, values.size());
    values.forEach(this::string);
  }

  private void string(String value) {
    byte[] bytes = value.getBytes(StandardCharsets.UTF_8);
    int64(bytes.length);
    header.writeBytes(bytes);
  }

  private void int32(int value) {
    header.writeBytes(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array());
  }

  private void int64(long value) {
    header.writeBytes(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array());
  }

  /** The keys behind their number. */
  private byte[] finish() {
    return ByteBuffer.allocate(8 + header.size())
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(keys)
        .put(header.toByteArray())
        .array();
  }

  private static ConversionFile layOut(Path path, byte[] metadata, List<Item> items) {
    GgufWriter out = new GgufWriter();
    out.header.writeBytes("GGUF".getBytes(StandardCharsets.US_ASCII));
    out.int32(VERSION);
    out.int64(items.size());
    out.header.writeBytes(metadata);
    long offset = 0;
    List<Long> offsets = new ArrayList<>();
    for (Item item : items) {
      out.string(item.tensor.name());
      out.int32(item.tensor.shape().size());
      item.tensor.shape().reversed().forEach(out::int64); // innermost first
      out.int32(item.type);
      out.int64(offset);
      offsets.add(offset);
      offset = aligned(offset + item.size);
    }
    byte[] start = new byte[Math.toIntExact(aligned(out.header.size()))];
    byte[] written = out.header.toByteArray();
    System.arraycopy(written, 0, start, 0, written.length);
    List<Place> places = new ArrayList<>();
    for (int i = 0; i < items.size(); i++) {
      Item item = items.get(i);
      places.add(
          new Place(
              item.tensor.name(),
              start.length + offsets.get(i),
              item.size,
              item.tensor,
              item.content));
    }
    return new ConversionFile(path, start, places);
  }

  private static long aligned(long offset) {
    return (offset + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }
}
