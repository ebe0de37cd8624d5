package org.eellm.checkpoint;

import static org.eellm.kernel.vector.NativeNumbers.MEMORY;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.eellm.checkpoint.huggingface.family.Families;
import org.eellm.checkpoint.huggingface.family.Family;
import org.eellm.checkpoint.huggingface.family.Family.TensorNames;
import org.eellm.checkpoint.huggingface.family.Place;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.checkpoint.safetensors.ModelFiles;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.TuneConfig.Lora;
import org.eellm.config.TuneConfig.Projection;
import org.eellm.kernel.weight.StoredRows;
import org.eellm.kernel.weight.WeightRows;
import org.eellm.model.Adapter;
import org.eellm.model.Adapter.Change;
import org.eellm.model.Decoder;
import org.eellm.model.parameter.Parameter;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterSpec;
import org.jspecify.annotations.Nullable;

/**
 * Low-rank changes of a model's matrices that lie apart from it, in PEFT's layout: {@code
 * adapter_config.json} says how they are scaled, and {@code adapter_model.safetensors} has their
 * factors, {@code base_model.model.NAME.lora_A.weight} [rank, in] and {@code lora_B} [out, rank].
 * {@code adapter_trunk.json}, which PEFT does not ask for, has the checksum of the trunk that they
 * were made for.
 */
public final class AdapterFiles implements AutoCloseable {
  static final String CONFIG = "adapter_config.json";
  private static final String TRUNK = "adapter_trunk.json";
  private static final String PREFIX = "base_model.model.";
  private static final Pattern FACTOR =
      Pattern.compile(Pattern.quote(PREFIX) + "(?<module>.+)\\.lora_(?<factor>[AB])\\.weight");

  /** Fields that are read, or that say only how factors were made or which matrices have some. */
  private static final Set<String> KNOWN =
      Set.of(
          """
          auto_mapping base_model_name_or_path corda_config ensure_weight_tying eva_config
          exclude_modules fan_in_fan_out inference_mode layers_pattern layers_to_transform loftq_config lora_alpha
          lora_dropout megatron_core peft_version qalora_group_size r rank_pattern revision
          runtime_config target_modules task_type use_rslora\
          """
              .split("\\s+"));

  /** Ways to begin that leave the matrices as they are; others change them, too. */
  private static final Set<String> KEEPING = Set.of("gaussian", "orthogonal", "eva");

  /** Numbers of an array. */
  private static final long MOST = Integer.MAX_VALUE - 8;

  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final SafetensorsFile file;
  private final Arena arena; // of numbers that are not in the file as they are meant
  private final Map<String, Change> changes;

  /** The content of {@code adapter_trunk.json}. */
  private record Trunk(String trunk) {}

  /** The fields of {@code adapter_config.json} that PEFT needs. */
  private record Config(
      String peftType,
      String taskType,
      String baseModelNameOrPath,
      int r,
      double loraAlpha,
      double loraDropout,
      List<String> targetModules,
      String bias,
      boolean fanInFanOut,
      boolean inferenceMode) {}

  private AdapterFiles(SafetensorsFile file, Arena arena, Map<String, Change> changes) {
    this.file = file;
    this.arena = arena;
    this.changes = changes;
  }

  /** Whether a folder has such files. */
  static boolean isIn(Path folder) {
    return Files.exists(folder.resolve(CONFIG));
  }

  /** The file with the factors. */
  private static String weights() {
    return WeightFiles.single(new Learning.Adapter(Lora.none()));
  }

  /** The name of a factor in files by that of the parameter. */
  static String nameInFile(String parameter) {
    return PREFIX + parameter;
  }

  /**
   * Maps an adapter's files, as changes of a model's parameters.
   *
   * @param model its folder
   * @throws CheckpointException if they are malformed, have more than low-rank changes, or change
   *     what the model does not have
   */
  public static AdapterFiles open(Path folder, Path model, Architecture architecture) {
    AdapterFiles files = open(folder);
    try {
      return files.underUsualNames(architecture.model()).of(model, architecture);
    } catch (RuntimeException failure) {
      files.close();
      throw failure;
    }
  }

