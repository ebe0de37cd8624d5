package org.eellm.data;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import org.eellm.data.corpus.Chat;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.tokenizer.Tokenizer;

/**
 * Turns a corpus into an {@link IndexedDataset}, with its tokenizer beside it. A document becomes
 * the tokenizer's beginning of sequence, if it has one, the tokens of the text, and the end of
 * document; a chat becomes what its encoder makes of it. The result does not depend on the number
 * of threads.
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
      double seconds) {
    /** Bytes of text that a token stands for. */
    public double bytesPerToken() {
      return (double) textBytes / tokens;
    }

    /** Text tokenized, in 10^6 bytes a second. */
    public double megabytesPerSecond() {
      return textBytes / seconds / 1e6;
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

  private final Tokenizer tokenizer;
  private final Function<Chat, Optional<CountedTokens>> chatEncoder;
  private final IndexedDatasetWriter writer;
  private long documents;
  private long chats;
  private long leftOutChats;
  private long countedTokens;
  private long emptyDocuments;
  private long tokens;
  private long textBytes;
  private boolean inDocument;

  private Preparation(
      Tokenizer tokenizer,
      Function<Chat, Optional<CountedTokens>> chatEncoder,
      IndexedDatasetWriter writer) {
    this.tokenizer = tokenizer;
    this.chatEncoder = chatEncoder;
    this.writer = writer;
  }

  /** Prepares a corpus of texts alone, as the other does. */
  public static Summary run(
      Corpus corpus, Tokenizer tokenizer, Path prefix, int threads, Progress progress) {
    return run(corpus, tokenizer, Preparation::refuse, prefix, threads, progress);
  }

  private static Optional<CountedTokens> refuse(Chat chat) {
    throw new DataException(
        "%s: is a chat; name a model's folder with --tokenizer, whose template it is written with"
            .formatted(chat.place()));
  }

  /**
   * Writes {@code PREFIX.bin}, {@code PREFIX.idx} and the folder {@code PREFIX-tokenizer}; if there
   * are chats, also {@code PREFIX.mask}.
   *
   * @param chatEncoder the tokens of a whole document, or nothing if it is to be left out; on any
   *     thread
   * @param prefix path of the dataset's files without their endings
   * @param threads that tokenize
   * @throws DataException if the corpus is empty or cannot be read, or the files not be written;
   *     what stood there before is left as it was then
   */
  public static Summary run(
      Corpus corpus,
      Tokenizer tokenizer,
      Function<Chat, Optional<CountedTokens>> chatEncoder,
      Path prefix,
      int threads,
      Progress progress) {
    long start = System.nanoTime();
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(prefix, tokenizer.vocabSize());
        Corpus.DocumentReader pass = corpus.open()) {
      Preparation preparation = new Preparation(tokenizer, chatEncoder, writer);
      OrderedBatches.process(
          corpus,
          pass,
          threads,
          preparation::tokenize,
          preparation::write,
          progress.of(Progress.Work.TOKENIZING));
      if (preparation.documents == 0) {
        throw new DataException("the corpus has no text; check the inputs");
      }
      writer.finish(); // from here on only names change
      tokenizer.save(tokenizerFolder(prefix));
      writer.commit();
      return preparation.summary(pass.skippedLines(), (System.nanoTime() - start) / 1e9);
    }
  }

  /** Where the tokenizer of a dataset is. */
  public static Path tokenizerFolder(Path prefix) {
    return prefix.resolveSibling(prefix.getFileName() + "-tokenizer");
  }

  private List<Piece> tokenize(List<Corpus.DocumentChunk> pieces) {
    List<Piece> result = new ArrayList<>();
    for (Corpus.DocumentChunk piece : pieces) {
      long bytes = piece.text().getBytes(StandardCharsets.UTF_8).length;
      if (piece.chat().isPresent()) {
        result.add(new Piece.Conversation(chatEncoder.apply(piece.chat().get()), bytes));
        continue;
      }
      int[] ids =
          piece.startsDocument()
              ? tokenizer.encode(piece.text())
              : tokenizer.encodeContinuation(piece.text());
      result.add(new Piece.Text(ids, bytes, piece.endsDocument()));
    }
    return result;
  }

  private void write(List<Piece> pieces) {
    for (Piece piece : pieces) {
      switch (piece) {
        case Piece.Text text -> write(text);
        case Piece.Conversation chat when chat.tokens.isEmpty() -> leftOutChats++;
        case Piece.Conversation chat -> {
          write(chat.tokens.get());
          textBytes += chat.textBytes;
        }
      }
    }
  }

  private void write(Piece.Text piece) {
    if (!inDocument && piece.ids.length > 0) {
      inDocument = true;
      tokenizer.beginningOfSequence().ifPresent(this::add);
    }
    add(piece.ids);
    textBytes += piece.textBytes;
    if (piece.endsDocument && inDocument) {
      add(tokenizer.endOfDocument());
      endDocument();
      inDocument = false;
    } else if (piece.endsDocument) {
      emptyDocuments++;
    }
  }

  private void write(CountedTokens chat) {
    writer.add(chat);
    tokens += chat.ids().length;
    for (boolean counts : chat.counted()) {
      countedTokens += counts ? 1 : 0;
    }
    endDocument();
    chats++;
  }

  private void endDocument() {
    writer.endDocument();
    documents++;
  }

  private void add(int... ids) {
    writer.add(ids);
    tokens += ids.length;
    countedTokens += ids.length;
  }

  private Summary summary(long skippedLines, double seconds) {
    return new Summary(
        documents,
        chats,
        emptyDocuments,
        skippedLines + leftOutChats,
        tokens,
        countedTokens,
        textBytes,
        seconds);
  }
}
