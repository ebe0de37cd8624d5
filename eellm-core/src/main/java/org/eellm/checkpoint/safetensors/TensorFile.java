package org.eellm.checkpoint.safetensors;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.eellm.file.FileChecksum;

/**
 * A safetensors file that is yet to be written: a rank's part of a checkpoint.
 *
 * @param name its path within the checkpoint
 * @param metadata free texts for its header
 */
public record TensorFile(String name, Map<String, String> metadata, List<TensorSource> tensors) {
  public TensorFile {
    metadata = Map.copyOf(metadata);
    tensors = List.copyOf(tensors);
  }

  /**
   * Writes it and waits until it is on the disk.
   *
   * @return its checksum
   * @throws CheckpointException as {@link SafetensorsWriter#write}
   */
  public FileChecksum write(Path checkpoint) throws IOException {
    Path path = checkpoint.resolve(name);
    Files.createDirectories(path.getParent());
    return SafetensorsWriter.write(path, metadata, tensors);
  }

  /** A copy of the file with the tensors as they are now, whatever happens to them afterwards. */
  public TensorFile copied(Arena arena) {
    List<TensorSource> copies = new ArrayList<>();
    for (TensorSource tensor : tensors) {
      copies.add(copied(tensor, arena));
    }
    return new TensorFile(name, metadata, copies);
  }

  private static TensorSource copied(TensorSource tensor, Arena arena) {
    long size = tensor.type().byteSize(tensor.shape());
    MemorySegment copy = arena.allocate(size, Long.BYTES);
    long[] filled = {0};
    try {
      tensor
          .content()
          .writeTo(
              bytes -> {
                MemorySegment.copy(bytes, 0, copy, filled[0], bytes.byteSize());
                filled[0] += bytes.byteSize();
              });
    } catch (IOException impossible) {
      throw new IllegalStateException("memory cannot fail to be read", impossible);
    }
    return TensorSource.of(tensor.name(), tensor.type(), tensor.shape(), copy);
  }
}
