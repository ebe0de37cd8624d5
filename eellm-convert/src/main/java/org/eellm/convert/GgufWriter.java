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
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.RopeDivisors;
import org.eellm.checkpoint.huggingface.RotatedRows;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.huggingface.family.Families;
import org.eellm.checkpoint.huggingface.family.Family;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.RopeScaling;
import org.eellm.convert.ConversionFile.Place;
import org.eellm.convert.ModelWriter.Listener;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.convert.ModelWriter.Outcome;
import org.eellm.file.IoErrors;
import org.eellm.model.parameter.ParameterName;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/**
 * Writes the trunk of a model as a GGUF file (version 3), which llama.cpp runs. llama.cpp knows no
 * exits.
 */
public final class GgufWriter {
  /** llama.cpp's names of a layer's modules. */
  private static final Map<String, String> MODULES =
      Map.ofEntries(
          Map.entry("input_layernorm", "attn_norm"),
          Map.entry("post_attention_layernorm", "ffn_norm"),
          Map.entry("self_attn.q_proj", "attn_q"),
          Map.entry("self_attn.k_proj", "attn_k"),
          Map.entry("self_attn.v_proj", "attn_v"),
          Map.entry("self_attn.o_proj", "attn_output"),
          Map.entry("self_attn.q_norm", "attn_q_norm"),
          Map.entry("self_attn.k_norm", "attn_k_norm"),
          Map.entry("mlp.gate_proj", "ffn_gate"),
          Map.entry("mlp.up_proj", "ffn_up"),
          Map.entry("mlp.down_proj", "ffn_down"));

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
    String family = family(trunk);
    GgufTokenizer tokenizer =
        GgufTokenizer.read(
            options.tokenizer().orElse(model.folder()), trunk.architecture().model().vocabSize());
    List<Item> items = new ArrayList<>();
    for (ModelTensor tensor : tensors(trunk, family)) {
      items.add(item(tensor, quantization));
    }
    byte[] metadata = metadata(trunk, family, tokenizer, quantization);
    Path temporary = ModelWriter.temporary(output);
    ConversionFile file = layOut(temporary, metadata, items);
    long total = file.places().stream().mapToLong(Place::size).sum();
    long[] done = {0};
    try {
      Files.createDirectories(temporary.getParent());
      List<TensorRecord> records =
          file.write(
              bytes -> {
                done[0] += bytes;
                listener.done(done[0], total);
              });
      ModelWriter.publish(temporary, output);
      int copies = (int) items.stream().filter(Item::isCopy).count();
      return new Outcome(output, records, copies, total);
    } catch (IOException failure) {
      throw new CheckpointException(
          "%s: cannot be written: %s".formatted(output, IoErrors.reason(failure)), failure);
    }
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
    boolean vector = tensor.shape().size() == 1;
    if (quantization == Quantization.Q8_0 && !vector && width % BLOCK == 0) {
      ModelTensor wide = tensor.as(SafetensorsType.F32);
      return new Item(
          wide,
          Quantization.Q8_0.tensorType,
          tensor.numel() / BLOCK * BLOCK_BYTES,
          sink -> wide.use(value -> quantize(Tensors.bytes(value), sink)));
    }
    // Rows that do not divide into blocks stay exact.
    boolean half = quantization == Quantization.BF16 && !vector;
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

  private static String family(SourceModel trunk) {
    ModelConfig model = trunk.architecture().model();
    String name = Families.publishedOf(model).map(Family::modelType).orElse("eellm");
    boolean plain =
        model.slidingWindow() == 0
            && !model.attentionBias()
            && !(model.ropeScaling() instanceof RopeScaling.Yarn)
            && !(model.ropeScaling() instanceof RopeScaling.LongRope);
    return switch (plain ? name : "") {
      case "llama" -> {
        if (model.linearBias()) {
          throw new CheckpointException(
              trunk.folder() + ": biases on all linear maps are not exported to GGUF");
        }
        yield name;
      }
      case "qwen2", "qwen3" -> name;
      case "gpt2" -> {
        if (model.activation() == Activation.GELU) {
          throw unknown(trunk, name);
        }
        yield name;
      }
      case "gpt_neox" -> {
        if (!(model.ropeScaling() instanceof RopeScaling.None)) {
          throw unknown(trunk, name);
        }
        yield "gptneox";
      }
      default -> throw unknown(trunk, name);
    };
  }

  private static CheckpointException unknown(SourceModel trunk, String name) {
    return new CheckpointException(
        "%s: llama.cpp has no model of this shape (model_type %s); llama, mistral, qwen2, qwen3, gpt2 and gpt_neox are exported, with rope scaling linear or llama3 and without windows"
            .formatted(trunk.folder(), name));
  }

  // Metadata

