package org.eellm.checkpoint;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.bytedeco.pytorch.Tensor;
import org.eellm.checkpoint.NamedTensors.StoredRange;
import org.eellm.checkpoint.huggingface.GgufMatrix;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.TensorFile;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.config.Learning;
import org.eellm.gguf.GgufRows;
import org.eellm.kernel.weight.DecodedRows;
import org.eellm.kernel.weight.StoredRows;
import org.eellm.kernel.weight.WeightRows;
import org.eellm.model.Decoder;
import org.eellm.model.StoredDecoder;
import org.eellm.model.TensorParallel;
import org.eellm.model.parameter.Parameter;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterSpec;
import org.eellm.model.parameter.Sharding;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/**
 * A model's weights between a folder's safetensors and memory. Names are Hugging Face's for Llama,
 * and {@code exits.{n}.*} for the exit after layer n.
 */
public final class ModelWeights {
  /** Older versions of other tools refuse a file that does not say so. */
  static final Map<String, String> METADATA = Map.of("format", "pt");

  private ModelWeights() {}

  /**
   * Fills a model's parameters from a folder, straight from the mapped files, converting float64,
   * float32, float16 and bfloat16 to the model's number format.
   *
   * @throws CheckpointException if a file is malformed, or a tensor is missing, surplus, of another
   *     shape or not of floating point, or if a matrix that the model ties to its embedding is
   *     there and differs from it
   */
  public static void load(Path folder, Decoder model) {
    try (WeightFiles weights = WeightFiles.open(folder)) {
      load(weights, Decoder.parameterNames(model.architecture()), model);
    }
  }

  /**
   * As {@link #load(Path, Decoder)}, but of what is in the flat buffers only some pieces.
   *
   * @param pieces of the model's flat buffer of weights
   * @return bytes of tensors that were read for these
   */
  public static long load(Path folder, Decoder model, List<FlatStateShard> pieces) {
    try (WeightFiles weights = WeightFiles.open(folder)) {
      return load(weights, Decoder.parameterNames(model.architecture()), model, pieces);
    }
  }

  /**
   * As {@link #load(Path, Decoder)}, from files that may have more.
   *
   * @param known the names of all parameters that the files may have
   */
  static void load(WeightFiles weights, Set<String> known, Decoder model) {
    Tensor flat = model.parameters().flat();
    load(weights, known, model, List.of(new FlatStateShard("weights", 0, flat)));
  }

  private static long load(
      WeightFiles weights, Set<String> known, Decoder model, List<FlatStateShard> pieces) {
    int rank = model.parallel().rank();
    int ranks = model.parallel().size();
    Path folder = weights.folder();
    Map<String, Parameter> parameters =
        model.parameters().all().stream()
            .collect(Collectors.toMap(Parameter::name, Function.identity()));
    requireSameModel(
        weights,
        known,
        parameters.keySet().stream()
            .filter(name -> !ParameterName.isLowRank(name)) // they lie apart
            .filter(name -> !name.startsWith(ParameterName.DRAFT_HEAD)) // likewise
            .collect(Collectors.toSet()));
    long read = 0;
    // In the files' order: a cold disk reads them from front to back.
    for (String name : weights.tensors().keySet()) {
      Parameter parameter = parameters.get(name);
      if (parameter != null && parameter.requiresGrad()) {
        StoredTensor stored = weights.tensor(name);
        requireShape(folder, name, stored, Arrays.stream(parameter.wholeShape()).boxed().toList());
        for (FlatStateShard piece : pieces) {
          if (piece.overlap(parameter).length() > 0) {
            read +=
                NamedTensors.copy(
                    StoredRange.whole(folder, name, stored), piece, parameter, model.parallel());
          }
        }
      } else if (parameter != null) {
        NamedTensors.copy(folder, name, weights.tensor(name), parameter, rank, ranks);
      }
    }
    return read;
  }

