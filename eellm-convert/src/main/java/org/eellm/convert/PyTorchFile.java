package org.eellm.convert;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Enumeration;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.zip.ZipEntry;
import org.apache.commons.compress.archivers.zip.ZipArchiveEntry;
import org.apache.commons.compress.archivers.zip.ZipFile;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.file.InputFiles;
import org.eellm.file.IoErrors;

/**
 * A file of {@code torch.save} in its zip format (PyTorch 1.6 and later), mapped into memory: a
 * pickle that says what there is, and the tensors' numbers, of which nothing is read before it is
 * used. Nothing in it is executed, see {@link Unpickler}.
 *
 * @param arena where copies of tensors may live until the file is closed
 * @param root the pickled value
 */
record PyTorchFile(Path path, Arena arena, Pickled root) implements AutoCloseable {
  private static final long MAX_PICKLE_BYTES = 64 << 20;
  private static final String PICKLE = "data.pkl";
  private static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;

  /**
   * Maps a file and reads its pickle.
   *
   * @throws CheckpointException if the file cannot be read, is damaged, or its pickle holds what
   *     checkpoints of weights do not
   */
  static PyTorchFile open(Path path) {
    Arena arena = Arena.ofShared();
    try (FileChannel channel = InputFiles.channel(path)) {
      MemorySegment file = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
      requireZip(file);
      return new PyTorchFile(path, arena, read(file, entries(path, file)));
    } catch (IOException failure) {
      arena.close();
      throw CheckpointException.unreadable(path, failure);
    } catch (CheckpointException failure) {
      arena.close();
      throw new CheckpointException(path + ": " + failure.getMessage(), failure);
    }
  }

  private static void requireZip(MemorySegment file) {
    byte[] start = file.asSlice(0, Math.min(4, file.byteSize())).toArray(BYTE);
    if (start.length == 4 && start[0] == 'P' && start[1] == 'K') {
      return;
    }
    throw new CheckpointException(
        start.length == 4 && (start[0] & 0xff) == 0x80
            ? "is in PyTorch's format from before 1.6; load it there and torch.save it again"
            : "is no file of torch.save: it does not begin as a zip file");
  }

  /** The archive's files by the name behind the folder they all lie in. */
  private static Map<String, MemorySegment> entries(Path path, MemorySegment file)
      throws IOException {
    Map<String, MemorySegment> entries = new HashMap<>();
    try (ZipFile zip = ZipFile.builder().setPath(path).get()) {
      for (Enumeration<ZipArchiveEntry> all = zip.getEntries(); all.hasMoreElements(); ) {
        ZipArchiveEntry entry = all.nextElement();
        if (entry.isDirectory()) {
          continue;
        }
        String name = entry.getName();
        long begin = entry.getDataOffset();
        long size = entry.getSize();
        if (entry.getMethod() != ZipEntry.STORED) {
          throw new CheckpointException("holds a compressed file; torch.save writes none");
        }
        if (begin < 0 || size < 0 || size > file.byteSize() - begin) {
          throw new CheckpointException(
              "an entry of %d bytes reaches beyond the file's %d; the file is truncated"
                  .formatted(size, file.byteSize()));
        }
        entries.put(name.substring(name.indexOf('/') + 1), file.asSlice(begin, size));
      }
    } catch (IOException | IllegalArgumentException | ArithmeticException failure) {
      throw new CheckpointException("is a damaged zip file; copy or download it again", failure);
    }
    return entries;
  }

  private static Pickled read(MemorySegment file, Map<String, MemorySegment> entries) {
    MemorySegment pickle =
        Optional.ofNullable(entries.get(PICKLE))
            .orElseThrow(() -> new CheckpointException("has no " + PICKLE + ": no torch.save"));
    if (pickle.byteSize() > MAX_PICKLE_BYTES) {
      throw new CheckpointException(
          "%s has %s; a checkpoint's is small"
              .formatted(PICKLE, IoErrors.bytes(pickle.byteSize())));
    }
    MemorySegment order = entries.getOrDefault("byteorder", file.asSlice(0, 0));
    if (new String(order.toArray(BYTE), StandardCharsets.US_ASCII).strip().equals("big")) {
      throw new CheckpointException("has big-endian numbers; save it on a little-endian machine");
    }
    return Unpickler.read(
        pickle.asByteBuffer(),
        key -> {
          MemorySegment bytes = entries.get("data/" + key.key());
          if (bytes == null) {
            throw new CheckpointException("a storage that the pickle names is not there");
          }
          if (key.count() < 0 || key.count() > bytes.byteSize() * 8 / key.type().bits()) {
            throw new CheckpointException(
                "a storage is to have %d numbers of %s, but has %d bytes; the file is truncated"
                    .formatted(key.count(), key.type(), bytes.byteSize()));
          }
          return new Pickled.Storage(
              key.type(), bytes.asSlice(0, key.count() * key.type().bits() / 8));
        });
  }

  /** Unmaps the file; its tensors' bytes cannot be reached any more. */
  @Override
  public void close() {
    arena.close();
  }
}