  private static byte[] metadata(
      SourceModel trunk, String family, GgufTokenizer tokenizer, Quantization quantization) {
    ModelConfig model = trunk.architecture().model();
    GgufWriter out = new GgufWriter();
    out.text("general.architecture", family);
    out.text("general.name", String.valueOf(trunk.folder().getFileName()));
    out.number("general.alignment", ALIGNMENT);
    out.number("general.file_type", quantization.fileType);
    if (quantization == Quantization.Q8_0) {
      out.number("general.quantization_version", 2);
    }
    out.number(family + ".vocab_size", model.vocabSize());
    out.number(family + ".context_length", model.maxPositions());
    out.number(family + ".embedding_length", model.hiddenSize());
    out.number(family + ".block_count", model.numLayers());
    out.number(family + ".feed_forward_length", model.ffnHiddenSize());
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
      if (model.ropeScaling() instanceof RopeScaling.Linear(double factor)) {
        out.text(family + ".rope.scaling.type", "linear");
        out.real(family + ".rope.scaling.factor", factor);
      }
    }
    if (family.equals("gptneox")) {
      out.flag(family + ".use_parallel_residual", model.residual() == Residual.PARALLEL);
    }
    out.tokenizer(trunk.config(), tokenizer);
    return out.finish();
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

  // Tensors under llama.cpp's names

  private static List<ModelTensor> tensors(SourceModel trunk, String family) {
    ModelConfig model = trunk.architecture().model();
    boolean fused = family.startsWith("gpt");
    List<ModelTensor> tensors = new ArrayList<>();
    for (ModelTensor tensor : trunk.tensors()) {
      if (!(fused && tensor.name().matches(".*\\.[qkv]_proj\\..*"))) {
        tensors.add(interleaved(tensor, family, model).named(name(tensor.name())));
      }
    }
    if (fused) {
      for (int layer = 0; layer < model.numLayers(); layer++) {
        for (String part : List.of("weight", "bias")) {
          String from = "model.layers." + layer + ".self_attn.";
          List<ModelTensor> parts =
              List.of(
                  trunk.tensor(from + "q_proj." + part),
                  trunk.tensor(from + "k_proj." + part),
                  trunk.tensor(from + "v_proj." + part));
          List<Long> shape = new ArrayList<>(parts.getFirst().shape());
          shape.set(0, 3 * shape.getFirst());
          tensors.add(
              ModelTensor.combined(
                  "blk." + layer + ".attn_qkv." + part,
                  shape,
                  parts,
                  all ->
                      Tensors.concatenate(
                          List.of(
                              rotatedFirst(all.get(0), model),
                              rotatedFirst(all.get(1), model),
                              all.get(2)))));
        }
      }
    }
    if (model.ropeScaling() instanceof RopeScaling.Llama3 scaling) {
      tensors.add(ropeFactors(model, scaling));
    }
    return tensors;
  }

  private static String name(String ours) {
    return switch (ParameterName.parse(ours)) {
      case ParameterName.OfLayer(int layer, String part) -> "blk." + layer + "." + inLayer(part);
      case ParameterName.Embedding table ->
          table.equals(ParameterName.TOKENS) ? "token_embd.weight" : "position_embd.weight";
      case ParameterName.OfFinalNorm(String part) -> "output_norm." + part;
      case ParameterName.OutputMatrix _ -> "output.weight";
      case ParameterName.OfExit exit -> exit.toString();
    };
  }

  private static String inLayer(String part) {
    int dot = part.lastIndexOf('.');
    String module = part.substring(0, dot);
    return MODULES.getOrDefault(module, module) + part.substring(dot);
  }

  /** llama.cpp's Llama rotates neighbours, so the rows of a head's halves are shuffled together. */
  private static ModelTensor interleaved(ModelTensor tensor, String family, ModelConfig model) {
    boolean permuted = tensor.name().matches(".*\\.self_attn\\.[qk]_proj\\.weight");
    if (!family.equals("llama") || !permuted) {
      return tensor;
    }
    long half = model.headDim() / 2;
    List<Long> shape = tensor.shape();
    return ModelTensor.combined(
        tensor.name(),
        shape,
        List.of(tensor),
        all ->
            all.getFirst()
                .view(-1, 2, half, shape.get(1))
                .transpose(1, 2)
                .reshape(shape.get(0), shape.get(1)));
  }

  /** llama.cpp's GPT-NeoX rotates the first dimensions of a head. */
  private static Tensor rotatedFirst(Tensor rows, ModelConfig model) {
    return model.positionEmbedding() == PositionEmbedding.ROPE
        ? RotatedRows.rotatedFirst(rows.view(model.numHeads(), model.headDim(), -1), model)
            .reshape(rows.sizes())
        : rows;
  }

  /** The divisors of the pairs' frequencies in Llama 3's scaling. */
  private static ModelTensor ropeFactors(ModelConfig model, RopeScaling.Llama3 scaling) {
    int pairs = model.headDim() / 2;
    float[] factors = RopeDivisors.of(scaling, model.ropeTheta(), pairs);
    return new ModelTensor(
        "rope_freqs.weight",
        SafetensorsType.F32,
        List.of((long) pairs),
        List.of(),
        _ -> Tensors.ofFloats(factors, Torch.cpu(), pairs));
  }
}
