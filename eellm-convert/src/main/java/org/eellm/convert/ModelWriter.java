package org.eellm.convert;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.eellm.checkpoint.CheckpointIntegrity;
import org.eellm.checkpoint.DraftHeadFiles;
import org.eellm.checkpoint.WeightFiles;
import org.eellm.checkpoint.huggingface.GgufModel;
import org.eellm.checkpoint.huggingface.HeadFiles;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.huggingface.StoredLayout;
import org.eellm.checkpoint.huggingface.family.Families;
import org.eellm.checkpoint.huggingface.family.Family;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.checkpoint.safetensors.ModelFiles;
import org.eellm.checkpoint.safetensors.SafetensorsHeader;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.convert.ConversionFile.Place;
import org.eellm.data.DataException;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.file.Disk;
import org.eellm.file.IoErrors;
import org.eellm.gguf.GgufFile;
import org.eellm.gguf.GgufVocabulary;
import org.eellm.model.parameter.ParameterName;

/**
 * Writes models as folders, tensor by tensor. An output is whole or absent: it is made under a
 * temporary name beside it. If that is cut off, the same command begins anew.
 */
public final class ModelWriter {
  static final String CONVERSION = "conversion.json";
  private static final String CONVERTING = ".converting-";

  /** Any of these is a tokenizer, or a part of one. */
  private static final List<String> TOKENIZERS =
      List.of("tokenizer.json", "vocab.json", "tokenizer.model", "spiece.model", "qwen.tiktoken");

  /** Files that are copied as they are, if they are there. */
  static final List<String> COMPANIONS =
      List.of(
          "tokenizer.json",
          "tokenizer_config.json",
          "special_tokens_map.json",
          "added_tokens.json",
          "vocab.json",
          "merges.txt",
          "tokenizer.model",
          "spiece.model",
          "qwen.tiktoken",
          "chat_template.jinja",
          "draft_vocabulary.json",
          "draft_table.safetensors",
          "prompts.json",
          "LICENSE");

  /**
   * How a model is written.
   *
   * @param type number format of all tensors; absent leaves each as it is
   * @param tokenizer folder or GGUF file to take the tokenizer from; absent takes the model's own
   */
  public record Options(Optional<SafetensorsType> type, Optional<Path> tokenizer) {
    /** Everything as it is. */
    public static Options asItIs() {
      return new Options(Optional.empty(), Optional.empty());
    }
  }

  /** Told how the writing comes on. */
  @FunctionalInterface
  public interface Listener {
    void done(long bytes, long total);
  }

  /**
   * A model that was written.
   *
   * @param path the folder or file
   * @param tensors what each tensor was made of, and both sides' checksums
   * @param copies how many tensors are the very bytes of the source
   * @param bytes of all tensors
   * @param tokenizerProblem why the tokenizer cannot be read; empty if it can
   */
  public record Outcome(
      Path path,
      List<TensorRecord> tensors,
      int copies,
      long bytes,
      Optional<String> tokenizerProblem) {
    public Outcome {
      tensors = List.copyOf(tensors);
    }
  }

  private ModelWriter() {}

  /**
   * Writes a model folder as eellm's own: trunk and exits in one file.
   *
   * @throws CheckpointException if the folder exists or cannot be written
   */
  public static Outcome writeModel(
      SourceModel model, Path output, Options options, Listener listener) {
    SourceModel typed = typed(model, options);
    return write(
        new Contents(
            typed.configFile(),
            Map.of(WeightFiles.SINGLE, layout(typed).tensors(typed.tensors())),
            Optional.empty()),
        model,
        output,
        options,
        listener);
  }

  /**
   * Writes a folder for Hugging Face's tools: the trunk as a plain model, and the exits beside it,
   * in files that these tools look at only if they are to run {@link RemoteCode}.
   *
   * @throws CheckpointException if no family of theirs has this shape, or the folder exists or
   *     cannot be written
   */
  public static Outcome writeHuggingFace(
      SourceModel model, Path output, Options options, Listener listener) {
    SourceModel typed = typed(model, options);
    List<ModelTensor> heads =
        typed.tensors().stream()
            .filter(tensor -> tensor.name().startsWith(HeadFiles.PREFIX))
            .toList();
    SourceModel trunk = ExitEditor.remove(typed, typed.architecture().exits().layers());
    trunk = published(trunk);
    ObjectNode config = trunk.configFile();
    config.remove(Family.MAX_POSITIONS);
    List<ModelTensor> tensors = layout(trunk).tensors(trunk.tensors());
    config.remove(RemoteCode.FIELD); // files that it names are not copied
    if (!heads.isEmpty()) {
      RemoteCode.name(config);
    }
    return write(
        heads.isEmpty()
            ? new Contents(config, Map.of(WeightFiles.SINGLE, tensors), Optional.empty())
            : new Contents(
                config,
                Map.of(WeightFiles.SINGLE, tensors, HeadFiles.WEIGHTS, heads),
                Optional.of(HeadFiles.json(typed.architecture().exits()))),
        model,
        output,
        options,
        listener);
  }

