package org.eellm.checkpoint.huggingface;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.IntUnaryOperator;
import java.util.regex.Pattern;
import org.eellm.checkpoint.huggingface.ModelTensor.Origin;
import org.eellm.checkpoint.huggingface.family.Family;
import org.eellm.checkpoint.huggingface.family.Place;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.StoredWeights;
import org.eellm.config.ConfigException;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.ModelConfig;
import org.eellm.config.Quantization;
import org.eellm.gguf.GgufException;
import org.eellm.gguf.GgufFile;
import org.eellm.gguf.GgufMetadata;
import org.eellm.gguf.GgufRows;
import org.eellm.gguf.GgufTensor;
import org.eellm.gguf.GgufType;
import org.eellm.gguf.GgufVocabulary;
import org.eellm.model.parameter.ParameterName;

/**
 * A GGUF file as a model, with the exits that lie beside it ({@link GgufExits}): its tensors under
 * our names, their rows in our order.
 *
 * @param beside the exits' file, if they have one
 * @param origins the stored tensors by our names, each under the file's name for it
 */
public record GgufModel(
    GgufFile file,
    List<GgufFile> beside,
    HuggingFaceConfig config,
    SequencedMap<String, Origin> origins)
    implements StoredWeights {

  /** Of some old files' tables, which follow from the configuration. */
  private static final Pattern DERIVED = Pattern.compile("blk\\.\\d+\\.attn_rot_embd");

  /**
   * Opens a file; nothing is read of the numbers yet.
   *
   * @throws CheckpointException if it is damaged or cannot be honoured
   */
  public static GgufModel open(Path path) {
    GgufFile file = file(path);
    List<GgufFile> beside = new ArrayList<>();
    try {
      GgufConfig config = new GgufConfig(file);
      HuggingFaceConfig read = config.config();
      SequencedMap<String, Origin> origins =
          new Tensors(file, config.family(), read.architecture().model()).all();
      Optional<GgufExits> exits = GgufExits.of(path);
      if (exits.isPresent()) {
        beside.add(exits.get().file());
        origins.putAll(exits.get().origins());
        read = read.withExits(exits.get().layout());
      }
      return new GgufModel(file, List.copyOf(beside), read, origins);
    } catch (GgufException | ConfigException failure) {
      close(file, beside);
      throw new CheckpointException(path + ": " + failure.getMessage(), failure);
    } catch (RuntimeException failure) {
      close(file, beside);
      throw failure;
    }
  }

  private static void close(GgufFile file, List<GgufFile> beside) {
    file.close();
    beside.forEach(GgufFile::close);
  }

  static GgufFile file(Path path) {
    try {
      return GgufFile.open(path);
    } catch (GgufException failure) {
      throw new CheckpointException(String.valueOf(failure.getMessage()), failure);
    }
  }

  /**
   * The tokenizer in a file.
   *
   * @throws CheckpointException if there is none or it cannot be honoured
   */
  public static GgufVocabulary vocabulary(Path path) {
    try {
      return GgufVocabulary.read(path);
    } catch (GgufException failure) {
      throw new CheckpointException(String.valueOf(failure.getMessage()), failure);
    }
  }

  /** The file as a model to convert. */
  public static SourceModel source(Path path) {
    GgufModel model = open(path);
    try {
      List<ModelTensor> tensors = new ArrayList<>();
      model.origins.forEach((name, origin) -> tensors.add(ModelTensor.copy(name, origin)));
      GgufMetadata metadata = model.file.metadata();
      String architecture = metadata.text("general.architecture");
      ObjectNode file = model.config.config(); // of LongRoPE, config has the shorter context alone
      file.put(Family.MADE_POSITIONS, metadata.positive(architecture + ".context_length"));
      return new SourceModel(
          "GGUF file, architecture " + architecture,
          path,
          model.config,
          file,
          false,
          tensors,
          List.of(model),
          Optional.empty());
    } catch (RuntimeException failure) {
      model.close();
      throw failure;
    }
  }

  /**
   * How its matrices can be multiplied with as they are. The layers' have one format: 4 bits where
   * all of them are Q4_0, their own numbers; else 8 bits where any is quantised, which has the
   * numbers of Q8_0 and Q4_0, and to which others are rounded.
   */
  public MatrixQuantization quantization() {
    Set<Quantization> layers = EnumSet.noneOf(Quantization.class);
    origins.forEach(
        (name, origin) -> {
          if (name.startsWith("model.layers.")
              && origin.stored().shape().size() > 1
              && !ParameterName.isRouter(name)) {
            layers.add(quantization(origin.stored()));
          }
        });
    boolean alike = layers.size() == 1;
    Quantization all = alike ? layers.iterator().next() : Quantization.INT8;
    boolean tied = config.architecture().model().tieEmbeddings();
    Origin output = origins.get(tied ? "model.embed_tokens.weight" : "lm_head.weight");
    return new MatrixQuantization(all, quantization(Objects.requireNonNull(output).stored()));
  }

  private static Quantization quantization(StoredTensor matrix) {
    return matrix
        .quantised()
        .map(rows -> rows.type() == GgufType.Q4_0 ? Quantization.INT4 : Quantization.INT8)
        .orElse(Quantization.NONE);
  }

  @Override
  public Path folder() {
    return file.path();
  }

  @Override
  public SequencedMap<String, StoredTensor> tensors() {
    SequencedMap<String, StoredTensor> tensors = new LinkedHashMap<>();
    origins.forEach((name, origin) -> tensors.put(name, origin.stored()));
    return tensors;
  }

  @Override
  public void close() {
    close(file, beside);
  }

  /** A tensor as the file has it. */
  static Origin origin(Path path, String name, GgufTensor tensor) {
    return tensor.type().quantised()
        ? rows(path, name, tensor, 0, tensor.shape(), IntUnaryOperator.identity())
        : new Origin(
            name,
            new StoredTensor(type(tensor.type()), tensor.shape(), tensor.bytes()),
            tensor.bytes());
  }

  /** Rows of a stored tensor; those of a vector are its elements. */
  private static Origin rows(
      Path path,
      String name,
      GgufTensor tensor,
      long firstRow,
      List<Long> shape,
      IntUnaryOperator order) {
    if (tensor.type().quantised() && shape.size() == 1) {
      throw new CheckpointException(
          "%s: tensor %s is a vector in %s, which is not read; F32, F16 and BF16 are"
              .formatted(path, name, tensor.type()));
    }
    int columns = shape.size() == 1 ? 1 : Math.toIntExact(shape.getLast());
    int count = Math.toIntExact(shape.getFirst());
    long rowBytes = tensor.type().rowBytes(columns);
    GgufRows view =
        new GgufRows(
            tensor.type(),
            count,
            columns,
            tensor.bytes().asSlice(firstRow * rowBytes, count * rowBytes),
            order);
    return new Origin(
        name,
        new StoredTensor(type(tensor.type()), shape, new StoredTensor.Rows(view)),
        tensor.bytes());
  }

  private static SafetensorsType type(GgufType type) {
    return switch (type) {
      case F16 -> SafetensorsType.F16;
      case BF16 -> SafetensorsType.BF16;
      default -> SafetensorsType.F32;
    };
  }

  /** Takes the file's tensors one by one. */
  private static final class Tensors {
    private final GgufFile file;
    private final GgufFamily family;
    private final ModelConfig model;
    private final OriginTable stored;
    private final SequencedMap<String, Origin> taken = new LinkedHashMap<>();

    Tensors(GgufFile file, GgufFamily family, ModelConfig model) {
      this.file = file;
      this.family = family;
      this.model = model;
      Map<String, StoredTensor> raw = new HashMap<>();
      file.tensors()
          .forEach(
              (name, tensor) ->
                  raw.put(
                      name, new StoredTensor(type(tensor.type()), tensor.shape(), tensor.bytes())));
      raw.keySet().removeAll(GgufConfig.FACTORS_OF_ROPE); // read with the configuration
      this.stored = new OriginTable(file.path(), raw, DERIVED);
    }

    SequencedMap<String, Origin> all() {
      long h = model.hiddenSize();
      whole("token_embd.weight", "model.embed_tokens.weight", model.vocabSize(), h);
      if (family == GgufFamily.GPT2) {
        whole("position_embd.weight", "model.embed_positions.weight", model.maxPositions(), h);
      }
      for (int layer = 0; layer < model.numLayers(); layer++) {
        layer("blk." + layer + ".", "model.layers." + layer + ".");
      }
      norm("output_norm", "model.norm", h);
      if (model.tieEmbeddings()) {
        stored.dropIfEqual("output.weight", "token_embd.weight");
      } else {
        whole("output.weight", "lm_head.weight", model.vocabSize(), h);
      }
      stored.requireAllTaken();
      return taken;
    }

    private void layer(String from, String to) {
      long h = model.hiddenSize();
      long ffn = model.ffnHiddenSize();
      long queries = (long) model.numHeads() * model.headDim();
      if (model.normPlacement().before()) {
        norm(from + "attn_norm", to + "input_layernorm", h);
        norm(from + "ffn_norm", to + "post_attention_layernorm", h);
      }
      if (model.normPlacement().after()) {
        norm(from + "post_attention_norm", to + "attention_output_norm", h);
        norm(from + "post_ffw_norm", to + "mlp_output_norm", h);
      }
      long keys = (long) model.numKeyValueHeads() * model.headDim();
      if (family.fused()) {
        fused(from + "attn_qkv.", to + "self_attn.", queries, keys);
      } else {
        projection(from + "attn_q.", to + "self_attn.q_proj.", queries);
        projection(from + "attn_k.", to + "self_attn.k_proj.", keys);
        projection(from + "attn_v.", to + "self_attn.v_proj.", keys);
      }
      if (model.qkNorm() || model.qkNormWhole()) {
        boolean whole = model.qkNormWhole();
        long one = model.headDim();
        whole(from + "attn_q_norm.weight", to + "self_attn.q_norm.weight", whole ? queries : one);
        whole(from + "attn_k_norm.weight", to + "self_attn.k_norm.weight", whole ? keys : one);
      }
      linear(from + "attn_output", to + "self_attn.o_proj", h, queries);
      if (family.routed()) {
        experts(from, to + "mlp");
        return;
      }
      if (family == GgufFamily.PHI3) {
        String both = from + "ffn_up.weight";
        take(both, 2 * ffn, h);
        IntUnaryOperator same = IntUnaryOperator.identity();
        put(both, to + "mlp.gate_proj.weight", 0, List.of(ffn, h), same);
        put(both, to + "mlp.up_proj.weight", ffn, List.of(ffn, h), same);
      } else {
        linear(from + "ffn_up", to + "mlp.up_proj", ffn, h);
      }
      if (model.activation().gated() && family != GgufFamily.PHI3) {
        linear(from + "ffn_gate", to + "mlp.gate_proj", ffn, h);
      }
      linear(from + "ffn_down", to + "mlp.down_proj", h, ffn);
    }

    /** Of each map, all experts' matrices are below one another. */
    private void experts(String from, String to) {
      int count = model.experts().count();
      long h = model.hiddenSize();
      long inner = model.experts().hiddenSize();
      whole(from + "ffn_gate_inp.weight", ParameterName.router(to), count, h);
      for (String part : List.of("gate", "up", "down")) {
        String all = from + "ffn_" + part + "_exps.weight";
        List<Long> shape = part.equals("down") ? List.of(h, inner) : List.of(inner, h);
        take(all, count, shape.getFirst(), shape.getLast());
        for (int i = 0; i < count; i++) {
          put(
              all,
              ParameterName.expert(to, i) + "." + part + "_proj.weight",
              i * shape.getFirst(),
              shape,
              IntUnaryOperator.identity());
        }
      }
    }

    private void norm(String from, String to, long width) {
      whole(from + ".weight", to + ".weight", width);
      if (family.gpt()) {
        whole(from + ".bias", to + ".bias", width);
      }
    }

    private void linear(String from, String to, long rows, long columns) {
      whole(from + ".weight", to + ".weight", rows, columns);
      if (family.gpt()) {
        whole(from + ".bias", to + ".bias", rows);
      }
    }

    /** Queries, keys or values; llama.cpp's Llama rotates neighbours among a head's rows. */
    private void projection(String from, String to, long rows) {
      long h = model.hiddenSize();
      boolean permuted = family.interleaved() && !to.endsWith("v_proj.");
      if (permuted) {
        take(from + "weight", rows, h);
        put(from + "weight", to + "weight", 0, List.of(rows, h), neighbours());
      } else {
        whole(from + "weight", to + "weight", rows, h);
      }
      if (family == GgufFamily.QWEN2) {
        whole(from + "bias", to + "bias", rows);
      }
    }

    /** Row j of a head's first half is the file's row 2 j, of its second half 2 j + 1. */
    private IntUnaryOperator neighbours() {
      int width = model.headDim();
      int half = width / 2;
      return row -> row / width * width + row % half * 2 + row % width / half;
    }

    /** Queries, keys and values below one another, perhaps with a head's rotated rows first. */
    private void fused(String from, String to, long queries, long keys) {
      long h = model.hiddenSize();
      take(from + "weight", queries + 2 * keys, h);
      if (family.gpt()) {
        take(from + "bias", queries + 2 * keys);
      }
      long first = 0;
      for (String part : List.of("q_proj.", "k_proj.", "v_proj.")) {
        boolean rotated = family != GgufFamily.GPT2 && !part.equals("v_proj.");
        IntUnaryOperator order = rotated ? Place.rotatedFirst(model) : IntUnaryOperator.identity();
        long rows = part.equals("q_proj.") ? queries : keys;
        put(from + "weight", to + part + "weight", first, List.of(rows, h), order);
        if (family.gpt()) {
          put(from + "bias", to + part + "bias", first, List.of(rows), order);
        }
        first += rows;
      }
    }

    private void take(String from, long... shape) {
      stored.take(from, shape);
    }

    private void whole(String from, String to, long... shape) {
      take(from, shape);
      taken.put(to, origin(file.path(), from, tensor(from)));
    }

    private void put(
        String from, String to, long firstRow, List<Long> shape, IntUnaryOperator order) {
      taken.put(to, rows(file.path(), from, tensor(from), firstRow, shape, order));
    }

    private GgufTensor tensor(String name) {
      GgufTensor tensor = file.tensors().get(name);
      if (tensor == null) {
        throw new IllegalStateException(name);
      }
      return tensor;
    }
  }
}
