package org.eellm.data;

import java.io.EOFException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.math.BigInteger;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.LongUnaryOperator;
import java.util.stream.LongStream;
import org.eellm.data.IndexedFormat.TokenType;
import org.eellm.file.ChecksumFile;
import org.eellm.file.FileChecksum;
import org.eellm.file.InputFiles;

/**
 * A tokenized corpus, read from Megatron's {@code .bin} and {@code .idx} files. Both are mapped
 * into memory and may be larger than it. All sequences, in order, are one long row of tokens;
 * {@link #read} takes any part of it.
 *
 * <p>May be shared by threads. Nothing may be read after {@link #close}.
 */
public final class IndexedDataset implements AutoCloseable {
  private static final long CHECKED_AT_ONCE = 1 << 20;

  private final Path prefix;
  private final Arena arena;
  private final MemorySegment tokens;
  private final MemorySegment index;
  private final Optional<MemorySegment> mask;
  private final TokenType type;
  private final long sequences;
  private final long documents;

  private IndexedDataset(Path prefix, Arena arena) throws IOException {
    this.prefix = prefix;
    this.arena = arena;
    this.index = map(IndexedFormat.index(prefix), arena);
    checkHeader();
    this.type = tokenType();
    this.sequences = index.get(IndexedFormat.LONG, 18);
    this.documents = index.get(IndexedFormat.LONG, 26) - 1;
    checkIndexSize();
    this.tokens = map(IndexedFormat.tokens(prefix), arena);
    checkSequences(Math.max(0, sequences - 1), sequences);
    Path masks = IndexedFormat.mask(prefix);
    this.mask = Files.exists(masks) ? Optional.of(map(masks, arena)) : Optional.empty();
    if (mask.isPresent() && mask.get().byteSize() != tokens()) {
      throw new DataException(
          "%s: holds %d bytes beside %d tokens; copy or prepare the files again"
              .formatted(masks, mask.get().byteSize(), tokens()));
    }
  }

  /**
   * Opens a dataset, and reads no more of it than its size demands: {@link #checkPart} has still to
   * be called.
   *
   * @param prefix path of the two files without {@code .bin} and {@code .idx}
   * @throws DataException if a file is absent, cut short or not of this format
   */
  public static IndexedDataset open(Path prefix) {
    for (Path path : new Path[] {IndexedFormat.index(prefix), IndexedFormat.tokens(prefix)}) {
      if (!Files.isRegularFile(path)) {
        throw new DataException(
            path + ": no such file; give the prefix of a .bin/.idx pair, or make one with prepare");
      }
    }
    Arena arena = Arena.ofShared();
    try {
      return new IndexedDataset(prefix, arena);
    } catch (IOException e) {
      arena.close();
      throw DataException.unreadable(prefix, e);
    } catch (RuntimeException e) {
      arena.close();
      throw e;
    }
  }

  /**
   * Reads both files from front to back and refuses them if they are not as they were written, or
   * have a token beyond a vocabulary. Where {@value ChecksumFile#PROPERTY} says {@code skip}, only
   * the index is read.
   *
   * @return a text that tells this dataset from others; empty if that is unknown
   * @throws DataException that names the file, and the token's document
   */
  public Optional<String> check(int vocabSize) {
    return requireWhole(List.of(checkPart(vocabSize, 0, 1)));
  }

  /**
   * A part of {@link #check}, such as each of several ranks does.
   *
   * @param part of {@code parts}, from 0
   * @return a line for {@link #requireWhole}
   */
  public String checkPart(int vocabSize, int part, int parts) {
    checkSequences(from(sequences, part, parts), from(sequences, part + 1, parts));
    checkDocuments(from(documents + 1, part, parts), from(documents + 1, part + 1, parts));
    if (!ChecksumFile.isWanted()) {
      return "";
    }
    requireTokensBelow(vocabSize, from(tokens(), part, parts), from(tokens(), part + 1, parts));
    try {
      return new DatasetChecksum(
              ofPart(IndexedFormat.tokens(prefix), tokens.byteSize(), part, parts),
              ofPart(IndexedFormat.index(prefix), index.byteSize(), part, parts),
              mask.isEmpty()
                  ? Optional.empty()
                  : Optional.of(
                      ofPart(IndexedFormat.mask(prefix), mask.get().byteSize(), part, parts)))
          .line();
    } catch (IOException e) {
      throw DataException.unreadable(prefix, e);
    }
  }

