package org.eellm.data;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.tokenizer.Tokenizer;

/**
 * Turns a corpus into an {@link IndexedDataset}, with its tokenizer beside it. A document becomes
 * the tokenizer's beginning of sequence, if it has one, the tokens of the text, and the end of
 * document. The result does not depend on the number of threads.
 */
public final class Preparation {
  /**
   * The figures of a preparation.
   *
   * @param documents documents written
   * @param emptyDocuments documents without text, left out
   * @param skippedLines unusable lines, left out on request
   * @param tokens tokens written, with those that begin and end documents
   * @param textBytes UTF-8 bytes of the documents
   * @param seconds time taken
   */
  public record Summary(
      long documents,
      long emptyDocuments,
      long skippedLines,
      long tokens,
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

  /** A piece's tokens. */
  @SuppressWarnings("ArrayRecordComponent") // compared by nobody
  private record Tokens(int[] ids, long textBytes, boolean endsDocument) {}

  private final Tokenizer tokenizer;
  private final IndexedDatasetWriter writer;
  private long documents;
  private long emptyDocuments;
  private long tokens;
  private long textBytes;
  private boolean inDocument;

  private Preparation(Tokenizer tokenizer, IndexedDatasetWriter writer) {
    this.tokenizer = tokenizer;
    this.writer = writer;
  }

  /**
   * Writes {@code PREFIX.bin}, {@code PREFIX.idx} and the folder {@code PREFIX-tokenizer}.
   *
   * @param prefix path of the dataset's files without their endings
   * @param threads that tokenize
   * @throws DataException if the corpus is empty or cannot be read, or the files not be written;
   *     what stood there before is left as it was then
   */
  public static Summary run(
      Corpus corpus, Tokenizer tokenizer, Path prefix, int threads, Progress progress) {
    long start = System.nanoTime();
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(prefix, tokenizer.vocabSize());
        Corpus.DocumentReader pass = corpus.open()) {
      Preparation preparation = new Preparation(tokenizer, writer);
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

  private List<Tokens> tokenize(List<Corpus.DocumentChunk> pieces) {
    List<Tokens> result = new ArrayList<>();
    for (Corpus.DocumentChunk piece : pieces) {
      int[] ids =
          piece.startsDocument()
              ? tokenizer.encode(piece.text())
              : tokenizer.encodeContinuation(piece.text());
      long bytes = piece.text().getBytes(StandardCharsets.UTF_8).length;
      result.add(new Tokens(ids, bytes, piece.endsDocument()));
    }
    return result;
  }

  private void write(List<Tokens> pieces) {
    for (Tokens piece : pieces) {
      if (!inDocument && piece.ids.length > 0) {
        inDocument = true;
        tokenizer.beginningOfSequence().ifPresent(this::add);
      }
      add(piece.ids);
      textBytes += piece.textBytes;
      if (piece.endsDocument && inDocument) {
        add(tokenizer.endOfDocument());
        writer.endDocument();
        documents++;
        inDocument = false;
      } else if (piece.endsDocument) {
        emptyDocuments++;
      }
    }
  }

  private void add(int... ids) {
    writer.add(ids);
    tokens += ids.length;
  }

  private Summary summary(long skippedLines, double seconds) {
    return new Summary(documents, emptyDocuments, skippedLines, tokens, textBytes, seconds);
  }
}
