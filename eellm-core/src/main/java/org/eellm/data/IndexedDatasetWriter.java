package org.eellm.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Objects;
import java.util.Optional;
import org.eellm.data.IndexedFormat.TokenType;
import org.eellm.file.FileChecksum;
import org.jspecify.annotations.Nullable;

/**
 * Writes an {@link IndexedDataset} of one sequence a document, byte for byte as Megatron does.
 * Memory does not grow with the data.
 *
 * <p>The files have temporary names until {@link #commit}, which puts them, whole and on the disk,
 * in the place of what was there. Without it, {@link #close} leaves nothing behind, unless {@link
 * #force} was called.
 */
public final class IndexedDatasetWriter implements AutoCloseable {
  /**
   * How far files are written that can be gone on with.
   *
   * @param documentTokens those of the document that has not ended
   * @param masked whether there is a mask
   */
  record Position(long tokens, long documents, long documentTokens, boolean masked) {
    static final Position START = new Position(0, 0, 0, false);
  }

  private final Path prefix;
  private final int vocabSize;
  private final TokenType type;
  private final Output tokens;
  private final Output index;
  private @Nullable Output mask; // from the first token on that is not counted
  private long length;
  private long documents;
  private long documentLength;
  private volatile boolean saved;
  private @Nullable DatasetChecksum checksum;

  private IndexedDatasetWriter(Path prefix, int vocabSize, Position from) throws IOException {
    this.prefix = prefix;
    this.vocabSize = vocabSize;
    this.type = TokenType.forVocabulary(vocabSize);
    length = from.tokens;
    documents = from.documents;
    documentLength = from.documentTokens;
    saved = !from.equals(Position.START);
    this.tokens = new Output(IndexedFormat.tokens(prefix), length * type.bytes);
    try {
      this.index =
          new Output(
              IndexedFormat.index(prefix),
              saved ? IndexedFormat.HEADER_BYTES + documents * Integer.BYTES : 0);
      if (!saved) {
        index.put(new byte[IndexedFormat.HEADER_BYTES]); // filled in at the end
      }
      if (from.masked) {
        mask = new Output(IndexedFormat.mask(prefix), length);
      }
    } catch (IOException e) {
      tokens.close(saved);
      throw e;
    }
  }

  /**
   * Begins a dataset.
   *
   * @param prefix path of the files without their endings; its folder is made
   * @param vocabSize tokens are below it; below 65,500 they take 2 bytes, else 4
   * @throws DataException if the files cannot be made
   */
  public static IndexedDatasetWriter create(Path prefix, int vocabSize) {
    return open(prefix, vocabSize, Position.START);
  }

  /** Goes on with files that were written so far. What was added since then is forgotten. */
  static IndexedDatasetWriter open(Path prefix, int vocabSize, Position from) {
    try {
      Path folder = prefix.toAbsolutePath().getParent();
      if (folder != null) {
        Files.createDirectories(folder);
      }
      return new IndexedDatasetWriter(prefix, vocabSize, from);
    } catch (IOException e) {
      throw unwritable(prefix, e);
    }
  }

  /**
   * Adds tokens to the current document, of which the loss counts some. The dataset then has a mask
   * in {@code .mask}.
   */
  public void add(CountedTokens newTokens) {
    try {
      Output masks = mask;
      if (masks == null) {
        masks = new Output(IndexedFormat.mask(prefix), 0);
        mask = masks;
        for (long token = 0; token < length; token++) {
          masks.putByte((byte) 1);
        }
      }
      for (boolean counts : newTokens.counted()) {
        masks.putByte((byte) (counts ? 1 : 0));
      }
    } catch (IOException e) {
      throw unwritable(prefix, e);
    }
    addTokens(newTokens.ids());
  }

  /** Adds tokens to the current document, all of which the loss counts. */
  public void add(int... newTokens) {
    if (mask == null) {
      addTokens(newTokens);
      return;
    }
    boolean[] all = new boolean[newTokens.length];
    Arrays.fill(all, true);
    add(new CountedTokens(newTokens, all));
  }

  private void addTokens(int... newTokens) {
    if (documentLength + newTokens.length > Integer.MAX_VALUE) {
      throw new DataException(
          "document %d has more than %d tokens; divide it into several"
              .formatted(documents, Integer.MAX_VALUE));
    }
    documentLength += newTokens.length;
    length += newTokens.length;
    try {
      for (int token : newTokens) {
        Objects.checkIndex(token, vocabSize);
        switch (type) {
          case UINT16 -> tokens.putShort((short) token);
          default -> tokens.putInt(token);
        }
      }
    } catch (IOException e) {
      throw unwritable(prefix, e);
    }
  }

  /** Ends the current document. */
  public void endDocument() {
    try {
      index.putInt((int) documentLength);
    } catch (IOException e) {
      throw unwritable(prefix, e);
    }
    documents++;
    documentLength = 0;
  }

  /** Where another writer can go on once {@link #force} has brought all so far onto the disk. */
  Position position() {
    try {
      tokens.flush();
      index.flush();
      if (mask != null) {
        mask.flush();
      }
    } catch (IOException e) {
      throw unwritable(prefix, e);
    }
    return new Position(length, documents, documentLength, mask != null);
  }