  private static StoredLayout layout(SourceModel model) {
    return new StoredLayout(family(model).tensors(), model.architecture());
  }

  private static Family family(SourceModel model) {
    return Families.of(new JsonFields(model.folder().toString(), model.configFile()));
  }

  /** A trunk with a configuration that other tools know. */
  private static SourceModel published(SourceModel trunk) {
    if (!family(trunk).isEellm()) {
      return trunk;
    }
    Family family =
        Families.publishedOf(trunk.architecture().model())
            .orElseThrow(
                () ->
                    new CheckpointException(
                        "%s: no family of Hugging Face's has this shape (model_type eellm); %s can be exported"
                            .formatted(trunk.folder(), Families.names())));
    ObjectNode config = trunk.config().config(family);
    for (String name : List.of("torch_dtype", "dtype", "bos_token_id", "eos_token_id")) {
      if (trunk.configFile().has(name)) {
        config.set(name, trunk.configFile().get(name));
      }
    }
    if (config.has(Family.MADE_POSITIONS)) {
      config.put(Family.MADE_POSITIONS, trunk.publishedPositions());
    }
    return trunk.with(config, trunk.tensors());
  }

  private static SourceModel typed(SourceModel model, Options options) {
    Optional<SafetensorsType> common =
        options.type().or(() -> Optional.of(model.tensor(ParameterName.TOKENS.toString()).type()));
    ObjectNode file = model.configFile().deepCopy();
    boolean kept = options.type().isEmpty() && model.keepsConfig();
    if (!kept) {
      String name = file.has("dtype") ? "dtype" : "torch_dtype";
      file.put(
          name,
          switch (common.orElseThrow()) {
            case F64 -> "float64";
            case F16 -> "float16";
            case BF16 -> "bfloat16";
            default -> "float32";
          });
    }
    List<ModelTensor> tensors =
        model.tensors().stream()
            .map(tensor -> options.type().map(tensor::as).orElse(tensor))
            .toList();
    return model.with(file, tensors);
  }

  /**
   * The contents of a folder that is to be written.
   *
   * @param files tensors by the files' names
   * @param exits the layout of heads in a file of their own
   */
  private record Contents(
      ObjectNode config, Map<String, List<ModelTensor>> files, Optional<ObjectNode> exits) {}

  private static Outcome write(
      Contents contents, SourceModel source, Path output, Options options, Listener listener) {
    Map<String, List<ModelTensor>> files = contents.files();
    Path temporary = temporary(output);
    options.tokenizer().ifPresent(ModelWriter::requireTokenizer);
    List<TensorRecord> records = new ArrayList<>();
    Optional<String> tokenizerProblem;
    long total =
        files.values().stream().flatMap(List::stream).mapToLong(ModelTensor::byteSize).sum();
    long[] done = {0};
    try {
      Files.createDirectories(temporary);
      clear(temporary);
      for (Map.Entry<String, List<ModelTensor>> file : new TreeMap<>(files).entrySet()) {
        records.addAll(
            safetensors(temporary.resolve(file.getKey()), file.getValue())
                .write(
                    bytes -> {
                      done[0] += bytes;
                      listener.done(done[0], total);
                    }));
      }
      JsonFiles.write(temporary.resolve(HuggingFaceConfig.CONFIG), contents.config());
      if (contents.exits().isPresent()) {
        JsonFiles.write(temporary.resolve(HeadFiles.LAYOUT), contents.exits().get());
        RemoteCode.write(temporary);
      }
      copyGenerationConfig(source, temporary);
      Path tokenizer = options.tokenizer().orElse(source.folder());
      if (GgufFile.isOne(tokenizer)) {
        GgufVocabulary vocabulary = GgufModel.vocabulary(tokenizer);
        JsonFiles.write(temporary.resolve("tokenizer.json"), vocabulary.tokenizer());
        JsonFiles.write(temporary.resolve("tokenizer_config.json"), vocabulary.config());
      }
      for (String name : COMPANIONS) {
        copyIfThere(tokenizer, name, temporary);
      }
      for (String name : DraftHeadFiles.NAMES) {
        copyIfThere(source.folder(), name, temporary); // it belongs to the trunk
      }
      tokenizerProblem = readTokenizer(tokenizer, temporary);
      if (source.calibration().isPresent()) {
        Path calibration = source.calibration().get();
        copy(calibration, temporary.resolve(calibration.getFileName()));
      }
      JsonFiles.write(temporary.resolve(CONVERSION), conversion(source, records));
      CheckpointIntegrity.write(temporary, Map.of());
      publish(temporary, output);
    } catch (IOException failure) {
      throw new CheckpointException(
          "%s: cannot be written: %s (%s); then run the command again"
              .formatted(output, IoErrors.reason(failure), IoErrors.freeSpace(existing(output))),
          failure);
    }
    int copies =
        (int) files.values().stream().flatMap(List::stream).filter(ModelTensor::isCopy).count();
    return new Outcome(output, records, copies, total, tokenizerProblem);
  }