  /** As the other, under the names that they have for what they change. */
  static AdapterFiles open(Path folder) {
    Path path = ModelFiles.file(folder, CONFIG);
    JsonFields fields = new JsonFields(path.toString(), JsonFiles.read(path));
    requireLora(fields);
    int rank = fields.positive("r");
    boolean ofOneRank = fields.find("rank_pattern").map(JsonNode::isEmpty).orElse(true);
    double alpha = fields.number("lora_alpha");
    boolean byRoot = fields.optionalBool("use_rslora").orElse(false);
    SafetensorsFile file = SafetensorsFile.open(ModelFiles.file(folder, weights()));
    Arena arena = Arena.ofShared();
    try {
      Map<String, Change> changes = new LinkedHashMap<>();
      for (String name : file.tensors().keySet()) {
        Matcher matcher = FACTOR.matcher(name);
        if (!matcher.matches()) {
          throw new CheckpointException(
              "%s: tensor %s is no factor of a low-rank change; merge the adapter with the tool that made it"
                  .formatted(file.path(), name));
        }
        if (matcher.group("factor").equals("A")) {
          WeightRows in = matrix(file, name, arena);
          WeightRows out = matrix(file, PREFIX + matcher.group("module") + ".lora_B.weight", arena);
          if (in.rows() != out.columns() || (ofOneRank && in.rows() != rank)) {
            throw new CheckpointException(
                "%s: tensor %s has rank %d, its lora_B %d, %s r %d; copy the files again"
                    .formatted(file.path(), name, in.rows(), out.columns(), CONFIG, rank));
          }
          double scale = alpha / (byRoot ? Math.sqrt(in.rows()) : in.rows());
          changes.put(matcher.group("module") + ".weight", new Change(in, out, scale));
        }
      }
      if (changes.isEmpty()) {
        throw new CheckpointException(
            "%s: has no factors; copy the file again".formatted(file.path()));
      }
      if (2 * changes.size() != file.tensors().size()) {
        throw new CheckpointException(
            "%s: has a lora_B without its lora_A; copy the file again".formatted(file.path()));
      }
      return new AdapterFiles(file, arena, changes);
    } catch (RuntimeException failure) {
      arena.close();
      file.close();
      throw failure;
    }
  }

  private static WeightRows matrix(SafetensorsFile file, String name, Arena arena) {
    StoredTensor stored = file.tensor(name);
    if (stored.shape().size() != 2
        || stored.shape().stream().anyMatch(size -> size < 1 || size > MOST)
        || stored.shape().getFirst() * stored.shape().getLast() > MOST) {
      throw new CheckpointException(
          "%s: tensor %s has shape %s; a factor is a matrix of 1 to %d numbers; copy the file again"
              .formatted(file.path(), name, stored.shape(), MOST));
    }
    return ModelWeights.rows(file.path(), name, stored, arena);
  }

  /** Refuses what is more than a low-rank change, or other, and fields that are not known. */
  private static void requireLora(JsonFields fields) {
    fields.text("peft_type"); // has to be there
    for (Map.Entry<String, JsonNode> field : fields.object().properties()) {
      JsonNode value = field.getValue();
      boolean honoured =
          switch (field.getKey()) {
            case "peft_type" -> value.asText().equals("LORA");
            case "bias" -> value.asText().equals("none");
            case "init_lora_weights" -> value.isBoolean() || KEEPING.contains(value.asText());
            default -> KNOWN.contains(field.getKey()) || saysNothing(value);
          };
      if (!value.isNull() && !honoured) {
        throw fields.wrong(
            field.getKey(),
            value,
            "is not supported; merge the adapter with the tool that made it");
      }
    }
  }

  /** Whether a field of any type has the value that stands for nothing. */
  private static boolean saysNothing(JsonNode value) {
    return value.isContainerNode() ? value.isEmpty() : value.isBoolean() && !value.asBoolean();
  }

  /** The checksum of the trunk that they were made for, if they say ({@link TrunkChecksum}). */
  static Optional<String> trunk(Path folder) {
    Path path = folder.resolve(TRUNK);
    return Files.exists(path)
        ? Optional.of(JsonFiles.read(path, Trunk.class).trunk())
        : Optional.empty();
  }

  /** The changes, for texts that ask for them by a name; to be read while this is open. */
  Adapter named(String name) {
    return new Adapter(name, changes);
  }

  /** Whether a parameter is changed. */
  public boolean changes(String parameter) {
    return changes.containsKey(parameter);
  }

