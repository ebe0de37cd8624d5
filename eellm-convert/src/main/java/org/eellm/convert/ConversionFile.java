package org.eellm.convert;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
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
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.file.IoErrors;

/**
 * A file of tensors that is written one tensor after another and, if it was cut off, from where it
 * was: a journal beside it says which tensors are whole, and what both sides' checksums were.
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

  private Path journal() {
    return path.resolveSibling(path.getFileName() + ".journal");
  }

  private long fileSize() {
    return places.isEmpty() ? start.length : places.getLast().offset() + places.getLast().size();
  }

  /**
   * Writes what is not there yet, then reads all of it back.
   *
   * @return a record for every tensor, in order
   * @throws CheckpointException if it cannot be written or does not read back as it was written
   */
  List<TensorRecord> write(Listener listener) {
    try {
      Map<String, TensorRecord> whole = wholeTensors();
      List<TensorRecord> records = new ArrayList<>();
      try (FileChannel channel =
          FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
        writeFully(channel, ByteBuffer.wrap(start), 0);
        for (Place place : places) {
          TensorRecord record = whole.get(place.name());
          if (record == null) {
            record = write(channel, place);
            append(record);
          }
          records.add(record);
          listener.done(place.size());
        }
        if (channel.size() < fileSize()) { // padding behind the last tensor
          writeFully(channel, ByteBuffer.allocate(1), fileSize() - 1);
        }
        channel.force(true);
      }
      requireReadBack(records);
      Files.delete(journal());
      return records;
    } catch (IOException failure) {
      throw new CheckpointException(
          "%s: cannot be written: %s (needs %s, %s); the same command goes on from there"
              .formatted(
                  path,
                  IoErrors.reason(failure),
                  IoErrors.bytes(fileSize()),
                  IoErrors.freeSpace(path)),
          failure);
    }
  }

  /** The tensors that an earlier run has written whole, of the same origins. */
  private Map<String, TensorRecord> wholeTensors() throws IOException {
    Map<String, TensorRecord> whole = new LinkedHashMap<>();
    if (!Files.exists(path) || !Files.exists(journal())) {
      Files.write(journal(), new byte[0]);
      return whole;
    }
    Map<String, TensorRecord> journaled = new LinkedHashMap<>();
    for (String line : Files.readAllLines(journal())) {
      try {
        TensorRecord record = JsonFiles.parseLine(line, TensorRecord.class);
        journaled.put(record.name(), record);
      } catch (JsonProcessingException cutOff) {
        break; // the line that was being written
      }
    }
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ);
        Arena arena = Arena.ofConfined()) {
      MemorySegment file = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
      if (file.byteSize() >= start.length
          && file.asSlice(0, start.length).mismatch(MemorySegment.ofArray(start)) == -1) {
        for (Place place : places) {
          TensorRecord record = journaled.get(place.name());
          if (record != null
              && place.offset() + place.size() <= file.byteSize()
              && record.origins().equals(origins(place.tensor()))
              && record.sha256().equals(Checksums.of(file.asSlice(place.offset(), place.size())))) {
            whole.put(place.name(), record);
          }
        }
      }
    }
    Files.write(journal(), new byte[0]);
    for (TensorRecord record : whole.values()) {
      append(record);
    }
    return whole;
  }

  private void append(TensorRecord record) throws IOException {
    Files.writeString(journal(), JsonFiles.line(record) + "\n", StandardOpenOption.APPEND);
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