  private static FileChecksum ofPart(Path file, long bytes, int part, int parts)
      throws IOException {
    long from = from(bytes, part, parts);
    return FileChecksum.of(file, from, from(bytes, part + 1, parts) - from);
  }

  /** Where a part of so many things begins. */
  private static long from(long count, int part, int parts) {
    return count / parts * part + count % parts * part / parts;
  }

  /**
   * The end of {@link #check}.
   *
   * @param parts the lines of all parts, in order
   */
  public Optional<String> requireWhole(List<String> parts) {
    try {
      Optional<DatasetChecksum> kept = DatasetChecksum.kept(prefix);
      if (!ChecksumFile.isWanted()) {
        return kept.map(DatasetChecksum::text);
      }
      DatasetChecksum found =
          parts.stream()
              .map(DatasetChecksum::parse)
              .reduce(DatasetChecksum::followedBy)
              .orElseThrow();
      kept.ifPresent(those -> found.requireSame(those, prefix));
      return Optional.of(found.text());
    } catch (IOException e) {
      throw DataException.unreadable(prefix, e);
    }
  }

  private void requireTokensBelow(int vocabSize, long from, long to) {
    if (type.most() < vocabSize && !type.isSigned()) {
      return;
    }
    LongStream.range(0, Math.ceilDiv(to - from, CHECKED_AT_ONCE))
        .parallel()
        .map(piece -> firstBeyond(from + piece * CHECKED_AT_ONCE, to, vocabSize))
        .filter(token -> token >= 0)
        .findFirst()
        .ifPresent(
            token -> {
              throw beyondVocabulary(token, vocabSize);
            });
  }

  /** The first token of a piece that is none of the vocabulary; -1 if there is none. */
  private long firstBeyond(long from, long to, int vocabSize) {
    long end = Math.min(to, from + CHECKED_AT_ONCE);
    for (long at = from; at < end; at++) {
      if (Integer.compareUnsigned(type.read(tokens, at * type.bytes), vocabSize) >= 0) {
        return at;
      }
    }
    return -1;
  }

  /** The exception for a token that is none of the vocabulary. */
  DataException beyondVocabulary(long token, int vocabSize) {
    return new DataException(
        "%s: document %d has token %d, outside the model's vocabulary of %d; prepare the text with the model's tokenizer"
            .formatted(
                IndexedFormat.tokens(prefix),
                sequenceAt(token),
                type.read(tokens, token * type.bytes),
                vocabSize));
  }

  private static MemorySegment map(Path path, Arena arena) throws IOException {
    try (FileChannel channel = InputFiles.channel(path)) {
      return channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
    }
  }

  private void checkHeader() {
    if (index.byteSize() < IndexedFormat.HEADER_BYTES) {
      throw badIndex(
          "holds %d bytes, its header alone takes %d"
              .formatted(index.byteSize(), IndexedFormat.HEADER_BYTES));
    }
    byte[] magic = index.asSlice(0, IndexedFormat.MAGIC.length).toArray(ValueLayout.JAVA_BYTE);
    if (!Arrays.equals(magic, IndexedFormat.MAGIC)) {
      throw badIndex("is not an indexed dataset, it does not begin with MMIDIDX");
    }
    long version = index.get(IndexedFormat.LONG, 9);
    if (version != IndexedFormat.VERSION) {
      throw badIndex("has version %d, only 1 is known".formatted(version));
    }
  }

