package org.eellm.checkpoint;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.checkpoint.huggingface.GgufModel;
import org.eellm.checkpoint.huggingface.HeadFiles;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.ExitLayout;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.TrainConfig.Device;
import org.eellm.gguf.GgufFile;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.StoredDecoder;
import org.eellm.model.StoredDecoder.Part;
import org.eellm.model.parameter.ParameterSpec;
import org.eellm.tensor.Torch;

/**
 * A model in files: a model folder, perhaps with heads from another folder in place of its own,
 * with an adapter's changes in its matrices, and with adapters beside them that texts ask for.
 *
 * @param folder the model folder itself, or a GGUF file
 * @param heads the heads' folder itself
 * @param adapter the adapter's folder itself
 * @param beside folders of further adapters, by the names that texts ask for
 */
public record ModelFolder(
    Path folder, Optional<Path> heads, Optional<Path> adapter, SequencedMap<String, Path> beside) {
  /** The file beside the exits that says when tokens leave there. */
  public static final String CALIBRATION = "calibration.json";

  /** The matrices that an adapter may change that stays beside them. */
  private static final Pattern PROJECTION =
      Pattern.compile(".+\\.(self_attn|mlp)\\.\\w+_proj\\.weight");

  public ModelFolder {
    beside = Collections.unmodifiableSequencedMap(new LinkedHashMap<>(beside));
  }

  /** A model as it is. */
  public ModelFolder(Path folder, Optional<Path> heads) {
    this(folder, heads, Optional.empty(), new LinkedHashMap<>());
  }

  /**
   * The folders that a user means.
   *
   * @param model a model folder, a checkpoint, or a run's output folder, of which the newest
   *     checkpoint is taken
   * @param heads likewise a folder of heads, or the output of a run that tuned them
   * @throws CheckpointException if they are not there
   */
  public static ModelFolder resolve(Path model, Path heads) {
    return resolve(model).withHeads(heads);
  }

  /** As {@link #resolve(Path, Path)}, with the model's own heads. */
  public static ModelFolder resolve(Path model) {
    return new ModelFolder(CheckpointStore.resolveModel(model), Optional.empty());
  }

  /**
   * The folder that {@link #resolve} finds, for those who do not load the model: whether the files
   * of a model folder are damaged is left to whoever does.
   */
  public static ModelFolder find(Path model) {
    return new ModelFolder(CheckpointStore.findModel(model), Optional.empty());
  }

  /** A copy with the heads of another folder, as {@link #resolve} finds it. */
  public ModelFolder withHeads(Path other) {
    return new ModelFolder(
        folder, Optional.of(CheckpointStore.resolveHeads(other)), adapter, beside);
  }

  /** A copy with the changes of an adapter, as {@link #resolve} finds it. */
  public ModelFolder withAdapter(Path other) {
    return new ModelFolder(
        folder, heads, Optional.of(CheckpointStore.resolveAdapter(other)), beside);
  }

  /**
   * A copy with one more adapter beside the model, as {@link #resolve} finds it.
   *
   * @param name of this one among those
   */
  public ModelFolder withAdapter(String name, Path other) {
    SequencedMap<String, Path> more = new LinkedHashMap<>(beside);
    more.put(name, CheckpointStore.resolveAdapter(other));
    return new ModelFolder(folder, heads, adapter, more);
  }

  /** Where the calibration lies: beside what was made last, an adapter, heads or the model. */
  public Path calibrationFolder() {
    return adapter.or(() -> heads).orElse(folder);
  }

  /**
   * The weights, with an adapter's changes.
   *
   * @param checked whether heads and adapter have to be of this trunk
   */
  private WeightFiles open(boolean checked) {
    WeightFiles own =
        heads
            .map(other -> WeightFiles.open(folder, other))
            .orElseGet(() -> WeightFiles.open(folder));
    try {
      if (checked) {
        requireTrunk(own);
      }
      return adapter.isPresent() ? own.changedBy(openAdapter(adapter.get())) : own;
    } catch (RuntimeException failure) {
      own.close();
      throw failure;
    }
  }

  /**
   * The configuration in the model's files, with the exits that there are heads for.
   *
   * @throws CheckpointException as {@link HuggingFaceConfig#read}, or if the heads are of a deeper
   *     model
   */
  public HuggingFaceConfig config() {
    return withHeads(HuggingFaceConfig.read(folder));
  }

  private HuggingFaceConfig withHeads(HuggingFaceConfig own) {
    if (heads.isEmpty()) {
      return own;
    }
    HeadFiles other = HeadFiles.read(heads.get());
    try {
      return own.withExits(other.exits());
    } catch (ConfigException failure) {
      throw new CheckpointException(
          "%s: these heads do not fit %s: %s".formatted(heads.get(), folder, failure.getMessage()),
          failure);
    }
  }

  /**
   * How the files' matrices can be multiplied with as they are: a GGUF file's in their own groups,
   * others, and those of which some are changed, whole.
   *
   * @throws CheckpointException as {@link #config}
   */
  public MatrixQuantization quantization() {
    if (!GgufFile.isOne(folder) || adapter.isPresent()) {
      return MatrixQuantization.NONE;
    }
    try (GgufModel model = GgufModel.open(folder)) {
      return model.quantization();
    }
  }

  /**
   * A model, or a rank's part of one, with these weights, for those who only use it.
   *
   * @param model without parameters, of the files' own architecture, perhaps computing in another
   *     number format; closed if they cannot be read
   * @throws CheckpointException as {@link #load}
   */
  public Decoder read(Decoder model) {
    try {
      load(model);
      return model;
    } catch (RuntimeException failure) {
      model.close();
      throw failure;
    }
  }

  /**
   * Fills a model's parameters. The model may be a part of what the files have; of its ranks, the
   * first of each replica reads all of the trunk if heads from another folder are to be of it.
   *
   * @throws CheckpointException as {@link ModelWeights#load}, or if the heads were made for another
   *     trunk
   */
  public void load(Decoder model) {
    requireNoneBeside(beside.isEmpty());
    boolean first = model.stages().getFirst().firstBranch() == 0 && model.parallel().rank() == 0;
    try (WeightFiles weights = open(first)) {
      ModelWeights.load(weights, parameterNames(weights), model);
    }
  }

  /**
   * A model, or a rank's part of one, whose weights stay in the files until they are packed, for
   * those who decode on a CPU.
   *
   * @param part of the files' own architecture, perhaps computing in another number format
   * @throws CheckpointException as {@link #load}
   */
  public StoredDecoder stored(StoredDecoder.Part part) {
    requireNoneBeside(beside.isEmpty() || part.isWhole());
    boolean first = part.slices().getFirst().firstLayer() == 0 && part.parallel().rank() == 0;
    WeightFiles weights = open(first);
    Map<String, AdapterFiles> adapters = new LinkedHashMap<>();
    try {
      beside.forEach((name, other) -> adapters.put(name, openBeside(other)));
      return ModelWeights.stored(
          weights, parameterNames(weights), part, adapters, hasDraftHead(part));
    } catch (RuntimeException failure) {
      adapters.values().forEach(AdapterFiles::close);
      weights.close();
      throw failure;
    }
  }

  /** A draft head is for a model in one piece. */
  private boolean hasDraftHead(StoredDecoder.Part part) {
    return part.isWhole() && !part.logitLens() && DraftHeadFiles.isIn(folder);
  }

  private AdapterFiles openBeside(Path other) {
    AdapterFiles files = openAdapter(other);
    try {
      for (String name : files.named("").changes().keySet()) {
        if (!PROJECTION.matcher(name).matches()) {
          throw new CheckpointException(
              "%s: changes %s, but beside a model adapters change attention and MLPs alone; merge it, with eellm convert --adapter"
                  .formatted(other, name));
        }
      }
      return files;
    } catch (RuntimeException failure) {
      files.close();
      throw failure;
    }
  }

  private AdapterFiles openAdapter(Path other) {
    return AdapterFiles.open(other, folder, config().architecture());
  }

  private void requireNoneBeside(boolean condition) {
    if (!condition) {
      throw new CheckpointException(
          "%s: adapters %s stay beside a model that one rank has on its CPU; leave out --tp, --pp and --device, or merge one of them"
              .formatted(folder, String.join(", ", beside.keySet())));
    }
  }

  /**
   * All of the model, for those who decode.
   *
   * @param architecture the files' own, perhaps computing in another number format
   * @throws CheckpointException as {@link #load}
   */
  public DecodingModel decoder(
      Architecture architecture, Device device, MatrixQuantization quantization) {
    return switch (device) {
      case CPU -> stored(Part.whole(architecture, quantization));
      case CUDA -> read(Decoder.allocate(architecture, quantization.layers(), Torch.cuda()));
    };
  }

  /** As {@link #decoder}, with the final head after every layer, in place of its exits. */
  public DecodingModel logitLens(Architecture architecture, Device device) {
    return switch (device) {
      case CPU -> stored(Part.logitLens(architecture));
      case CUDA -> read(Decoder.logitLens(architecture, Torch.cuda()));
    };
  }

  private Set<String> parameterNames(WeightFiles weights) {
    return ParameterSpec.of(withHeads(weights.config()).architecture()).stream()
        .map(ParameterSpec::name)
        .collect(Collectors.toUnmodifiableSet());
  }

  /** Refuses heads and an adapter that were made for another trunk. */
  public void requireTrunk() {
    try (WeightFiles weights = WeightFiles.open(folder)) {
      requireTrunk(weights);
    }
  }

  private void requireTrunk(WeightFiles weights) {
    Optional<HeadFiles> files = heads.map(HeadFiles::read);
    Optional<String> ofHeads = files.flatMap(HeadFiles::trunk);
    Map<Path, String> ofAdapters = new LinkedHashMap<>();
    Stream.concat(adapter.stream(), beside.values().stream())
        .forEach(each -> AdapterFiles.trunk(each).ifPresent(sum -> ofAdapters.put(each, sum)));
    if (ofHeads.isEmpty() && ofAdapters.isEmpty()) {
      return;
    }
    String own = trunkChecksum(weights);
    ofHeads.ifPresent(
        checksum -> require(own, checksum, files.get().folder(), "these heads were", "they were"));
    ofAdapters.forEach(
        (each, checksum) -> require(own, checksum, each, "this adapter was", "it was"));
  }

  private void require(String own, String checksum, Path part, String what, String again) {
    if (!checksum.equals(own)) {
      throw new CheckpointException(
          "%s: %s made for another trunk (checksum %.12s, %s has %.12s); give the trunk %s tuned on"
              .formatted(part, what, checksum, folder, own, again));
    }
  }

  /** The checksum of the trunk, which heads are kept with. */
  public String trunkChecksum() {
    try (WeightFiles weights = WeightFiles.open(folder)) {
      return trunkChecksum(weights);
    }
  }

  /**
   * Refuses a part that was made for another trunk.
   *
   * @param what begins to say what it is, and {@code again} ends to say what it needs
   */
  void requireTrunk(String checksum, Path part, String what, String again) {
    require(trunkChecksum(), checksum, part, what, again);
  }

  private static String trunkChecksum(WeightFiles weights) {
    return TrunkChecksum.of(weights, weights.config().architecture().model());
  }

  /**
   * Writes what exits a folder's {@code exits.safetensors} has, and for which trunk.
   *
   * @throws IOException if it cannot be written
   */
  public static void describeHeads(Path folder, ExitLayout exits, String trunkChecksum)
      throws IOException {
    new HeadFiles(folder, exits, Optional.of(trunkChecksum)).writeLayout();
  }
}
