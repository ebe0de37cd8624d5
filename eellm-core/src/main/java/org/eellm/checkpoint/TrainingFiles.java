package org.eellm.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.eellm.checkpoint.NamedTensors.StoredRange;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.TensorFile;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.model.Decoder;
import org.eellm.model.parameter.Parameter;
import org.eellm.model.parameter.ParameterLayout;
import org.eellm.model.parameter.Sharding;

/**
 * The files in a checkpoint's {@code training} folder, which only a resumed run needs.
 *
 * <p>Each rank writes what it keeps of the optimizer's state. A parameter that it keeps whole is a
 * tensor {@code exp_avg.NAME}; of any other each run of consecutive elements is a tensor {@code
 * exp_avg.NAME@i/n+k}: those from element k on of the i-th of the n equal parts that tensor
 * parallelism cuts the parameter into, i from 0. So the files say all that another mesh has to
 * know.
 */
public final class TrainingFiles {
  static final String FOLDER = "training";
  private static final Pattern OPTIMIZER =
      Pattern.compile("optimizer(?:-(\\d{5})-of-(\\d{5}))?\\.safetensors");
  private static final Pattern FRAGMENT =
      Pattern.compile("(.+)@(\\d{1,6})/(\\d{1,6})\\+(\\d{1,15})");

  private TrainingFiles() {}

  /**
   * Writes all that a resumed run must know beside tensors, as JSON with snake_case keys.
   *
   * @param state a record of numbers, texts, lists and records; what is read back equals it, bit
   *     for bit
   */
  public static void writeState(Path checkpoint, Record state) throws IOException {
    Files.createDirectories(checkpoint.resolve(FOLDER));
    JsonFiles.write(state(checkpoint), state);
  }

  /**
   * Reads what {@link #writeState} wrote.
   *
   * @throws CheckpointException if the checkpoint has no training state or it is malformed
   */
  public static <T extends Record> T readState(Path checkpoint, Class<T> type) {
    return JsonFiles.read(existing(state(checkpoint)), type);
  }

  /** Whether what {@link #writeState} wrote has a field, of which earlier versions had fewer. */
  public static boolean stateHas(Path checkpoint, String field) {
    return JsonFiles.read(existing(state(checkpoint))).has(field);
  }

  /** How long the run of a folder has trained; absent where it has no training state. */
  public static Optional<Double> seconds(Path folder) {
    return Files.exists(state(folder)) && stateHas(folder, "seconds")
        ? Optional.of(JsonFiles.read(state(folder)).get("seconds").doubleValue())
        : Optional.empty();
  }

  /**
   * Writes what tells the datasets of a run, by the paths that its configuration has.
   *
   * @param checksums of those of which they are known
   */
  public static void writeDatasets(Path checkpoint, Map<String, String> checksums)
      throws IOException {
    Files.createDirectories(checkpoint.resolve(FOLDER));
    JsonFiles.write(datasets(checkpoint), new Datasets(new TreeMap<>(checksums)));
  }

  /**
   * The checksums that {@link #writeDatasets} wrote; empty in a checkpoint that has none.
   *
   * @throws CheckpointException if it is malformed
   */
  public static Map<String, String> readDatasets(Path checkpoint) {
    Path path = datasets(checkpoint);
    return Files.exists(path) ? JsonFiles.read(path, Datasets.class).checksums() : Map.of();
  }

  /** Writes where a run's blend of datasets is; {@link #readBlend} reads it back. */
  public static void writeBlend(Path checkpoint, Record position) throws IOException {
    Files.createDirectories(checkpoint.resolve(FOLDER));
    JsonFiles.write(blend(checkpoint), position);
  }

  /** What {@link #writeBlend} wrote; empty in a checkpoint that has none. */
  public static <T extends Record> Optional<T> readBlend(Path checkpoint, Class<T> type) {
    Path path = blend(checkpoint);
    return Files.exists(path) ? Optional.of(JsonFiles.read(path, type)) : Optional.empty();
  }

  private static Path blend(Path checkpoint) {
    return checkpoint.resolve(FOLDER).resolve("blend.json");
  }

  private static Path datasets(Path checkpoint) {
    return checkpoint.resolve(FOLDER).resolve("data.json");
  }

  /** The content of {@code data.json}. */
  private record Datasets(SequencedMap<String, String> checksums) {}

  /**
   * This rank's file of the optimizer's state. What other ranks keep too is in one rank's file.
   *
   * @param pieces of the buffers
   * @param rank of {@code ranks} that write a file each
   */
  public static TensorFile optimizer(
      Decoder model, List<FlatStateShard> pieces, int rank, int ranks) {
    List<TensorSource> tensors = new ArrayList<>();
    for (FlatStateShard piece : pieces) {
      for (Parameter parameter : model.parameters().trainable()) {
        if (model.isMainReplica(parameter.name(), parameter.split())) {
          source(model, parameter, piece).ifPresent(tensors::add);
        }
      }
    }
    String name =
        ranks == 1
            ? "optimizer.safetensors"
            : "optimizer-%05d-of-%05d.safetensors".formatted(rank + 1, ranks);
    return new TensorFile(FOLDER + "/" + name, Map.of(), tensors);
  }

  private static Optional<TensorSource> source(
      Decoder model, Parameter parameter, FlatStateShard piece) {
    FlatStateShard.Overlap overlap = piece.overlap(parameter);
    if (overlap.length() <= 0) {
      return Optional.empty();
    }
    boolean cut = parameter.split() != Sharding.REPLICATED && model.parallel().size() > 1;
    boolean whole = !cut && overlap.length() == parameter.numel();
    String name = piece.buffer() + "." + parameter.name();
    return Optional.of(
        NamedTensors.source(
            whole
                ? name
                : "%s@%d/%d+%d"
                    .formatted(
                        name,
                        cut ? model.parallel().rank() : 0,
                        cut ? model.parallel().size() : 1,
                        overlap.inParameter()),
            SafetensorsType.F32,
            whole ? parameter.shape() : new long[] {overlap.length()},
            () -> piece.values().narrow(0, overlap.inPiece(), overlap.length())));
  }

