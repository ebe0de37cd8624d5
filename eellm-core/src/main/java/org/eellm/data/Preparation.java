package org.eellm.data;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Function;
import java.util.zip.CRC32C;
import org.eellm.data.PreparationState.Counts;
import org.eellm.data.corpus.Chat;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.file.FileChecksum;

/**
 * Turns a corpus into an {@link IndexedDataset}, with its tokenizer beside it. A document becomes
 * the tokenizer's beginning of sequence, if it has one, the tokens of the text, and the end of
 * document; a chat becomes what its encoder makes of it. The result does not depend on the number
 * of threads, nor on whether the work was stopped and went on.
 */
public final class Preparation {
  /**
   * The figures of a preparation.
   *
   * @param documents documents written, chats among them
   * @param chats conversations written
   * @param emptyDocuments documents without text, left out
   * @param skippedLines unusable lines, left out on request
   * @param tokens tokens written, with those that begin and end documents
   * @param countedTokens those that the loss counts
   * @param textBytes UTF-8 bytes of the documents
   * @param earlierBytes those of them that an earlier run wrote, which was stopped
   * @param seconds time taken
   */
  public record Summary(
      long documents,
      long chats,
      long emptyDocuments,
      long skippedLines,
      long tokens,
      long countedTokens,
      long textBytes,
      long earlierBytes,
      double seconds) {
    /** Bytes of text that a token stands for. */
    public double bytesPerToken() {
      return (double) textBytes / tokens;
    }

    /** Text tokenized, in 10^6 bytes a second. */
    public double megabytesPerSecond() {
      return (textBytes - earlierBytes) / seconds / 1e6;
    }
  }

  /** Work's result for a piece. */
  private sealed interface Piece {
    /** A piece of a text. */
    @SuppressWarnings("ArrayRecordComponent") // compared by nobody
    record Text(int[] ids, long textBytes, boolean endsDocument) implements Piece {}

    /** A conversation; no tokens if it is left out. */
    record Conversation(Optional<CountedTokens> tokens, long textBytes) implements Piece {}
  }

  /** Work's result for a batch of pieces. */
  private record Batch(List<Piece> pieces, FileChecksum text) {}

  /**
   * How documents become tokens.
   *
   * @param chats the tokens of a whole document, or nothing if it is to be left out; on any thread
   */
  record Encoders(Tokenizer tokenizer, Function<Chat, Optional<CountedTokens>> chats) {}

  /** Bytes of text after which the work can be gone on with: seconds of work. */
  private static final long SAVED_BYTES = 1 << 28;

  private final Encoders encoders;
  private final Tokenizer tokenizer;
  private final IndexedDatasetWriter writer;
  private final Counts counts;
  private FileChecksum text;
  private long batches;
  private long savedBytes; // of the text, from where another can go on
  private Future<?> saving = CompletableFuture.completedFuture(null);

  private Preparation(Encoders encoders, IndexedDatasetWriter writer, PreparationState from) {
    this.encoders = encoders;
    this.tokenizer = encoders.tokenizer;
    this.writer = writer;
    counts = from.counts();
    text = from.text();
    batches = from.batches();
    savedBytes = text.bytes();
  }

  /** Prepares a corpus of texts alone, as the other does. */
  public static Summary run(
      Corpus corpus, Tokenizer tokenizer, Path prefix, int threads, Progress progress) {
    return run(corpus, tokenizer, Preparation::refuse, prefix, threads, progress);
  }

  private static Optional<CountedTokens> refuse(Chat chat) {
    throw chat.refusal();
  }

  /**
   * Writes {@code PREFIX.bin}, {@code PREFIX.idx} and the folder {@code PREFIX-tokenizer}; if there
   * are chats, also {@code PREFIX.mask}. Where {@code PREFIX.progress} tells of a run that was
   * stopped, goes on with that.
   *
   * @param chatEncoder the tokens of a whole document, or nothing if it is to be left out; on any
   *     thread
   * @param prefix path of the dataset's files without their endings
   * @param threads that work
   * @throws DataException if the corpus is empty or cannot be read, the files cannot be written, or
   *     corpus or tokenizer are not those of the run that was stopped; what stood there before is
   *     left as it was then
   */
  public static Summary run(
      Corpus corpus,
      Tokenizer tokenizer,
      Function<Chat, Optional<CountedTokens>> chatEncoder,
      Path prefix,
      int threads,
      Progress progress) {
    return run(
        corpus, new Encoders(tokenizer, chatEncoder), prefix, threads, SAVED_BYTES, progress);
  }

  /**
   * As the other.
   *
   * @param savedBytes of text after which the work can be gone on with
   */
  static Summary run(
      Corpus corpus,
      Encoders encoders,
      Path prefix,
      int threads,
      long savedBytes,
      Progress progress) {
    long start = System.nanoTime();
    Tokenizer tokenizer = encoders.tokenizer;
    FileChecksum identity = identity(tokenizer, corpus);
    PreparationState from =
        PreparationState.read(prefix).orElseGet(() -> PreparationState.start(identity));
    PreparationState.requireSame(identity, from.tokenizer(), "the tokenizer or an option", prefix);
    long earlierBytes = from.counts().textBytes;
    try (Corpus.DocumentReader pass = corpus.open()) {
      skip(pass, from, prefix);
      try (IndexedDatasetWriter writer =
              IndexedDatasetWriter.open(prefix, tokenizer.vocabSize(), from.files());
          ExecutorService saver = Executors.newSingleThreadExecutor()) {
        Preparation preparation = new Preparation(encoders, writer, from);
        OrderedBatches.process(
            corpus,
            pass,
            threads,
            preparation::tokenize,
            batch -> {
              preparation.write(batch);
              if (preparation.text.bytes() - preparation.savedBytes >= savedBytes) {
                preparation.save(identity, prefix, saver);
              }
            },
            progress.of(Progress.Work.TOKENIZING));
        OrderedBatches.result(preparation.saving);
        Counts counts = preparation.counts;
        if (counts.documents == 0) {
          throw new DataException(
              "the corpus has no text: %,d documents are empty and %,d lines were left out; check the inputs"
                  .formatted(counts.emptyDocuments, pass.skippedLines() + counts.leftOutChats));
        }
        writer.finish(); // from here on only names change
        tokenizer.save(tokenizerFolder(prefix));
        PreparationState.remove(prefix);
        writer.commit();
        return preparation.summary(
            pass.skippedLines(), earlierBytes, (System.nanoTime() - start) / 1e9);
      }
    }
  }

