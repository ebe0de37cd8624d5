package org.eellm.data.corpus;

import java.util.Iterator;
import java.util.List;
import java.util.Optional;

/**
 * Documents to train on, which can be read from the beginning any number of times, always in the
 * same order.
 */
public interface Corpus {
  /** A new pass over the documents. */
  DocumentReader open();

  /** What decides how files become documents; empty where nothing does. */
  default String form() {
    return "";
  }

  /** How much there is to read, in bytes as they are stored. */
  long size();

  /** One pass. Used by one thread. */
  interface DocumentReader extends AutoCloseable {
    /** The next piece of a document; empty at the end. */
    Optional<DocumentChunk> next();

    /** How much has been read, up to {@link Corpus#size}. */
    long position();

    /** Lines left out because they could not be used. */
    long skippedLines();

    @Override
    void close();
  }

  /**
   * A document or, so that one larger than memory can be worked on, a part of one.
   *
   * @param startsDocument whether this is a document's first piece
   * @param endsDocument whether this is a document's last piece
   * @param chat the document, where it is a conversation and the text only what is said in it
   */
  record DocumentChunk(
      String text, boolean startsDocument, boolean endsDocument, Optional<Chat> chat) {
    /** A whole document. */
    static DocumentChunk document(String text) {
      return piece(text, true, true);
    }

    /** A part of a document. */
    static DocumentChunk piece(String text, boolean startsDocument, boolean endsDocument) {
      return new DocumentChunk(text, startsDocument, endsDocument, Optional.empty());
    }

    /** A conversation. */
    static DocumentChunk chat(Chat chat) {
      return new DocumentChunk(chat.text(), true, true, Optional.of(chat));
    }
  }

  /** Documents in memory. */
  static Corpus of(List<String> documents) {
    List<String> copy = List.copyOf(documents);
    long size = copy.stream().mapToLong(String::length).sum();
    return new Corpus() {
      @Override
      public DocumentReader open() {
        Iterator<String> iterator = copy.iterator();
        return new DocumentReader() {
          private long position;

          @Override
          public Optional<DocumentChunk> next() {
            if (!iterator.hasNext()) {
              return Optional.empty();
            }
            String document = iterator.next();
            position += document.length();
            return Optional.of(DocumentChunk.document(document));
          }

          @Override
          public long position() {
            return position;
          }

          @Override
          public long skippedLines() {
            return 0;
          }

          @Override
          public void close() {}
        };
      }

      @Override
      public long size() {
        return size;
      }
    };
  }
}
