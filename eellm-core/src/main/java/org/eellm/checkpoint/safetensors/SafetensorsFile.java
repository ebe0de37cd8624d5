package org.eellm.checkpoint.safetensors;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SequencedMap;
import org.eellm.file.InputFiles;

/**
 * A safetensors file, mapped into memory as a whole: nothing is read before it is used, and files
 * beyond 2 GB are as any other.
 *
 * <p>The file must not shrink while it is open.
 */
public final class SafetensorsFile implements AutoCloseable {
  private static final ValueLayout.OfLong LENGTH =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final String COPY_AGAIN = "; copy or download the file again";

  private final Path path;
  private final Arena arena;
  private final Map<String, String> metadata;
  private final SequencedMap<String, StoredTensor> tensors;

  private SafetensorsFile(
      Path path,
      Arena arena,
      Map<String, String> metadata,
      SequencedMap<String, StoredTensor> all) {
    this.path = path;
    this.arena = arena;
    this.metadata = Collections.unmodifiableMap(metadata);
    this.tensors = Collections.unmodifiableSequencedMap(all);
  }

  /**
   * Maps a file and reads its header.
   *
   * @throws CheckpointException if the file cannot be read or breaks a rule of the format
   */
  public static SafetensorsFile open(Path path) {
    Arena arena = Arena.ofShared();
    try (FileChannel channel = InputFiles.channel(path)) {
      return read(
          path, arena, channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena));
    } catch (IOException failure) {
      arena.close();
      throw CheckpointException.unreadable(path, failure);
    } catch (CheckpointException failure) {
      arena.close();
      throw new CheckpointException(path + ": " + failure.getMessage() + COPY_AGAIN, failure);
    }
  }

  private static SafetensorsFile read(Path path, Arena arena, MemorySegment file) {
    long size = file.byteSize();
    if (size < LENGTH.byteSize()) {
      throw new CheckpointException(
          "has %d bytes; a safetensors file begins with an 8-byte header length".formatted(size));
    }
    long headerSize = file.get(LENGTH, 0);
    if (headerSize < 0 || headerSize > SafetensorsHeader.MAX_BYTES) {
      throw new CheckpointException(
          "the header's length %s is beyond the format's limit of %d bytes; no safetensors file"
              .formatted(Long.toUnsignedString(headerSize), SafetensorsHeader.MAX_BYTES));
    }
    long dataStart = LENGTH.byteSize() + headerSize;
    if (dataStart > size) {
      throw new CheckpointException(
          "the header's length %d is beyond the file's %d bytes; the file is truncated"
              .formatted(headerSize, size));
    }
    SafetensorsHeader header =
        SafetensorsHeader.parse(
            file.asSlice(LENGTH.byteSize(), headerSize).asByteBuffer(), size - dataStart);
    SequencedMap<String, StoredTensor> tensors = new LinkedHashMap<>();
    for (SafetensorsHeader.Entry entry : header.tensors()) {
      MemorySegment bytes = file.asSlice(dataStart + entry.begin(), entry.end() - entry.begin());
      tensors.put(entry.name(), new StoredTensor(entry.type(), entry.shape(), bytes));
    }
    return new SafetensorsFile(path, arena, header.metadata(), tensors);
  }

  /** Where the file is. */
  public Path path() {
    return path;
  }

  /** The header's free texts. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** The tensors by name, in the order of their data. */
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
      throw new CheckpointException("%s: has no tensor '%s'".formatted(path, name));
    }
    return tensor;
  }

  /** Unmaps the file; its tensors' bytes cannot be reached any more. */
  @Override
  public void close() {
    arena.close();
  }
}