  /**
   * Fills this rank's pieces of the optimizer's state from what ranks of any mesh wrote of the same
   * model.
   *
   * @return bytes of tensors that were read
   * @throws CheckpointException if a file is missing or malformed, or they have not exactly the
   *     model's tensors
   */
  public static long readOptimizer(Path checkpoint, Decoder model, List<FlatStateShard> pieces) {
    List<SafetensorsFile> files = new ArrayList<>();
    try {
      for (Path path : optimizerFiles(checkpoint.resolve(FOLDER))) {
        files.add(SafetensorsFile.open(path));
      }
      Map<String, List<StoredRange>> fragments = fragments(files);
      Set<String> known = ParameterLayout.learned(model.architecture(), model.learning());
      Set<String> buffers = Set.of("master", "exp_avg", "exp_avg_sq");
      fragments.forEach(
          (name, parts) -> {
            int dot = name.indexOf('.');
            if (dot < 0
                || !buffers.contains(name.substring(0, dot))
                || !known.contains(name.substring(dot + 1))) {
              throw new CheckpointException(
                  "%s: has tensor '%s', which the model's optimizer does not have; the checkpoint is of another run"
                      .formatted(parts.getFirst().place(), name));
            }
          });
      long read = 0;
      for (FlatStateShard piece : pieces) {
        for (Parameter parameter : model.parameters().trainable()) {
          if (piece.overlap(parameter).length() > 0) {
            String name = piece.buffer() + "." + parameter.name();
            List<StoredRange> parts = fragments.getOrDefault(name, List.of());
            requireWhole(checkpoint, name, parts, parameter);
            for (StoredRange part : parts) {
              read += NamedTensors.copy(part, piece, parameter, model.parallel());
            }
          }
        }
      }
      return read;
    } finally {
      files.forEach(SafetensorsFile::close);
    }
  }

  private static Map<String, List<StoredRange>> fragments(List<SafetensorsFile> files) {
    Map<String, List<StoredRange>> fragments = new HashMap<>();
    for (SafetensorsFile file : files) {
      file.tensors()
          .forEach(
              (name, stored) -> {
                Matcher matcher = FRAGMENT.matcher(name);
                boolean part = matcher.matches();
                fragments
                    .computeIfAbsent(part ? matcher.group(1) : name, _ -> new ArrayList<>())
                    .add(
                        new StoredRange(
                            file.path(),
                            name,
                            stored,
                            new PartRange(
                                part ? Integer.parseInt(matcher.group(2)) : 0,
                                part ? Integer.parseInt(matcher.group(3)) : 1,
                                part ? Long.parseLong(matcher.group(4)) : 0,
                                StoredRange.numel(stored))));
              });
    }
    return fragments;
  }

  /** Refuses fragments that are not of this parameter, or not all of it. */
  private static void requireWhole(
      Path checkpoint, String name, List<StoredRange> fragments, Parameter parameter) {
    long elements = Arrays.stream(parameter.wholeShape()).reduce(1, Math::multiplyExact);
    int parts = fragments.isEmpty() ? 1 : fragments.getFirst().range().parts();
    long found = 0;
    for (StoredRange fragment : fragments) {
      PartRange range = fragment.range();
      boolean fits =
          range.parts() == parts
              && range.part() < parts
              && elements % parts == 0
              && range.end() <= elements / parts
              && parameter.split().divides(parameter.wholeShape(), parts);
      if (!fits) {
        throw new CheckpointException(
            "%s: tensor '%s' has elements %d to %d of part %d of %d; the model's has %d elements; the checkpoint is of another run"
                .formatted(
                    fragment.place(),
                    name,
                    range.start(),
                    range.end(),
                    range.part(),
                    range.parts(),
                    elements));
      }
      found += range.length();
    }
    if (found != elements) {
      throw new CheckpointException(
          "%s: the optimizer's files have %d of the %d elements of '%s'; the checkpoint is of another run or incomplete"
              .formatted(checkpoint.resolve(FOLDER), found, elements, name));
    }
  }

  /** All ranks' files, in order. */
  private static List<Path> optimizerFiles(Path folder) {
    Path single = folder.resolve("optimizer.safetensors");
    List<Path> files;
    try (Stream<Path> children = Files.exists(folder) ? Files.list(folder) : Stream.empty()) {
      files =
          children
              .filter(path -> OPTIMIZER.matcher(path.getFileName().toString()).matches())
              .sorted()
              .toList();
    } catch (IOException failure) {
      throw CheckpointException.unreadable(folder, failure);
    }
    if (files.isEmpty() || files.contains(single)) {
      return List.of(existing(single));
    }
    Matcher first = OPTIMIZER.matcher(files.getFirst().getFileName().toString());
    int ranks = first.matches() ? Integer.parseInt(first.group(2)) : 0;
    for (int rank = 1; rank <= ranks; rank++) {
      existing(folder.resolve("optimizer-%05d-of-%05d.safetensors".formatted(rank, ranks)));
    }
    return files;
  }

  private static Path state(Path checkpoint) {
    return checkpoint.resolve(FOLDER).resolve("state.json");
  }

  private static Path existing(Path path) {
    if (!Files.exists(path)) {
      throw new CheckpointException(
          path + ": is missing; only a whole checkpoint of a training run can be resumed");
    }
    return path;
  }
}
