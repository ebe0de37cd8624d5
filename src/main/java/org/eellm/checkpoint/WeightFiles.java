package org.eellm.checkpoint;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The weights of a model folder in the Hugging Face layout, as one view over {@code
 * model.safetensors} or over the shards that {@code model.safetensors.index.json} names; with those
 * of {@code exits.safetensors}, if exits lie beside the trunk.
 */
public final class WeightFiles implements StoredWeights {
  static final String SINGLE = "model.safetensors";
  static final String INDEX = "model.safetensors.index.json";

  private static final Logger LOG = LoggerFactory.getLogger(WeightFiles.class);

  private final Path folder;
  private final List<SafetensorsFile> files;
  private final SequencedMap<String, StoredTensor> tensors;

  private WeightFiles(
      Path folder, List<SafetensorsFile> files, SequencedMap<String, StoredTensor> tensors) {
    this.folder = folder;
    this.files = files;
    this.tensors = Collections.unmodifiableSequencedMap(tensors);
  }

  /**
   * Maps all of a folder's weights. Where both layouts are present the single file is taken, as
   * other tools do.
   *
   * @throws CheckpointException if the folder has no weights, or a file is missing or malformed
   */
  public static WeightFiles open(Path folder) {
    WeightFiles trunk = openTrunk(folder);
    if (!ModelFiles.has(folder, HeadFiles.WEIGHTS)) {
      return trunk;
    }
    try {
      SafetensorsFile heads = SafetensorsFile.open(ModelFiles.file(folder, HeadFiles.WEIGHTS));
      SequencedMap<String, StoredTensor> all = new LinkedHashMap<>(trunk.tensors);
      List<SafetensorsFile> files = new ArrayList<>(trunk.files);
      files.add(heads);
      addAll(heads, all);
      return new WeightFiles(folder, files, all);
    } catch (RuntimeException failure) {
      trunk.close();
      throw failure;
    }
  }

  private static WeightFiles openTrunk(Path folder) {
    if (ModelFiles.has(folder, SINGLE)) {
      if (ModelFiles.has(folder, INDEX)) {
        LOG.warn("{}: reading {}, not the shards of {}", folder, SINGLE, INDEX);
      }
      SafetensorsFile file = SafetensorsFile.open(ModelFiles.file(folder, SINGLE));
      return new WeightFiles(folder, List.of(file), file.tensors());
    }
    if (ModelFiles.has(folder, INDEX)) {
      return openShards(folder);
    }
    throw new CheckpointException(
        "%s: has neither %s nor %s; give a model folder with safetensors weights"
            .formatted(folder, SINGLE, INDEX));
  }

  private static WeightFiles openShards(Path folder) {
    ShardIndex index = ShardIndex.read(folder, INDEX);
    List<SafetensorsFile> files = new ArrayList<>();
    SequencedMap<String, StoredTensor> tensors = new LinkedHashMap<>();
    try {
      for (Path shard : index.namesByShard().keySet()) {
        SafetensorsFile file = SafetensorsFile.open(shard);
        files.add(file);
        index.requireTensors(shard, file.tensors().keySet());
        addAll(file, tensors);
      }
      return new WeightFiles(folder, files, tensors);
    } catch (RuntimeException failure) {
      files.forEach(SafetensorsFile::close);
      throw failure;
    }
  }

  private static void addAll(SafetensorsFile file, Map<String, StoredTensor> tensors) {
    for (Map.Entry<String, StoredTensor> tensor : file.tensors().entrySet()) {
      if (tensors.putIfAbsent(tensor.getKey(), tensor.getValue()) != null) {
        throw new CheckpointException(
            "%s: tensor '%s' is in another shard too; keep one of them"
                .formatted(file.path(), tensor.getKey()));
      }
    }
  }

  @Override
  public Path folder() {
    return folder;
  }

  @Override
  public SequencedMap<String, StoredTensor> tensors() {
    return tensors;
  }

  /**
   * The tensor called {@code name}.
   *
   * @throws CheckpointException if there is none
   */
  public StoredTensor tensor(String name) {
    StoredTensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new CheckpointException("%s: the weights have no tensor '%s'".formatted(folder, name));
    }
    return tensor;
  }

  /** Unmaps the files; the tensors' bytes cannot be reached any more. */
  @Override
  public void close() {
    files.forEach(SafetensorsFile::close);
  }
}