  /** What says how files become tokens. */
  private static FileChecksum identity(Tokenizer tokenizer, Corpus corpus) {
    TextChecksum checksum = new TextChecksum();
    checksum.update(corpus.form());
    checksum.update(tokenizer.definition());
    checksum.update(tokenizer.configuration());
    tokenizer.chatTemplate().ifPresent(checksum::update);
    return checksum.sum();
  }

  /** Reads what an earlier run has written, which has to be as it was then. */
  private static void skip(Corpus.DocumentReader pass, PreparationState from, Path prefix) {
    TextChecksum checksum = new TextChecksum();
    for (long batch = 0; batch < from.batches(); batch++) {
      OrderedBatches.nextBatch(pass).forEach(checksum::update);
    }
    PreparationState.requireSame(checksum.sum(), from.text(), "the input", prefix);
  }

  /** Brings what is done onto the disk while the work goes on. */
  private void save(FileChecksum identity, Path prefix, ExecutorService saver) {
    OrderedBatches.result(saving);
    byte[] state = new PreparationState(identity, text, batches, writer.position(), counts).bytes();
    saving =
        saver.submit(
            () -> {
              writer.force();
              PreparationState.write(state, prefix);
            });
    savedBytes = text.bytes();
  }

  /** Where the tokenizer of a dataset is. */
  public static Path tokenizerFolder(Path prefix) {
    return prefix.resolveSibling(prefix.getFileName() + "-tokenizer");
  }

  /** A checksum of texts. */
  private static final class TextChecksum {
    private final CRC32C crc = new CRC32C();
    private long bytes;

    /** Adds a text, and gives the number of its bytes. */
    int update(String text) {
      byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
      crc.update(utf8);
      bytes += utf8.length;
      return utf8.length;
    }

    /** Adds a piece with its ends, and gives the number of its text's bytes. */
    int update(Corpus.DocumentChunk piece) {
      piece.chat().ifPresent(chat -> update(chat.messages().toString()));
      int length = update(piece.text());
      update((piece.startsDocument() ? "<" : "-") + (piece.endsDocument() ? ">" : "-"));
      return length;
    }

    FileChecksum sum() {
      return FileChecksum.of(bytes, crc);
    }
  }

  private Batch tokenize(List<Corpus.DocumentChunk> pieces) {
    TextChecksum checksum = new TextChecksum();
    List<Piece> result = new ArrayList<>();
    for (Corpus.DocumentChunk piece : pieces) {
      int bytes = checksum.update(piece);
      if (piece.chat().isPresent()) {
        result.add(new Piece.Conversation(encoders.chats.apply(piece.chat().get()), bytes));
        continue;
      }
      int[] ids =
          piece.startsDocument()
              ? tokenizer.encode(piece.text())
              : tokenizer.encodeContinuation(piece.text());
      result.add(new Piece.Text(ids, bytes, piece.endsDocument()));
    }
    return new Batch(result, checksum.sum());
  }

  private void write(Batch batch) {
    for (Piece piece : batch.pieces) {
      switch (piece) {
        case Piece.Text text -> write(text);
        case Piece.Conversation chat when chat.tokens.isEmpty() -> counts.leftOutChats++;
        case Piece.Conversation chat -> {
          write(chat.tokens.get());
          counts.textBytes += chat.textBytes;
        }
      }
    }
    text = text.followedBy(batch.text);
    batches++;
  }

  private void write(Piece.Text piece) {
    if (!counts.inDocument && piece.ids.length > 0) {
      counts.inDocument = true;
      tokenizer.beginningOfSequence().ifPresent(this::add);
    }
    add(piece.ids);
    counts.textBytes += piece.textBytes;
    if (piece.endsDocument && counts.inDocument) {
      add(tokenizer.endOfDocument());
      endDocument();
      counts.inDocument = false;
    } else if (piece.endsDocument) {
      counts.emptyDocuments++;
    }
  }

  private void write(CountedTokens chat) {
    writer.add(chat);
    counts.tokens += chat.ids().length;
    for (boolean isCounted : chat.counted()) {
      counts.countedTokens += isCounted ? 1 : 0;
    }
    endDocument();
    counts.chats++;
  }

  private void endDocument() {
    writer.endDocument();
    counts.documents++;
  }

  private void add(int... ids) {
    writer.add(ids);
    counts.tokens += ids.length;
    counts.countedTokens += ids.length;
  }

  private Summary summary(long skippedLines, long earlierBytes, double seconds) {
    return new Summary(
        counts.documents,
        counts.chats,
        counts.emptyDocuments,
        skippedLines + counts.leftOutChats,
        counts.tokens,
        counts.countedTokens,
        counts.textBytes,
        earlierBytes,
        seconds);
  }
}
