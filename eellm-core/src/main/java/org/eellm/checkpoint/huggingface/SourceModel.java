package org.eellm.checkpoint.huggingface;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.huggingface.family.Families;
import org.eellm.checkpoint.huggingface.family.Family;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.checkpoint.safetensors.ModelFiles;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.RopeScaling;
import org.eellm.config.SettingException;
import org.eellm.model.parameter.ParameterSpec;

/**
 * A model that lies in files of any layout that is known, as eellm would have it. What the editor
 * of exits and the writers make of it are views: the numbers stay in the files until one writes
 * them.
 *
 * @param kind what the files are, for people
 * @param folder where they lie
 * @param config the model's shape
 * @param configFile the fields of its {@code config.json}
 * @param keepsConfig whether these are the files' own, which are to stay as they are
 * @param tensors exactly the parameters of the shape, in the files' order
 * @param files the open files
 * @param calibration file of thresholds for these exits, if they have one
 */
public record SourceModel(
    String kind,
    Path folder,
    HuggingFaceConfig config,
    ObjectNode configFile,
    boolean keepsConfig,
    List<ModelTensor> tensors,
    List<? extends AutoCloseable> files,
    Optional<Path> calibration)
    implements AutoCloseable {

  /**
   * @throws CheckpointException if a parameter is missing, surplus or of another shape
   */
  public SourceModel {
    tensors = List.copyOf(tensors);
    files = List.copyOf(files);
    requireParameters(folder, config.architecture(), tensors);
  }

  /** A copy with the calibration that lies in the exits' folder, if one does. */
  public SourceModel withCalibration(Path exits) {
    Optional<Path> file =
        ModelFiles.has(exits, ModelFolder.CALIBRATION)
            ? Optional.of(ModelFiles.file(exits, ModelFolder.CALIBRATION))
            : Optional.empty();
    return new SourceModel(kind, folder, config, configFile, keepsConfig, tensors, files, file);
  }

  /** The model's shape. */
  public Architecture architecture() {
    return config.architecture();
  }

  private static void requireParameters(
      Path folder, Architecture architecture, List<ModelTensor> tensors) {
    Map<String, List<Long>> expected =
        ParameterSpec.of(architecture).stream()
            .collect(Collectors.toMap(ParameterSpec::name, ParameterSpec::shape));
    Set<String> there = tensors.stream().map(ModelTensor::name).collect(Collectors.toSet());
    requireAll(folder, expected.keySet(), there);
    requireNoMore(folder, expected.keySet(), there);
    for (ModelTensor tensor : tensors) {
      List<Long> shape = expected.getOrDefault(tensor.name(), List.of());
      if (!tensor.shape().equals(shape)) {
        throw new CheckpointException(
            "%s: tensor %s has shape %s, but %s follows from the configuration; they must be of the same model"
                .formatted(folder, tensor.name(), tensor.shape(), shape));
      }
      if (ModelTensor.scalarType(tensor.type()).isEmpty()) {
        throw tensor.origins().getFirst().stored().noWeights(folder, tensor.name());
      }
    }
  }

  /** Refuses weights that lack a parameter. */
  public static void requireAll(Path folder, Set<String> parameters, Set<String> there) {
    refuseSurplus(folder, "lack", parameters, there);
  }

  /** Refuses weights that have what is no parameter. */
  public static void requireNoMore(Path folder, Set<String> parameters, Set<String> there) {
    refuseSurplus(folder, "have, beyond the configuration's model,", there, parameters);
  }

  private static void refuseSurplus(
      Path folder, String verb, Set<String> some, Set<String> others) {
    List<String> names = some.stream().filter(name -> !others.contains(name)).sorted().toList();
    if (!names.isEmpty()) {
      int more = names.size() - 3;
      throw new CheckpointException(
          "%s: the weights %s %s%s; configuration and weights must be of the same model"
              .formatted(
                  folder,
                  verb,
                  names.stream().limit(3).collect(Collectors.joining(", ")),
                  more > 0 ? " and " + more + " more" : ""));
    }
  }

  /** The parameter called {@code name}. */
  public ModelTensor tensor(String name) {
    return tensors.stream()
        .filter(tensor -> tensor.name().equals(name))
        .findFirst()
        .orElseThrow(() -> new IllegalArgumentException(name));
  }

  /** A model of this trunk with other exits and all its tensors, and so without a calibration. */
  public SourceModel withExits(ExitLayout exits, List<ModelTensor> all) {
    return withExits(exits, all, files);
  }

  /** As {@link #withExits(ExitLayout, List)}, with other files to close. */
  public SourceModel withExits(
      ExitLayout exits, List<ModelTensor> all, List<? extends AutoCloseable> open) {
    ObjectNode file = configFile.deepCopy();
    file.remove(HuggingFaceConfig.EARLY_EXIT);
    if (!exits.layers().isEmpty()) {
      file.set(HuggingFaceConfig.EARLY_EXIT, HeadFiles.json(exits));
    }
    HuggingFaceConfig other = config.withExits(exits);
    return new SourceModel(kind, folder, other, file, keepsConfig, all, open, Optional.empty());
  }

  /**
   * A copy that is to see texts of up to so many tokens; of a model with factors for short texts
   * and others for long ones, this tells which are taken.
   *
   * @throws SettingException if its positions are a table, or it was made for shorter texts
   */
  public SourceModel withMaxPositions(int positions) {
    ModelConfig model = architecture().model();
    if (model.positionEmbedding() == PositionEmbedding.LEARNED) {
      throw new SettingException(
          "max-positions",
          "the model has learned a table of %d positions; leave it out"
              .formatted(model.maxPositions()));
    }
    double longest =
        switch (model.ropeScaling()) {
          case RopeScaling.Linear(double factor) -> factor * madePositions();
          case RopeScaling.Yarn yarn ->
              Math.max(madePositions(), yarn.factor() * yarn.originalMaxPositions());
          default -> madePositions();
        };
    if (positions < 1 || positions > longest || positions > ModelConfig.MAX_POSITIONS) {
      throw new SettingException(
          "max-positions",
          "%d is outside 1..%.0f, the texts that the model was made for; use one of these"
              .formatted(positions, Math.min(longest, ModelConfig.MAX_POSITIONS)));
    }
    ObjectNode file = configFile.deepCopy();
    file.put(Family.MAX_POSITIONS, positions);
    JsonFields fields = new JsonFields(folder.toString(), file);
    ModelConfig other = Families.of(fields).model(fields).withDtype(model.dtype());
    HuggingFaceConfig all =
        new HuggingFaceConfig(
            new Architecture(other, architecture().exits()),
            config.bosTokenId(),
            config.eosTokenIds());
    return new SourceModel(kind, folder, all, file, keepsConfig, tensors, files, calibration);
  }

  /** The longest text that the model was made for, of which LongRoPE usually sees a part. */
  public int madePositions() {
    return configFile.path(Family.MADE_POSITIONS).asInt(architecture().model().maxPositions());
  }

  /** The longest text in files of other tools, which choose LongRoPE's factors by the text. */
  public int publishedPositions() {
    ModelConfig model = architecture().model();
    return model.ropeScaling() instanceof RopeScaling.LongRope
        ? madePositions()
        : model.maxPositions();
  }

  /** A copy with other fields in its file, and its tensors in other formats. */
  public SourceModel with(ObjectNode file, List<ModelTensor> all) {
    return new SourceModel(kind, folder, config, file, keepsConfig, all, files, calibration);
  }

  /** Bytes of all parameters. */
  public long byteSize() {
    return tensors.stream().mapToLong(ModelTensor::byteSize).sum();
  }

  @Override
  public void close() {
    for (AutoCloseable file : files) {
      try {
        file.close();
      } catch (Exception failure) {
        throw new IllegalStateException("an open file cannot be closed", failure);
      }
    }
  }
}
