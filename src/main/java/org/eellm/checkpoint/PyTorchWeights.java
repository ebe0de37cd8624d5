package org.eellm.checkpoint;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * The weights of a model folder that {@code torch.save} wrote: {@code pytorch_model.bin}, or the
 * shards that {@code pytorch_model.bin.index.json} names.
 */
final class PyTorchWeights implements StoredWeights {
  static final String SINGLE = "pytorch_model.bin";
  static final String INDEX = "pytorch_model.bin.index.json";

  private final Path folder;
  private final List<PyTorchFile> files;
  private final SequencedMap<String, StoredTensor> tensors;

  private PyTorchWeights(
      Path folder, List<PyTorchFile> files, SequencedMap<String, StoredTensor> tensors) {
    this.folder = folder;
    this.files = files;
    this.tensors = Collections.unmodifiableSequencedMap(tensors);
  }

  /** Whether a folder has such weights. */
  static boolean in(Path folder) {
    return ModelFiles.has(folder, SINGLE) || ModelFiles.has(folder, INDEX);
  }

  /**
   * Maps a folder's files.
   *
   * @throws CheckpointException if one is missing or malformed
   */
  static PyTorchWeights open(Path folder) {
    return ModelFiles.has(folder, SINGLE) ? openSingle(folder) : openShards(folder);
  }

  private static PyTorchWeights openSingle(Path folder) {
    SequencedMap<String, StoredTensor> tensors = new LinkedHashMap<>();
    List<PyTorchFile> files = new ArrayList<>();
    add(ModelFiles.file(folder, SINGLE), files, tensors);
    return new PyTorchWeights(folder, files, tensors);
  }

  private static PyTorchWeights openShards(Path folder) {
    ShardIndex index = ShardIndex.read(folder, INDEX);
    List<PyTorchFile> files = new ArrayList<>();
    SequencedMap<String, StoredTensor> tensors = new LinkedHashMap<>();
    for (Path shard : index.namesByShard().keySet()) {
      add(shard, files, tensors);
    }
    index.namesByShard().keySet().forEach(shard -> index.requireTensors(shard, tensors.keySet()));
    return new PyTorchWeights(folder, files, tensors);
  }

  /** Opens a file and adds its tensors; closes all files if that fails. */
  private static void add(Path path, List<PyTorchFile> files, Map<String, StoredTensor> tensors) {
    try {
      PyTorchFile file = PyTorchFile.open(path);
      files.add(file);
      add(file, tensors);
    } catch (RuntimeException failure) {
      files.forEach(PyTorchFile::close);
      throw failure;
    }
  }

  private static void add(PyTorchFile file, Map<String, StoredTensor> tensors) {
    if (!(file.root() instanceof Pickled.Dict(Map<Pickled, Pickled> entries))) {
      throw new CheckpointException(file.path() + ": holds no dictionary of tensors");
    }
    entries.forEach(
        (key, value) -> {
          if (!(key instanceof Pickled.Text(String name))
              || !(value instanceof Pickled.TensorView view)) {
            throw new CheckpointException(
                "%s: %s is no tensor; a dictionary of names and tensors is read"
                    .formatted(
                        file.path(),
                        key instanceof Pickled.Text(String text) ? "'" + text + "'" : "an entry"));
          }
          if (tensors.putIfAbsent(name, view.stored(file.arena())) != null) {
            throw new CheckpointException(
                "%s: tensor '%s' is in another shard too; keep one of them"
                    .formatted(file.path(), name));
          }
        });
  }

  @Override
  public Path folder() {
    return folder;
  }

  @Override
  public SequencedMap<String, StoredTensor> tensors() {
    return tensors;
  }

  @Override
  public void close() {
    files.forEach(PyTorchFile::close);
  }
}
