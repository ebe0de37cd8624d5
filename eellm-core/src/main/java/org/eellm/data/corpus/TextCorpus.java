package org.eellm.data.corpus;

import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.eellm.data.DataException;
import org.eellm.file.InputFiles;

/**
 * Documents in text files, JSON and CSV, plain or compressed with gzip, xz or Zstandard, in Parquet
 * and in jars of Java sources.
 *
 * <p>A {@code .txt} or {@code .md} file holds documents divided by a separator line, or is one
 * document; a {@code .jsonl} file holds an object a line, a {@code .json} file a list of them, a
 * {@code .csv} file or {@code .parquet} file a row each, whose text is under a key; every source
 * file of a {@code .jar} is a document. Text is UTF-8. Memory is bounded however long a text file,
 * and any document in it, is; a document much longer than {@value #PIECE_LENGTH} characters comes
 * in pieces, cut at line ends where there are any.
 */
public final class TextCorpus implements Corpus {
  public static final int PIECE_LENGTH = 1 << 16;

  /** How much shorter a piece may be to end with a word. */
  static final int SLACK = PIECE_LENGTH / 8;

  /**
   * How files are read.
   *
   * @param separator the line between two documents of a text file
   * @param key where the text is in an object of a JSON file, or in a row of a CSV or Parquet file;
   *     if not given, {@code text}, and chats come before texts
   * @param skipsBadLines whether a line that is not UTF-8, not JSON or has no text under the key is
   *     left out and counted rather than an error
   */
  public record Format(String separator, Optional<String> key, boolean skipsBadLines) {
    public static final Format DEFAULT = new Format("<|endoftext|>", Optional.empty(), false);

    public Format {
      if (separator.indexOf('\n') >= 0 || separator.endsWith("\r")) {
        throw new DataException("--separator: holds a line end, which no line does; leave it out");
      }
    }
  }

  /** Hands out the documents of one file. */
  interface Documents extends AutoCloseable {
    Optional<DocumentChunk> next() throws IOException;

    /** Lines left out so far. */
    long skippedLines();

    @Override
    void close() throws IOException;
  }

  private final List<Path> files;
  private final Format format;
  private final long size;

  private TextCorpus(List<Path> files, Format format) {
    this.files = files;
    this.format = format;
    long total = 0;
    for (Path file : files) {
      try {
        InputFiles.requireRegular(file);
        total += Files.size(file);
      } catch (IOException e) {
        throw unreadable(file, e);
      }
    }
    this.size = total;
  }

  /**
   * The corpus of some inputs, in their order.
   *
   * @param inputs files; folders, of which every file of a supported kind counts, sorted by path;
   *     globs such as <code>data/*.jsonl.gz</code> or <code>**</code><code>/*.txt</code>, sorted
   *     likewise
   * @throws DataException if there is nothing at one of the inputs
   */
  public static TextCorpus of(List<String> inputs, Format format) {
    return new TextCorpus(
        inputs.stream().flatMap(input -> CorpusFiles.find(input).stream()).toList(), format);
  }

  /**
   * Whether the part of a text before a line end ends with a word, so that no word of a tokenizer
   * goes on over the line end.
   */
  static boolean endsWithWord(CharSequence text, int lineEnd) {
    return lineEnd > 0 && Character.isLetterOrDigit(text.charAt(lineEnd - 1));
  }

  @Override
  public String form() {
    return format.toString();
  }

  /** Bytes on disk. */
  @Override
  public long size() {
    return size;
  }

  @Override
  public DocumentReader open() {
    return new FilesPass();
  }

  private final class FilesPass implements DocumentReader {
    private int nextFile;
    private long finishedBytes; // of the files before the open one
    private long finishedSkips;
    private Optional<OpenFile> current = Optional.empty();

    @Override
    public Optional<DocumentChunk> next() {
      while (true) {
        if (current.isEmpty()) {
          if (nextFile == files.size()) {
            return Optional.empty();
          }
          current = Optional.of(OpenFile.open(files.get(nextFile++), format));
        }
        OpenFile file = current.get();
        try {
          Optional<DocumentChunk> piece = file.documents.next();
          if (piece.isPresent()) {
            return piece;
          }
        } catch (IOException e) {
          throw unreadable(file.path, e);
        }
        finishedBytes += file.size;
        finishedSkips += file.documents.skippedLines();
        close();
      }
    }

    @Override
    public long position() {
      return finishedBytes + current.map(file -> file.bytes.count).orElse(0L);
    }

    @Override
    public long skippedLines() {
      return finishedSkips + current.map(file -> file.documents.skippedLines()).orElse(0L);
    }

    @Override
    public void close() {
      current.ifPresent(OpenFile::close);
      current = Optional.empty();
    }
  }

  private record OpenFile(Path path, long size, CountedStream bytes, Documents documents) {
    static OpenFile open(Path path, Format format) {
      String name = path.toString();
      try {
        CountedStream bytes = new CountedStream(InputFiles.stream(path));
        try {
          return new OpenFile(path, Files.size(path), bytes, documents(bytes, name, format));
        } catch (IOException e) {
          bytes.close();
          throw e;
        }
      } catch (IOException e) {
        throw unreadable(path, e);
      }
    }

    private static Documents documents(InputStream bytes, String name, Format format)
        throws IOException {
      if (CorpusFiles.isJar(name)) {
        return new JavaDocuments(bytes, name);
      }
      if (CorpusFiles.kind(name).equals("parquet")) {
        bytes.close();
        return new ObjectDocuments(new ParquetObjects(Path.of(name)), format);
      }
      InputStream content = Decompression.of(name, bytes);
      return switch (CorpusFiles.kind(name)) {
        case "json" -> new ObjectDocuments(ParsedObjects.ofJson(content, name), format);
        case "csv" -> new ObjectDocuments(ParsedObjects.ofCsv(content, name), format);
        case "jsonl" -> new ObjectDocuments(new JsonLines(lines(content, name), name), format);
        default -> new TextDocuments(lines(content, name), format);
      };
    }

    private static LineReader lines(InputStream content, String name) {
      return new LineReader(content, name, PIECE_LENGTH);
    }

    void close() {
      try {
        documents.close();
      } catch (IOException e) {
        throw unreadable(path, e);
      }
    }
  }

  /** Counts what is read. */
  private static final class CountedStream extends FilterInputStream {
    private long count;

    CountedStream(InputStream in) {
      super(in);
    }

    @Override
    public int read() throws IOException {
      int value = super.read();
      count += value < 0 ? 0 : 1;
      return value;
    }

    @Override
    public int read(byte[] bytes, int offset, int length) throws IOException {
      int read = super.read(bytes, offset, length);
      count += Math.max(read, 0);
      return read;
    }
  }

  private static DataException unreadable(Path file, IOException e) {
    String what =
        CorpusFiles.isCompressed(file.toString()) && !(e instanceof FileSystemException)
            ? "cannot be decompressed, it is damaged or cut short"
            : "cannot be read";
    return new DataException("%s: %s: %s".formatted(file, what, DataException.reason(e)), e);
  }
}
