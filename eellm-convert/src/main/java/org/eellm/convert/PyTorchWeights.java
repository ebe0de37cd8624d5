package org.eellm.convert;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.Consumer;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.ModelFiles;
import org.eellm.checkpoint.safetensors.ShardIndex;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.StoredWeights;

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
    if (ModelFiles.has(folder, SINGLE)) {
      return open(folder, List.of(ModelFiles.file(folder, SINGLE)), names -> {});
    }
    ShardIndex index = ShardIndex.read(folder, INDEX);
    Set<Path> shards = index.namesByShard().keySet();
    return open(
        folder, shards, names -> shards.forEach(shard -> index.requireTensors(shard, names)));
  }

  /**
   * Maps files; if they are not what they should be, none stays open.
   *
   * @param check of the names that they have together
   */
  private static PyTorchWeights open(
      Path folder, Collection<Path> paths, Consumer<Set<String>> check) {
    List<PyTorchFile> files = new ArrayList<>();
    SequencedMap<String, StoredTensor> tensors = new LinkedHashMap<>();
    try {
      for (Path path : paths) {
        PyTorchFile file = PyTorchFile.open(path);
        files.add(file);
        add(file, tensors);
      }
      check.accept(tensors.keySet());
      return new PyTorchWeights(folder, files, tensors);
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
