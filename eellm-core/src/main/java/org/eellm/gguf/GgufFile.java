package org.eellm.gguf;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.Locale;
import java.util.SequencedMap;
import org.eellm.file.InputFiles;
import org.eellm.file.IoErrors;

/**
 * A GGUF file (versions 2 and 3, little-endian), mapped into memory as a whole: of the tensors
 * nothing is read before it is used. The file must not shrink while it is open.
 */
public final class GgufFile implements AutoCloseable {
  private final Path path;
  private final Arena arena;
  private final GgufMetadata metadata;
  private final SequencedMap<String, GgufTensor> tensors;

  private GgufFile(Path path, Arena arena, GgufHeader header) {
    this.path = path;
    this.arena = arena;
    this.metadata = new GgufMetadata(header.metadata());
    this.tensors = Collections.unmodifiableSequencedMap(header.tensors());
  }

  /** Whether a path is meant as such a file: a file whose name ends in {@code .gguf}. */
  public static boolean isOne(Path path) {
    Path name = path.getFileName();
    return name != null
        && name.toString().toLowerCase(Locale.ROOT).endsWith(".gguf")
        && Files.exists(path)
        && !Files.isDirectory(path);
  }

  /**
   * Maps a file and reads its header.
   *
   * @throws GgufException if the file cannot be read or breaks a rule of the format; the message
   *     names the file
   */
  public static GgufFile open(Path path) {
    Arena arena = Arena.ofShared();
    try (FileChannel channel = InputFiles.channel(path)) {
      MemorySegment file = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
      return new GgufFile(path, arena, GgufHeader.read(file));
    } catch (IOException failure) {
      arena.close();
      throw new GgufException(
          "%s: cannot be read: %s".formatted(path, IoErrors.reason(failure)), failure);
    } catch (GgufException failure) {
      arena.close();
      throw new GgufException(path + ": " + failure.getMessage(), failure);
    }
  }

  /** Where the file is. */
  public Path path() {
    return path;
  }

  /** The header's values. */
  public GgufMetadata metadata() {
    return metadata;
  }

  /** The tensors by name, in the header's order. */
  public SequencedMap<String, GgufTensor> tensors() {
    return tensors;
  }

  /** Unmaps the file; its tensors' bytes cannot be reached any more. */
  @Override
  public void close() {
    arena.close();
  }
}