  private TokenType tokenType() {
    int code = index.get(ValueLayout.JAVA_BYTE, 17);
    for (TokenType candidate : TokenType.values()) {
      if (candidate.code == code) {
        return candidate;
      }
    }
    throw badIndex("has element type %d, which holds no tokens".formatted(code));
  }

  private void checkIndexSize() {
    if (sequences < 0 || documents < 0) {
      throw badIndex(
          "counts %d sequences and %d document boundaries".formatted(sequences, documents + 1));
    }
    BigInteger expected =
        BigInteger.valueOf(sequences)
            .multiply(BigInteger.valueOf(12))
            .add(BigInteger.valueOf(documents).add(BigInteger.ONE).shiftLeft(3))
            .add(BigInteger.valueOf(IndexedFormat.HEADER_BYTES));
    if (!expected.equals(BigInteger.valueOf(index.byteSize()))) {
      throw badIndex(
          "holds %d bytes, its %d sequences and %d documents take %d"
              .formatted(index.byteSize(), sequences, documents, expected));
    }
  }

  /** That sequences have a length, and each ends where the next or the file does. */
  private void checkSequences(long from, long to) {
    if (from == 0 && sequences > 0 && offset(0) != 0) {
      throw badIndex("sequence 0 starts at byte %d of .bin, not at 0".formatted(offset(0)));
    }
    for (long i = from; i < to; i++) {
      if (length(i) < 0) {
        throw badIndex("sequence %d has length %d".formatted(i, length(i)));
      }
      long end = offset(i) + (long) length(i) * type.bytes;
      if (i + 1 < sequences && offset(i + 1) != end) {
        throw badIndex(
            "sequence %d starts at byte %d of .bin, the one before it ends at %d"
                .formatted(i + 1, offset(i + 1), end));
      }
      if (i + 1 == sequences && tokens.byteSize() != end) {
        throw otherSize(end);
      }
    }
    if (sequences == 0 && tokens.byteSize() != 0) {
      throw otherSize(0);
    }
  }

  private DataException otherSize(long described) {
    return new DataException(
        "%s: holds %d bytes, its index describes %d; copy or prepare the pair again"
            .formatted(IndexedFormat.tokens(prefix), tokens.byteSize(), described));
  }

  private void checkDocuments(long from, long to) {
    for (long i = from; i < to; i++) {
      long boundary = boundary(i);
      long before = i == 0 ? 0 : boundary(i - 1);
      if (boundary < before || boundary > sequences || (i == 0 && boundary != 0)) {
        throw badIndex(
            "document boundary %d is sequence %d; it has to be from %d to %d"
                .formatted(i, boundary, before, i == 0 ? 0 : sequences));
      }
      if (i == documents && boundary != sequences) {
        throw badIndex(
            "the last document ends at sequence %d of %d".formatted(boundary, sequences));
      }
    }
  }

  private long boundary(long document) {
    return index.get(IndexedFormat.LONG, documentsOffset() + 8 * document);
  }

  private DataException badIndex(String what) {
    return new DataException(
        "%s: %s; copy or prepare the pair again".formatted(IndexedFormat.index(prefix), what));
  }

  private long offset(long sequence) {
    return index.get(IndexedFormat.LONG, IndexedFormat.HEADER_BYTES + 4 * sequences + 8 * sequence);
  }

  private long documentsOffset() {
    return IndexedFormat.HEADER_BYTES + 12 * sequences;
  }

  /** The path of the two files without their endings. */
  public Path prefix() {
    return prefix;
  }

  /** Number of tokens. */
  public long tokens() {
    return tokens.byteSize() / type.bytes;
  }

  /** Number of sequences. */
  public long sequences() {
    return sequences;
  }

  /** Number of documents; the files that {@code prepare} writes have one sequence in each. */
  public long documents() {
    return documents;
  }

