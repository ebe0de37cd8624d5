package org.eellm.checkpoint;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.checkpoint.safetensors.ModelFiles;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.gguf.GgufFile;
import org.eellm.kernel.weight.WeightRows;
import org.eellm.model.Decoder;
import org.eellm.model.parameter.Parameter;
import org.eellm.model.parameter.ParameterLayout;
import org.eellm.model.parameter.ParameterSpec;

/**
 * A draft head beside its model, or apart from it as a run has tuned it: {@code
 * draft_head.safetensors} has the tensors {@code draft_head.*}, and {@code draft_head.json} the
 * checksum of the trunk that they were made for.
 */
public final class DraftHeadFiles {
  static final String DESCRIPTION = "draft_head.json";
  private static final String WEIGHTS = WeightFiles.single(Learning.DRAFT_HEAD);

  /** The files beside a model that are its draft head. */
  public static final List<String> NAMES = List.of(WEIGHTS, DESCRIPTION);

  private DraftHeadFiles() {}

  /** The content of {@code draft_head.json}. */
  private record Trunk(String trunk) {}

  /** Whether a folder has such files. */
  static boolean isIn(Path folder) {
    return Files.exists(folder.resolve(DESCRIPTION));
  }

  /**
   * Writes what the draft head in a folder is.
   *
   * @param trunkChecksum of its trunk
   */
  public static void describe(Path folder, String trunkChecksum) throws IOException {
    JsonFiles.write(folder.resolve(DESCRIPTION), new Trunk(trunkChecksum));
  }

  /** Fills a model's draft head from a checkpoint. */
  public static void load(Path folder, Decoder model) {
    try (SafetensorsFile file = SafetensorsFile.open(ModelFiles.file(folder, WEIGHTS))) {
      for (Parameter parameter : model.parameters().trainable()) {
        String name = parameter.name();
        NamedTensors.copy(file.path(), name, file.tensor(name), parameter, 0, 1);
      }
    }
  }

  /**
   * Adds the weights in a model folder's file to those of the model.
   *
   * @return closes the file
   * @throws CheckpointException if they are of another shape
   */
  static Runnable open(Path folder, ModelConfig model, Map<String, WeightRows> weights) {
    SafetensorsFile file = SafetensorsFile.open(ModelFiles.file(folder, WEIGHTS));
    try {
      for (List<ParameterSpec> group : ParameterLayout.draftHead(model)) {
        for (ParameterSpec spec : group) {
          StoredTensor stored = file.tensor(spec.name());
          ModelWeights.requireShape(file.path(), spec.name(), stored, spec.shape());
          weights.put(
              spec.name(), ModelWeights.rows(file.path(), spec.name(), stored, Arena.global()));
        }
      }
      return file::close;
    } catch (RuntimeException failure) {
      file.close();
      throw failure;
    }
  }

  /**
   * Puts a tuned draft head beside its model, in the place of one that is there.
   *
   * @param tuned folder of the head, or the output of the run that tuned it
   * @return the model's folder
   * @throws CheckpointException if there is none, or it was made for another trunk or by another
   *     program
   */
  public static Path put(ModelFolder model, Path tuned) throws IOException {
    Path folder = model.folder();
    if (GgufFile.isOne(folder)) {
      throw new CheckpointException(
          folder + ": a draft head lies in a model folder; make one with eellm convert");
    }
    refuseForeign(tuned);
    Path from = CheckpointStore.resolveDraftHead(tuned);
    String trunk = JsonFiles.read(from.resolve(DESCRIPTION), Trunk.class).trunk();
    model.requireTrunk(trunk, from, "this draft head was", "it was");
    for (String name : NAMES) {
      Path part = folder.resolve(name + ".part");
      Files.copy(from.resolve(name), part, StandardCopyOption.REPLACE_EXISTING);
      CheckpointIntegrity.forget(folder, name);
      Files.move(part, folder.resolve(name), StandardCopyOption.REPLACE_EXISTING);
      CheckpointIntegrity.add(folder, name);
    }
    return folder;
  }

  /** Others' heads read other states, or have other norms: EAGLE's, and those of MTP. */
  private static void refuseForeign(Path folder) {
    Path config = folder.resolve("config.json");
    if (Files.exists(config) && !isIn(folder)) {
      throw new CheckpointException(
          "%s: %s is not eellm's draft head, and heads of other layouts (EAGLE, MTP) are not read; make one with eellm tune --preset tune-draft-head"
              .formatted(config, JsonFiles.read(config).path("architectures")));
    }
  }
}
