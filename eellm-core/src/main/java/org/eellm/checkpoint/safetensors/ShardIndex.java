package org.eellm.checkpoint.safetensors;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import java.util.TreeMap;

/**
 * A file that says which shard has which tensor.
 *
 * @param file the index
 * @param namesByShard the tensors' names by the shard's path, which is there
 */
public record ShardIndex(Path file, SequencedMap<Path, List<String>> namesByShard) {

  /**
   * Reads an index and checks that its shards are there.
   *
   * @throws CheckpointException if it is malformed, or a shard is missing or elsewhere
   */
  public static ShardIndex read(Path folder, String name) {
    Path index = ModelFiles.file(folder, name);
    JsonNode weightMap = JsonFiles.read(index).path("weight_map");
    if (!weightMap.isObject() || weightMap.isEmpty()) {
      throw new CheckpointException(
          index + ": weight_map is no object of tensor and file names; download the file again");
    }
    TreeMap<Path, List<String>> namesByShard = new TreeMap<>();
    for (Map.Entry<String, JsonNode> entry : weightMap.properties()) {
      if (!entry.getValue().isTextual()) {
        throw new CheckpointException(
            "%s: weight_map.%s is %s, which is no file name"
                .formatted(index, entry.getKey(), entry.getValue()));
      }
      namesByShard
          .computeIfAbsent(
              shard(folder, index, entry.getValue().textValue()), _ -> new ArrayList<>())
          .add(entry.getKey());
    }
    return new ShardIndex(index, namesByShard);
  }

  private static Path shard(Path folder, Path index, String shard) {
    if (!shard.matches("[^/\\\\\\p{Cntrl}]+") || shard.equals(".") || shard.equals("..")) {
      throw new CheckpointException(
          "%s: weight_map names the file '%s'; a plain name of a file in the same folder is allowed"
              .formatted(index, shard.replaceAll("\\p{Cntrl}", "?")));
    }
    if (!Files.exists(folder.resolve(shard))) {
      throw new CheckpointException(
          "%s: is missing, though %s names it; download the whole model"
              .formatted(folder.resolve(shard), index));
    }
    return ModelFiles.file(folder, shard);
  }

  /**
   * @throws CheckpointException if a shard lacks a tensor that the index places there
   */
  public void requireTensors(Path shard, Set<String> there) {
    for (String name : namesByShard.getOrDefault(shard, List.of())) {
      if (!there.contains(name)) {
        throw new CheckpointException(
            "%s: has no tensor '%s', which %s places there; download the model again"
                .formatted(shard, name, file));
      }
    }
  }
}
