package org.eellm.convert;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.ModelTensor.Origin;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.Checksums;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.file.IoErrors;

/**
 * A file of tensors that is written one tensor after another, and then read back.
 *
 * @param path the file
 * @param start its bytes before the first tensor
 * @param places the tensors
 */
record ConversionFile(Path path, byte[] start, List<Place> places) {
  private static final int CHUNK_BYTES = 8 << 20;

  /**
   * Where a tensor goes.
   *
   * @param offset from the file's beginning
   * @param size in bytes
   * @param tensor what it is made of
   * @param content its bytes, in the format of the file
   */
  record Place(
      String name, long offset, long size, ModelTensor tensor, TensorSource.Content content) {}

  /** Told of bytes that are done. */
  interface Listener {
    void done(long bytes);
  }

  private long fileSize() {
    return places.isEmpty() ? start.length : places.getLast().offset() + places.getLast().size();
  }

  /**
   * Writes all tensors, then reads them back.
   *
   * @return a record for every tensor, in order
   * @throws CheckpointException if it cannot be written or does not read back as it was written
   */
  List<TensorRecord> write(Listener listener) {
    try {
      List<TensorRecord> records = new ArrayList<>();
      try (FileChannel channel =
          FileChannel.open(
              path,
              StandardOpenOption.CREATE,
              StandardOpenOption.TRUNCATE_EXISTING,
              StandardOpenOption.WRITE)) {
        writeFully(channel, ByteBuffer.wrap(start), 0);
        for (Place place : places) {
          records.add(write(channel, place));
          listener.done(place.size());
        }
        if (channel.size() < fileSize()) { // padding behind the last tensor
          writeFully(channel, ByteBuffer.allocate(1), fileSize() - 1);
        }
        channel.force(true);
      }
      requireReadBack(records);
      return records;
    } catch (IOException failure) {
      throw new CheckpointException(
          "%s: cannot be written: %s (needs %s, %s); then run the command again"
              .formatted(
                  path,
                  IoErrors.reason(failure),
                  IoErrors.bytes(fileSize()),
                  IoErrors.freeSpace(path)),
          failure);
    }
  }

  private static Map<String, String> origins(ModelTensor tensor) {
    Map<String, String> origins = new LinkedHashMap<>();
    for (Origin origin : tensor.origins()) {
      origins.put(origin.name(), Checksums.of(origin.file()));
    }
    return origins;
  }

  private TensorRecord write(FileChannel channel, Place place) throws IOException {
    MessageDigest digest = Checksums.start();
    long[] at = {place.offset()};
    long end = place.offset() + place.size();
    place
        .content()
        .writeTo(
            bytes -> {
              if (at[0] + bytes.byteSize() > end) {
                throw new IllegalStateException(place.name() + " gives too many bytes");
              }
              Checksums.add(digest, bytes);
              for (long done = 0; done < bytes.byteSize(); done += CHUNK_BYTES) {
                long length = Math.min(CHUNK_BYTES, bytes.byteSize() - done);
                writeFully(channel, bytes.asSlice(done, length).asByteBuffer(), at[0] + done);
              }
              at[0] += bytes.byteSize();
            });
    if (at[0] != end) {
      throw new IllegalStateException(place.name() + " gives too few bytes");
    }
    return new TensorRecord(
        place.name(), Checksums.end(digest), origins(place.tensor()), place.tensor().notFinite());
  }

  private static void writeFully(FileChannel channel, ByteBuffer bytes, long offset)
      throws IOException {
    long at = offset;
    while (bytes.hasRemaining()) {
      at += channel.write(bytes, at);
    }
  }

  private void requireReadBack(List<TensorRecord> records) throws IOException {
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ);
        Arena arena = Arena.ofConfined()) {
      MemorySegment file = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
      for (int i = 0; i < places.size(); i++) {
        Place place = places.get(i);
        String there = Checksums.of(file.asSlice(place.offset(), place.size()));
        if (!there.equals(records.get(i).sha256())) {
          throw new CheckpointException(
              "%s: tensor %s does not read back as it was written; check the disk and convert again"
                  .formatted(path, place.name()));
        }
      }
    }
  }
}