  /**
   * Refuses files of another model.
   *
   * @param known the names of all parameters that the files may have
   * @param wanted those that they have to have
   */
  private static void requireSameModel(WeightFiles weights, Set<String> known, Set<String> wanted) {
    Set<String> stored = weights.tensors().keySet();
    SourceModel.requireAll(weights.folder(), wanted, stored);
    SourceModel.requireNoMore(weights.folder(), known, stored);
  }

  /**
   * A model whose weights stay in the mapped files until they are packed.
   *
   * @param weights closed by the model
   * @param known the names of all parameters that the files may have
   * @param adapters by their names, closed by the model
   * @param draftHead whether it gets the draft head beside it
   * @throws CheckpointException as {@link #load}
   */
  static StoredDecoder stored(
      WeightFiles weights,
      Set<String> known,
      StoredDecoder.Part part,
      Map<String, AdapterFiles> adapters,
      boolean draftHead) {
    Map<String, ParameterSpec> specs =
        part.parameterGroups().stream()
            .flatMap(List::stream)
            .collect(Collectors.toMap(ParameterSpec::name, Function.identity()));
    requireSameModel(weights, known, specs.keySet());
    Map<String, WeightRows> rows = new HashMap<>();
    Arena arena = Arena.ofShared(); // for what is not in the files as it is meant
    List<Runnable> closers = new ArrayList<>();
    try {
      for (ParameterSpec spec : specs.values()) {
        StoredTensor stored = weights.tensor(spec.name());
        requireShape(weights.folder(), spec.name(), stored, spec.shape());
        WeightRows whole = rows(weights.folder(), spec.name(), stored, arena);
        rows.put(spec.name(), part(whole, spec, part));
      }
      if (draftHead) {
        closers.add(DraftHeadFiles.open(weights.folder(), part.architecture().model(), rows));
      }
    } catch (RuntimeException failure) {
      arena.close();
      throw failure;
    }
    return new StoredDecoder(
        part,
        rows,
        adapters.entrySet().stream().map(each -> each.getValue().named(each.getKey())).toList(),
        () -> {
          arena.close();
          adapters.values().forEach(AdapterFiles::close);
          closers.forEach(Runnable::run);
          weights.close();
        });
  }

  /**
   * The rows of a stored tensor.
   *
   * @param arena keeps what is not in the file as it is meant
   */
  static WeightRows rows(Path folder, String name, StoredTensor stored, Arena arena) {
    Optional<GgufRows> quantised = stored.quantised();
    if (quantised.isPresent()) {
      return DecodedRows.of(new GgufMatrix(quantised.get()));
    }
    StoredRows.Type type =
        switch (stored.type()) {
          case F64 -> StoredRows.Type.FLOAT64;
          case F32 -> StoredRows.Type.FLOAT32;
          case F16 -> StoredRows.Type.FLOAT16;
          case BF16 -> StoredRows.Type.BFLOAT16;
          default -> throw stored.noWeights(folder, name);
        };
    List<Long> shape = stored.shape();
    int rows = shape.size() > 1 ? Math.toIntExact(shape.getFirst()) : 1;
    return StoredRows.of(
        type, stored.bytes(arena).address(), rows, Math.toIntExact(shape.getLast()));
  }

  /** A rank's part of a parameter. */
  private static WeightRows part(WeightRows whole, ParameterSpec spec, StoredDecoder.Part of) {
    int rank = of.parallel().rank();
    int ranks = of.parallel().size();
    int rows = whole.rows() / ranks;
    int columns = whole.columns() / ranks;
    boolean vector = spec.shape().size() == 1;
    return switch (spec.split()) {
      case REPLICATED -> whole;
      case ROWS -> vector ? whole.columns(rank * columns, columns) : whole.rows(rank * rows, rows);
      case COLUMNS -> whole.columns(rank * columns, columns);
    };
  }

  /** Refuses a tensor of another shape. */
  static void requireShape(Path place, String name, StoredTensor stored, List<Long> shape) {
    if (!stored.shape().equals(shape)) {
      throw new CheckpointException(
          "%s: tensor %s has shape %s, the model %s; config.json and the weights must be of the same model"
              .formatted(place, name, stored.shape(), shape));
    }
  }