  /** These with the usual beginning of a family's names where they have another. */
  private AdapterFiles underUsualNames(ModelConfig config) {
    List<String> beginnings =
        Families.allOf(config)
            .map(family -> family.tensors().prefixes())
            .filter(all -> !all.isEmpty())
            .findFirst()
            .orElse(List.of());
    Map<String, Change> usual = new LinkedHashMap<>();
    changes.forEach(
        (name, change) ->
            usual.put(
                beginnings.stream()
                    .skip(1)
                    .filter(other -> !other.isEmpty() && name.startsWith(other))
                    .findFirst()
                    .map(other -> beginnings.getFirst() + name.substring(other.length()))
                    .orElse(name),
                change));
    return new AdapterFiles(file, arena, usual);
  }

  /**
   * These under a model's names; to be closed in place of them. Of matrices that its family's files
   * have as one, a change of the one is a change of each.
   */
  private AdapterFiles of(Path model, Architecture architecture) {
    Map<String, Change> own = new LinkedHashMap<>();
    Set<String> left = new LinkedHashSet<>(changes.keySet());
    for (ParameterSpec spec : ParameterSpec.of(architecture)) {
      if (left.remove(spec.name())) {
        own.put(spec.name(), fitting(spec.name(), changes.get(spec.name()), spec.shape(), model));
      }
    }
    if (!left.isEmpty()) {
      ModelConfig config = architecture.model();
      Families.allOf(config)
          .map(Family::tensors)
          .forEach(names -> addParts(names, config, model, left, own));
    }
    if (!left.isEmpty()) {
      String name = left.iterator().next();
      throw unfit(name, changes.get(name), model, "none");
    }
    return new AdapterFiles(file, arena, own);
  }

  /** Adds the parts of changes that are left, under our names. */
  private void addParts(
      TensorNames names,
      ModelConfig config,
      Path model,
      Set<String> left,
      Map<String, Change> own) {
    Map<String, List<ParameterSpec>> parts = new LinkedHashMap<>();
    for (ParameterSpec spec : ParameterSpec.of(new Architecture(config, ExitLayout.none()))) {
      String tensor = names.place(ParameterName.parse(spec.name()), config).tensor();
      parts.computeIfAbsent(tensor, _ -> new ArrayList<>()).add(spec);
    }
    parts.keySet().retainAll(left);
    parts.forEach(
        (tensor, specs) -> {
          left.remove(tensor);
          long rows = specs.stream().mapToLong(spec -> spec.shape().getFirst()).sum();
          List<Long> shape = List.of(rows, specs.getFirst().shape().getLast());
          Change whole = fitting(tensor, changes.get(tensor), shape, model);
          for (ParameterSpec spec : specs) {
            Place place = names.place(ParameterName.parse(spec.name()), config);
            WeightRows out = rows(whole.out(), place, Math.toIntExact(spec.shape().getFirst()));
            own.put(spec.name(), new Change(whole.in(), out, whole.scale()));
          }
        });
  }

  /** Some rows of a matrix in float32. */
  private WeightRows rows(WeightRows all, Place place, int count) {
    int columns = all.columns();
    MemorySegment rows = arena.allocate((long) count * columns * Float.BYTES, Float.BYTES);
    float[] row = new float[columns];
    for (int i = 0; i < count; i++) {
      all.read(place.row().applyAsInt(i), row, 0);
      MemorySegment.copy(row, 0, rows, FLOAT, (long) i * columns * Float.BYTES, columns);
    }
    return StoredRows.of(StoredRows.Type.FLOAT32, rows.address(), count, columns);
  }

  private Change fitting(String name, @Nullable Change change, List<Long> shape, Path model) {
    Change there = Objects.requireNonNull(change);
    if (!shape.equals(List.of((long) there.out().rows(), (long) there.in().columns()))) {
      throw unfit(name, there, model, shape.toString());
    }
    return there;
  }

  private CheckpointException unfit(
      String name, @Nullable Change change, Path model, String shape) {
    Change there = Objects.requireNonNull(change);
    return new CheckpointException(
        "%s: changes %s of shape [%d, %d], of which %s has %s; give the model that the adapter was made for"
            .formatted(file.path(), name, there.out().rows(), there.in().columns(), model, shape));
  }