  private static void requireTokenizer(Path folder) {
    if (!GgufFile.isOne(folder)
        && TOKENIZERS.stream().noneMatch(name -> ModelFiles.has(folder, name))) {
      throw new CheckpointException(
          "%s: has no tokenizer, none of %s; name a folder that has with --tokenizer"
              .formatted(folder, String.join(", ", TOKENIZERS)));
    }
  }

  /**
   * Reads a tokenizer, and writes one that SentencePiece's or tiktoken's file has as {@code
   * tokenizer.json} too, which takes less time to read.
   *
   * @return why it cannot be read
   */
  static Optional<String> readTokenizer(Path from, Path output) {
    Tokenizer tokenizer;
    try {
      tokenizer = Tokenizer.load(from);
    } catch (DataException problem) {
      return Optional.of(String.valueOf(problem.getMessage()));
    }
    boolean other =
        Stream.of("tokenizer.model", "spiece.model", "qwen.tiktoken")
            .anyMatch(name -> Files.exists(output.resolve(name)));
    if (other && !Files.exists(output.resolve("tokenizer.json"))) {
      tokenizer.save(output);
    }
    return Optional.empty();
  }

  /** Where an output is made. */
  static Path temporary(Path output) {
    Path absolute = output.toAbsolutePath().normalize();
    if (Files.exists(absolute)) {
      throw new CheckpointException(output + ": exists already; remove it or name another");
    }
    Path place = existing(absolute);
    if (!Files.isDirectory(place)) {
      throw new CheckpointException(
          "%s: %s is a file; name another place".formatted(output, place));
    }
    return absolute.resolveSibling(CONVERTING + absolute.getFileName());
  }

  /** Gives a finished output its name. */
  static void publish(Path temporary, Path output) throws IOException {
    if (Files.isDirectory(temporary)) {
      try (var children = Files.list(temporary)) {
        for (Path child : children.toList()) {
          Disk.sync(child);
        }
      }
    }
    Disk.sync(temporary);
    Path target = output.toAbsolutePath().normalize();
    Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
    Disk.sync(target.resolveSibling(""));
  }

  /** The nearest folder above that is there. */
  private static Path existing(Path output) {
    Path path = output.toAbsolutePath();
    while (!Files.exists(path) && path.getParent() != null) {
      path = path.getParent();
    }
    return path;
  }

  /** Removes what a run that was cut off has left in a folder. */
  private static void clear(Path folder) throws IOException {
    try (var children = Files.list(folder)) {
      for (Path child : children.toList()) {
        Files.delete(child);
      }
    }
  }

  /** A small file's content, without its permissions. */
  private static void copyIfThere(Path folder, String name, Path target) throws IOException {
    if (ModelFiles.has(folder, name)) {
      copy(ModelFiles.file(folder, name), target.resolve(name));
    }
  }

  private static void copy(Path from, Path to) throws IOException {
    Files.write(to, Files.readAllBytes(from));
  }

  private static void copyGenerationConfig(SourceModel source, Path target) throws IOException {
    String name = HuggingFaceConfig.GENERATION_CONFIG;
    if (ModelFiles.has(source.folder(), name)) {
      copy(ModelFiles.file(source.folder(), name), target.resolve(name));
    } else {
      JsonFiles.write(target.resolve(name), source.config().generation());
    }
  }

  private static ObjectNode conversion(SourceModel source, List<TensorRecord> records) {
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    node.put("source", source.kind());
    ObjectNode tensors = node.putObject("tensors");
    for (TensorRecord record : records) {
      ObjectNode tensor = tensors.putObject(record.name());
      tensor.put("sha256", record.sha256());
      ObjectNode origins = tensor.putObject("origins");
      record.origins().entrySet().stream()
          .sorted(Map.Entry.comparingByKey())
          .forEach(origin -> origins.put(origin.getKey(), origin.getValue()));
      if (record.notFinite() > 0) {
        tensor.put("not_finite", record.notFinite());
      }
    }
    return node;
  }

  /** A safetensors file to be, its tensors in the order of their names. */
  private static ConversionFile safetensors(Path path, List<ModelTensor> tensors) {
    List<SafetensorsHeader.Entry> entries = new ArrayList<>();
    List<ModelTensor> sorted =
        tensors.stream().sorted(Comparator.comparing(ModelTensor::name)).toList();
    long end = 0;
    for (ModelTensor tensor : sorted) {
      long begin = end;
      end += tensor.byteSize();
      entries.add(
          new SafetensorsHeader.Entry(tensor.name(), tensor.type(), tensor.shape(), begin, end));
    }
    byte[] header = SafetensorsHeader.format(Map.of("format", "pt"), entries);
    byte[] start = new byte[Long.BYTES + header.length];
    ByteBuffer.wrap(start).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length).put(header);
    List<Place> places = new ArrayList<>();
    for (int i = 0; i < sorted.size(); i++) {
      ModelTensor tensor = sorted.get(i);
      places.add(
          new Place(
              tensor.name(),
              start.length + entries.get(i).begin(),
              tensor.byteSize(),
              tensor,
              tensor.content()));
    }
    return new ConversionFile(path, start, places);
  }
}
