package org.eellm.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.TreeMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The weights of a model folder in the Hugging Face layout, as one view over {@code
 * model.safetensors} or over the shards that {@code model.safetensors.index.json} names.
 */
public final class WeightFiles implements AutoCloseable {
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
    Path single = folder.resolve(SINGLE);
    Path index = folder.resolve(INDEX);
    if (Files.exists(single)) {
      if (Files.exists(index)) {
        LOG.warn("{}: reading {}, not the shards of {}", folder, SINGLE, INDEX);
      }
      SafetensorsFile file = SafetensorsFile.open(single);
      return new WeightFiles(folder, List.of(file), file.tensors());
    }
    if (Files.exists(index)) {
      return openShards(folder, index);
    }
    throw new CheckpointException(
        "%s: has neither %s nor %s; give a model folder with safetensors weights"
            .formatted(folder, SINGLE, INDEX));
  }

  private static WeightFiles openShards(Path folder, Path index) {
    Map<String, List<String>> namesByShard = namesByShard(index);
    List<SafetensorsFile> files = new ArrayList<>();
    SequencedMap<String, StoredTensor> tensors = new LinkedHashMap<>();
    try {
      for (Map.Entry<String, List<String>> shard : namesByShard.entrySet()) {
        SafetensorsFile file = openShard(folder, index, shard.getKey());
        files.add(file);
        for (String name : shard.getValue()) {
          if (!file.tensors().containsKey(name)) {
            throw new CheckpointException(
                "%s: has no tensor '%s', which %s places there; download the model again"
                    .formatted(file.path(), name, index));
          }
        }
        for (Map.Entry<String, StoredTensor> tensor : file.tensors().entrySet()) {
          if (tensors.putIfAbsent(tensor.getKey(), tensor.getValue()) != null) {
            throw new CheckpointException(
                "%s: tensor '%s' is in another shard too; keep one of them"
                    .formatted(file.path(), tensor.getKey()));
          }
        }
      }
      return new WeightFiles(folder, files, tensors);
    } catch (RuntimeException failure) {
      files.forEach(SafetensorsFile::close);
      throw failure;
    }
  }

  private static Map<String, List<String>> namesByShard(Path index) {
    JsonNode weightMap = JsonFiles.read(index).path("weight_map");
    if (!weightMap.isObject() || weightMap.isEmpty()) {
      throw new CheckpointException(
          index + ": weight_map is no object of tensor and file names; download the file again");
    }
    Map<String, List<String>> namesByShard = new TreeMap<>();
    for (Map.Entry<String, JsonNode> entry : weightMap.properties()) {
      if (!entry.getValue().isTextual()) {
        throw new CheckpointException(
            "%s: weight_map.%s is %s, which is no file name"
                .formatted(index, entry.getKey(), entry.getValue()));
      }
      namesByShard
          .computeIfAbsent(entry.getValue().textValue(), _ -> new ArrayList<>())
          .add(entry.getKey());
    }
    return namesByShard;
  }

  private static SafetensorsFile openShard(Path folder, Path index, String shard) {
    if (!shard.matches("[^/\\\\\\p{Cntrl}]+") || shard.equals(".") || shard.equals("..")) {
      throw new CheckpointException(
          "%s: weight_map names the file '%s'; a plain name of a file in the same folder is allowed"
              .formatted(index, shard.replaceAll("\\p{Cntrl}", "?")));
    }
    Path path = folder.resolve(shard);
    if (!Files.exists(path)) {
      throw new CheckpointException(
          "%s: is missing, though %s names it; download the whole model".formatted(path, index));
    }
    return SafetensorsFile.open(path);
  }

  /** The model folder. */
  public Path folder() {
    return folder;
  }

  /** All tensors by name. */
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
