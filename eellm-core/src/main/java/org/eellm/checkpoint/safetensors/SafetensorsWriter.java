package org.eellm.checkpoint.safetensors;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.zip.CRC32C;
import org.eellm.file.FileChecksum;
import org.eellm.file.IoErrors;

/** Writes safetensors files in one pass, with no more than one tensor's piece in memory. */
public final class SafetensorsWriter {
  /** Heap bytes pass through a buffer of this size on their way to the file. */
  private static final long CHUNK_BYTES = 8 << 20;

  private SafetensorsWriter() {}

  /**
   * Writes a new file and waits until it is on the disk.
   *
   * <p>The checksum is of the bytes in memory: a disk that keeps others is found out.
   *
   * @param metadata free texts for the header
   * @param tensors in the order their data will have
   * @return the checksum of what was written
   * @throws CheckpointException if the file exists or cannot be written whole, for example for want
   *     of space; what was written of it is left to the caller to remove
   * @throws IllegalArgumentException if a name comes twice or a tensor gives more or fewer bytes
   *     than its type and shape say
   */
  public static FileChecksum write(
      Path path, Map<String, String> metadata, List<TensorSource> tensors) {
    List<SafetensorsHeader.Entry> entries = layOut(tensors);
    byte[] header = SafetensorsHeader.format(metadata, entries);
    long dataSize = entries.isEmpty() ? 0 : entries.getLast().end();
    long fileSize = Long.BYTES + header.length + dataSize;
    try (FileChannel channel =
        FileChannel.open(path, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      ByteBuffer start = ByteBuffer.allocate(Long.BYTES + header.length);
      start.order(ByteOrder.LITTLE_ENDIAN).putLong(header.length).put(header).flip();
      CRC32C crc = new CRC32C();
      writeFully(channel, crc, start);
      for (TensorSource tensor : tensors) {
        writeTensor(channel, crc, tensor);
      }
      channel.force(true);
      return FileChecksum.of(fileSize, crc);
    } catch (FileAlreadyExistsException failure) {
      throw new CheckpointException(path + ": exists already; remove it or name another", failure);
    } catch (IOException failure) {
      throw new CheckpointException(
          "%s: cannot be written: %s (needs %s, %s)"
              .formatted(
                  path,
                  IoErrors.reason(failure),
                  IoErrors.bytes(fileSize),
                  IoErrors.freeSpace(path)),
          failure);
    }
  }

  private static List<SafetensorsHeader.Entry> layOut(List<TensorSource> tensors) {
    List<SafetensorsHeader.Entry> entries = new ArrayList<>(tensors.size());
    Set<String> names = new HashSet<>();
    long end = 0;
    for (TensorSource tensor : tensors) {
      if (tensor.name().equals(SafetensorsHeader.METADATA) || !names.add(tensor.name())) {
        throw new IllegalArgumentException("tensor name '" + tensor.name() + "' is taken");
      }
      long begin = end;
      end = Math.addExact(begin, tensor.type().byteSize(tensor.shape()));
      entries.add(
          new SafetensorsHeader.Entry(tensor.name(), tensor.type(), tensor.shape(), begin, end));
    }
    return entries;
  }

  private static void writeTensor(FileChannel channel, CRC32C crc, TensorSource tensor)
      throws IOException {
    long begin = channel.position();
    tensor.content().writeTo(bytes -> writeFully(channel, crc, bytes));
    long written = channel.position() - begin;
    long expected = tensor.type().byteSize(tensor.shape());
    if (written != expected) {
      throw new IllegalArgumentException(
          "tensor '%s' gave %d bytes; %s of shape %s has %d"
              .formatted(tensor.name(), written, tensor.type(), tensor.shape(), expected));
    }
  }

  private static void writeFully(FileChannel channel, CRC32C crc, MemorySegment bytes)
      throws IOException {
    for (long offset = 0; offset < bytes.byteSize(); offset += CHUNK_BYTES) {
      long length = Math.min(CHUNK_BYTES, bytes.byteSize() - offset);
      writeFully(channel, crc, bytes.asSlice(offset, length).asByteBuffer());
    }
  }

  private static void writeFully(FileChannel channel, CRC32C crc, ByteBuffer bytes)
      throws IOException {
    crc.update(bytes.duplicate());
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }
}
