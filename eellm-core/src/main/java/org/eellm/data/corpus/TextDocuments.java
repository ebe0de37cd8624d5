package org.eellm.data.corpus;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import org.eellm.data.DataException;

/**
 * The documents of a text file. The line end before a separator or the end of the file belongs to
 * no document; nothing between two separators is no document.
 */
final class TextDocuments implements TextCorpus.Documents {
  private final LineReader lines;
  private final byte[] separator;
  private final boolean skipsBadLines;
  private final StringBuilder text = new StringBuilder();
  private boolean inDocument;
  private boolean startsDocument = true;
  private long skippedLines;

  TextDocuments(LineReader lines, TextCorpus.Format format) {
    this.lines = lines;
    this.separator = format.separator().getBytes(StandardCharsets.UTF_8);
    this.skipsBadLines = format.skipsBadLines();
  }

  @Override
  public Optional<Corpus.DocumentChunk> next() throws IOException {
    while (lines.next()) {
      if (lines.isLine(separator)) {
        if (inDocument) {
          return Optional.of(piece(true));
        }
        continue;
      }
      addLine();
      int spare = TextCorpus.PIECE_LENGTH - text.length();
      boolean mayEnd = spare <= TextCorpus.SLACK && TextCorpus.endsWithWord(text, text.length());
      if (spare <= 0 || mayEnd) {
        return Optional.of(piece(false));
      }
    }
    return inDocument ? Optional.of(piece(true)) : Optional.empty();
  }

  private void addLine() {
    CharSequence line;
    try {
      line = lines.text();
    } catch (DataException e) {
      if (!skipsBadLines) {
        throw e;
      }
      skippedLines++;
      return;
    }
    if (inDocument && lines.startsLine()) {
      text.append('\n');
    }
    inDocument = true;
    text.append(line);
  }

  private Corpus.DocumentChunk piece(boolean endsDocument) {
    Corpus.DocumentChunk piece =
        Corpus.DocumentChunk.piece(text.toString(), startsDocument, endsDocument);
    text.setLength(0);
    startsDocument = endsDocument;
    inDocument = !endsDocument;
    return piece;
  }

  @Override
  public long skippedLines() {
    return skippedLines;
  }

  @Override
  public void close() throws IOException {
    lines.close();
  }
}