  /**
   * Refuses documents that do not end with a token, by the first one.
   *
   * @throws DataException that names what it ends with
   */
  public void requireDocumentEnd(int token) {
    if (documents < 2) {
      return;
    }
    long end = start(boundary(1));
    int[] last = new int[1];
    if (end > 0) {
      read(end - 1, last, 0, 1);
    }
    if (end == 0 || last[0] != token) {
      throw new DataException(
          "%s: its first document ends with %s, not with the tokenizer's end token %d, so that data.attend_across_documents false cannot tell documents; prepare it with this tokenizer"
              .formatted(prefix, end == 0 ? "nothing" : "token " + last[0], token));
    }
  }

  /** Whether only some tokens are counted in the loss, as answers are in chats. */
  public boolean isMasked() {
    return mask.isPresent();
  }

  /** Whether the loss counts a token, as a target. */
  public boolean isCounted(long token) {
    return mask.isEmpty() || mask.get().get(ValueLayout.JAVA_BYTE, token) != 0;
  }

  /** The document that holds a token of the row of all tokens. */
  long documentAt(long token) {
    return lastNotAfter(token, documents, this::documentStart);
  }

  /** Where a document starts in the row of all tokens; of the number of documents, their number. */
  long documentStart(long document) {
    return start(boundary(document));
  }

  /** Number of tokens in a sequence, counted from 0. */
  public int length(long sequence) {
    Objects.checkIndex(sequence, sequences);
    return index.get(IndexedFormat.INT, IndexedFormat.HEADER_BYTES + 4 * sequence);
  }

  /**
   * Where a sequence starts in the row of all tokens.
   *
   * @param sequence from 0 to {@link #sequences}, which gives the number of tokens
   */
  public long start(long sequence) {
    if (sequence == sequences) {
      return tokens();
    }
    long offset = offset(sequence);
    if (offset < 0 || offset > tokens.byteSize()) {
      throw badIndex(
          "sequence %d starts at byte %d of .bin, which has %d"
              .formatted(sequence, offset, tokens.byteSize()));
    }
    return offset / type.bytes;
  }

  /** The sequence that holds a token of the row of all tokens. */
  public long sequenceAt(long token) {
    return lastNotAfter(token, sequences, this::start);
  }

  private long lastNotAfter(long token, long count, LongUnaryOperator startOf) {
    Objects.checkIndex(token, tokens());
    long low = 0; // starts at or before the token
    long high = count; // starts after it
    while (high - low > 1) {
      long middle = (low + high) >>> 1;
      if (startOf.applyAsLong(middle) <= token) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return low;
  }

  /** The tokens of a sequence. */
  public int[] sequence(long sequence) {
    int[] result = new int[length(sequence)];
    read(start(sequence), result, 0, result.length);
    return result;
  }

  /**
   * Copies a part of the row of all tokens.
   *
   * @param from first token
   */
  public void read(long from, int[] into, int offset, int count) {
    Objects.checkFromIndexSize(from, count, tokens());
    requireWhole();
    try {
      for (int i = 0; i < count; i++) {
        into[offset + i] = type.read(tokens, (from + i) * type.bytes);
      }
    } catch (InternalError gone) { // a page of a mapped file cannot be read
      throw unreadable(gone);
    }
  }

  /** Reading beyond the end of a mapped file fails, but Java may tell only some time later. */
  private void requireWhole() {
    try {
      Path file = IndexedFormat.tokens(prefix);
      if (Files.size(file) < tokens.byteSize()) {
        throw unreadable(new EOFException(file.toString()));
      }
    } catch (IOException gone) {
      throw unreadable(gone);
    }
  }

  private DataException unreadable(Throwable cause) {
    return new DataException(
        "%s: cannot be read any more, it was cut short or its disk fails; copy or prepare the pair again"
            .formatted(IndexedFormat.tokens(prefix)),
        cause);
  }

  @Override
  public void close() {
    arena.close();
  }
}