  /**
   * This rank's file of those of a model's weights that learn, whole tensors all of them. The ranks
   * that share tensors out share out the files, too: each puts together its part of the tensors.
   * All ranks of the tensor-parallel group call this.
   *
   * @param part of the {@code parts} files that the model's weights make
   * @param arena keeps what was put together until the file is written
   */
  public static TensorFile file(Decoder model, int part, int parts, Arena arena) {
    List<Parameter> parameters =
        model.parameters().trainable().stream()
            .filter(parameter -> model.isMainReplicaStage(parameter.name()))
            .sorted(Comparator.comparing(Parameter::name))
            .toList();
    int ranks = model.parallel().size();
    long[] dealt = new long[ranks];
    List<TensorSource> tensors = new ArrayList<>();
    for (Parameter parameter : parameters) {
      int owner = 0;
      for (int rank = 1; rank < ranks; rank++) {
        owner = dealt[rank] < dealt[owner] ? rank : owner;
      }
      dealt[owner] += parameter.numel();
      boolean mine = owner == model.parallel().rank();
      String stored =
          model.learning() instanceof Learning.Adapter
              ? AdapterFiles.nameInFile(parameter.name())
              : parameter.name();
      whole(model.parallel(), parameter, mine, arena)
          .map(source -> source.named(stored))
          .ifPresent(tensors::add);
    }
    String name =
        parts == 1
            ? WeightFiles.single(model.learning())
            : WeightFiles.shard(model.learning(), part + 1, parts);
    return new TensorFile(name, METADATA, tensors);
  }

  /** A parameter put together from the ranks' parts, on the one whose file it goes to. */
  private static Optional<TensorSource> whole(
      TensorParallel parallel, Parameter parameter, boolean mine, Arena arena) {
    SafetensorsType type = NamedTensors.type(parameter.value());
    if (parameter.split() == Sharding.REPLICATED || parallel.size() == 1) {
      return mine
          ? Optional.of(
              NamedTensors.source(parameter.name(), type, parameter.wholeShape(), parameter::value))
          : Optional.empty();
    }
    try (Scope _ = Scope.open()) {
      Tensor whole = parallel.whole(parameter);
      if (!mine) {
        return Optional.empty();
      }
      MemorySegment bytes = Tensors.bytes(whole.to(Torch.cpu(), Tensors.scalarType(whole)));
      MemorySegment kept = arena.allocate(bytes.byteSize(), Long.BYTES).copyFrom(bytes);
      List<Long> shape = Arrays.stream(parameter.wholeShape()).boxed().toList();
      return Optional.of(TensorSource.of(parameter.name(), type, shape, kept));
    }
  }

  /** The content of {@code model.safetensors.index.json}, in Hugging Face's fields. */
  private record Index(Map<String, Long> metadata, SequencedMap<String, String> weightMap) {}

  /**
   * Writes the index of the files that ranks wrote into a folder; of low-rank changes, makes one
   * file of them.
   *
   * @param learning which weights these are
   * @return names of the files that are gone, since their tensors are in another one now
   * @throws CheckpointException if a file is missing or malformed
   */
  public static List<String> writeIndex(Path folder, Learning learning, int parts)
      throws IOException {
    if (learning instanceof Learning.Adapter) {
      return AdapterFiles.join(folder, parts);
    }
    SequencedMap<String, String> files = new TreeMap<>();
    long size = 0;
    for (int part = 1; part <= parts; part++) {
      String name = WeightFiles.shard(learning, part, parts);
      try (SafetensorsFile file = SafetensorsFile.open(folder.resolve(name))) {
        for (var tensor : file.tensors().entrySet()) {
          files.put(tensor.getKey(), name);
          size += tensor.getValue().bytes().byteSize();
        }
      }
    }
    JsonFiles.write(
        folder.resolve(WeightFiles.index(learning)), new Index(Map.of("total_size", size), files));
    return List.of();
  }
}