  /** Brings all up to the last {@link #position} onto the disk; more may be added meanwhile. */
  void force() {
    try {
      tokens.channel.force(true);
      index.channel.force(true);
      if (mask != null) {
        mask.channel.force(true);
      }
    } catch (IOException e) {
      throw unwritable(prefix, e);
    }
    saved = true;
  }

  /**
   * Completes the files and brings them onto the disk, which may take a while. {@link #commit} does
   * so where it has not been done.
   *
   * @throws IllegalStateException if the current document has not ended
   */
  public void finish() {
    if (documentLength > 0) {
      throw new IllegalStateException("a document has not ended");
    }
    if (checksum != null) {
      return;
    }
    try {
      completeIndex();
      tokens.finish();
      index.finish();
      if (mask != null) {
        mask.finish();
      }
      checksum =
          new DatasetChecksum(
              FileChecksum.of(tokens.temporary),
              FileChecksum.of(index.temporary),
              mask == null ? Optional.empty() : Optional.of(FileChecksum.of(mask.temporary)));
    } catch (IOException e) {
      throw unwritable(prefix, e);
    }
  }

  /** Finishes the files and gives them their names. */
  public void commit() {
    finish();
    try {
      // An index never stands beside tokens of another dataset, even if the machine stops here.
      Files.deleteIfExists(index.path);
      tokens.rename();
      if (mask == null) {
        Files.deleteIfExists(IndexedFormat.mask(prefix));
      } else {
        mask.rename();
      }
      Objects.requireNonNull(checksum).write(prefix);
      index.rename();
    } catch (IOException e) {
      throw unwritable(prefix, e);
    }
  }

  private void completeIndex() throws IOException {
    index.flush();
    ByteBuffer lengths = ByteBuffer.allocate(Output.BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    long position = IndexedFormat.HEADER_BYTES;
    long offset = 0;
    for (long left = documents; left > 0; ) {
      lengths.clear().limit((int) Math.min(lengths.capacity(), left * Integer.BYTES));
      while (lengths.hasRemaining()) {
        position += index.channel.read(lengths, position);
      }
      lengths.flip();
      left -= lengths.remaining() / Integer.BYTES;
      while (lengths.hasRemaining()) {
        index.putLong(offset);
        offset += (long) lengths.getInt() * type.bytes;
      }
    }
    for (long document = 0; document <= documents; document++) {
      index.putLong(document);
    }
    index.flush();
    ByteBuffer header =
        ByteBuffer.allocate(IndexedFormat.HEADER_BYTES)
            .order(ByteOrder.LITTLE_ENDIAN)
            .put(IndexedFormat.MAGIC)
            .putLong(IndexedFormat.VERSION)
            .put((byte) type.code)
            .putLong(documents)
            .putLong(documents + 1)
            .flip();
    index.channel.write(header, 0);
  }

  /** Deletes what was neither committed nor saved. */
  @Override
  public void close() {
    try {
      tokens.close(saved);
      index.close(saved);
      if (mask != null) {
        mask.close(saved);
      }
    } catch (IOException e) {
      throw unwritable(prefix, e);
    }
  }

  private static DataException unwritable(Path prefix, IOException e) {
    return new DataException(
        "%s: the dataset cannot be written: %s".formatted(prefix, DataException.reason(e)), e);
  }

  /** A file under a temporary name, written through a buffer. */
  private static final class Output {
    static final int BUFFER_BYTES = 1 << 16;

    private final Path path;
    private final Path temporary;
    private final FileChannel channel;
    private final ByteBuffer buffer =
        ByteBuffer.allocateDirect(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN);

    /** Begins behind the bytes that are kept of a file that may be there. */
    Output(Path path, long kept) throws IOException {
      this.path = path;
      this.temporary = path.resolveSibling(path.getFileName() + ".tmp");
      this.channel =
          FileChannel.open(
              temporary,
              StandardOpenOption.CREATE,
              StandardOpenOption.READ,
              StandardOpenOption.WRITE);
      if (channel.size() < kept) {
        channel.close();
        throw new IOException(
            "%s has less than the %,d bytes it had; remove the .progress beside it to begin anew"
                .formatted(temporary, kept));
      }
      channel.truncate(kept).position(kept);
    }

    void put(byte[] bytes) throws IOException {
      reserve(bytes.length).put(bytes);
    }

    void putByte(byte value) throws IOException {
      reserve(Byte.BYTES).put(value);
    }

    void putShort(short value) throws IOException {
      reserve(Short.BYTES).putShort(value);
    }

    void putInt(int value) throws IOException {
      reserve(Integer.BYTES).putInt(value);
    }

    void putLong(long value) throws IOException {
      reserve(Long.BYTES).putLong(value);
    }

    private ByteBuffer reserve(int bytes) throws IOException {
      if (buffer.remaining() < bytes) {
        flush();
      }
      return buffer;
    }

    void flush() throws IOException {
      buffer.flip();
      while (buffer.hasRemaining()) {
        channel.write(buffer);
      }
      buffer.clear();
    }

    /** Brings everything onto the disk. */
    void finish() throws IOException {
      flush();
      channel.force(true);
      channel.close();
    }

    void rename() throws IOException {
      Files.move(
          temporary, path, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    void close(boolean keeps) throws IOException {
      channel.close();
      if (!keeps) {
        Files.deleteIfExists(temporary);
      }
    }
  }
}
