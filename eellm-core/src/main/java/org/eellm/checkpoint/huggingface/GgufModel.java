package org.eellm.checkpoint.huggingface;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.IntUnaryOperator;
import org.eellm.checkpoint.huggingface.ModelTensor.Origin;
import org.eellm.checkpoint.huggingface.family.Family;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.StoredWeights;
import org.eellm.config.ConfigException;
import org.eellm.config.MatrixQuantization;
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

  private static void requireNoHeads(Path path, Set<String> names) {
    for (String name : names) {
      if (name.startsWith(HeadFiles.PREFIX)) {
        throw new CheckpointException(
            "%s: tensor %s: exits are read from the file beside it, which export writes"
                .formatted(path, name));
      }
    }
  }

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
      SequencedMap<String, StoredTensor> stored = new LinkedHashMap<>();
      file.tensors().forEach((name, tensor) -> stored.put(name, stored(path, name, tensor)));
      requireNoHeads(path, stored.keySet());
      SequencedMap<String, Origin> origins =
          new StoredLayout(new GgufPlaces(config.family()), read.architecture())
              .parameters(path, stored);
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
  static StoredTensor stored(Path path, String name, GgufTensor tensor) {
    SafetensorsType type = type(tensor.type());
    List<Long> shape = tensor.shape();
    if (!tensor.type().quantised()) {
      return new StoredTensor(type, shape, tensor.bytes());
    }
    if (shape.size() == 1) {
      throw new CheckpointException(
          "%s: tensor %s is a vector in %s, which is not read; F32, F16 and BF16 are"
              .formatted(path, name, tensor.type()));
    }
    int columns = Math.toIntExact(shape.getLast());
    int rows = Math.toIntExact(tensor.bytes().byteSize() / tensor.type().rowBytes(columns));
    GgufRows all =
        new GgufRows(tensor.type(), rows, columns, tensor.bytes(), IntUnaryOperator.identity());
    return new StoredTensor(type, shape, new StoredTensor.Rows(all));
  }

  private static SafetensorsType type(GgufType type) {
    return switch (type) {
      case F16 -> SafetensorsType.F16;
      case BF16 -> SafetensorsType.BF16;
      default -> SafetensorsType.F32;
    };
  }
}