  /**
   * Adds a parameter's change to it.
   *
   * @param matrix the parameter, float32 [out, in], in native memory
   */
  public void addTo(String parameter, MemorySegment matrix) {
    Change change = Objects.requireNonNull(changes.get(parameter));
    int rank = change.in().rows();
    int width = change.in().columns();
    float[] in = change.in().floats();
    float scale = (float) change.scale();
    IntStream.range(0, change.out().rows())
        .parallel() // by address, since other threads may not use a confined arena's segments
        .forEach(
            row -> {
              float[] factors = new float[rank];
              change.out().read(row, factors, 0);
              float[] sum = new float[width];
              for (int r = 0; r < rank; r++) {
                float factor = factors[r];
                int first = r * width;
                for (int i = 0; i < width; i++) {
                  sum[i] += factor * in[first + i];
                }
              }
              long at = matrix.address() + (long) row * width * Float.BYTES;
              float[] values = new float[width];
              MemorySegment.copy(MEMORY, FLOAT, at, values, 0, width);
              for (int i = 0; i < width; i++) {
                values[i] += scale * sum[i];
              }
              MemorySegment.copy(values, 0, MEMORY, FLOAT, at, width);
            });
  }

  /**
   * A stored parameter with its change, in float32, made when it is asked for.
   *
   * @param model folder of the parameter
   */
  StoredTensor changed(Path model, String parameter, StoredTensor stored) {
    return new StoredTensor(
        SafetensorsType.F32,
        stored.shape(),
        new StoredTensor.Made(
            arena -> {
              try (Arena origin = Arena.ofShared()) {
                WeightRows rows = ModelWeights.rows(model, parameter, stored, origin);
                long rowBytes = (long) rows.columns() * Float.BYTES;
                MemorySegment made = arena.allocate(rows.rows() * rowBytes, Float.BYTES);
                float[] row = new float[rows.columns()];
                for (int i = 0; i < rows.rows(); i++) {
                  rows.read(i, row, 0);
                  MemorySegment.copy(row, 0, made, FLOAT, i * rowBytes, row.length);
                }
                addTo(parameter, made);
                return made.asReadOnly();
              }
            }));
  }

  /**
   * Writes what the factors in a folder's file are, and for which trunk.
   *
   * @param model that they change
   * @param name of its folder
   * @param trunkChecksum of its trunk
   */
  public static void describe(
      Path folder, Lora lora, ModelConfig model, String name, String trunkChecksum)
      throws IOException {
    List<String> targets =
        Arrays.stream(Projection.values())
            .filter(map -> map != Projection.GATE_PROJ || model.activation().gated())
            .map(Projection::toString)
            .filter(lora::changes)
            .toList();
    JsonFiles.write(
        folder.resolve(CONFIG),
        new Config(
            "LORA",
            "CAUSAL_LM",
            name,
            lora.rank(),
            lora.alpha(),
            lora.dropout(),
            targets,
            "none",
            false,
            true));
    JsonFiles.write(folder.resolve(TRUNK), new Trunk(trunkChecksum));
  }

  /**
   * Makes one file, as PEFT has it, of those that ranks wrote into a folder.
   *
   * @return names of the ranks' files, which are gone
   */
  static List<String> join(Path folder, int parts) throws IOException {
    List<String> names =
        IntStream.rangeClosed(1, parts)
            .mapToObj(part -> WeightFiles.shard(new Learning.Adapter(Lora.none()), part, parts))
            .toList();
    List<SafetensorsFile> files = new ArrayList<>();
    List<TensorSource> tensors = new ArrayList<>();
    try {
      for (String name : names) {
        SafetensorsFile file = SafetensorsFile.open(folder.resolve(name));
        files.add(file);
        file.tensors()
            .forEach(
                (tensor, stored) ->
                    tensors.add(
                        TensorSource.of(tensor, stored.type(), stored.shape(), stored.bytes())));
      }
      SafetensorsWriter.write(folder.resolve(weights()), ModelWeights.METADATA, tensors);
    } finally {
      files.forEach(SafetensorsFile::close);
    }
    for (String name : names) {
      Files.delete(folder.resolve(name));
    }
    return names;
  }

  /** Fills a model's low-rank changes, or a rank's part of them, from a checkpoint. */
  public static void load(Path folder, Decoder model) {
    try (SafetensorsFile file = SafetensorsFile.open(ModelFiles.file(folder, weights()))) {
      for (Parameter parameter : model.parameters().trainable()) {
        String name = nameInFile(parameter.name());
        NamedTensors.copy(
            file.path(),
            name,
            file.tensor(name),
            parameter,
            model.parallel().rank(),
            model.parallel().size());
      }
    }
  }

  @Override
  public void close() {
    arena.close();
    file.close();
  }
}
