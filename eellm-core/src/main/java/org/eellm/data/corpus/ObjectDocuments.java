package org.eellm.data.corpus;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.Optional;
import java.util.stream.Collectors;
import org.eellm.data.DataException;

/**
 * The documents of a file of objects, one each: a chat, or a text under the key. Of both, that
 * under a key that was given.
 */
final class ObjectDocuments implements TextCorpus.Documents {
  /** Hands out the objects of a file. */
  interface Objects extends AutoCloseable {
    /**
     * Goes to the next object.
     *
     * @return empty at the end
     * @throws BadObject if it is none, but others may come behind it
     * @throws DataException if nothing more can be read
     */
    Optional<JsonNode> next() throws IOException, BadObject;

    /** What messages call the object: its file and line. */
    String place();

    @Override
    void close() throws IOException;
  }

  /** An object that cannot be used; the message is without its place. */
  static final class BadObject extends Exception {
    BadObject(String what) {
      super(what);
    }
  }

  private final Objects objects;
  private final TextCorpus.Format format;
  private final String key;
  private String text = "";
  private int position; // in the text: what is before it has been handed out
  private boolean inDocument;
  private long skippedLines;

  ObjectDocuments(Objects objects, TextCorpus.Format format) {
    this.objects = objects;
    this.format = format;
    key = format.key().orElse("text");
  }

  @Override
  public Optional<Corpus.DocumentChunk> next() throws IOException {
    while (!inDocument) {
      try {
        Optional<JsonNode> object = objects.next();
        if (object.isEmpty()) {
          return Optional.empty();
        }
        Optional<Corpus.DocumentChunk> chat = chat(object.get());
        if (chat.isPresent()) {
          return chat;
        }
        text = text(object.get());
        position = 0;
        inDocument = true;
      } catch (BadObject e) {
        if (!format.skipsBadLines()) {
          throw new DataException(
              "%s: %s; mend the line, choose another --key, or leave such lines out with --skip-bad-lines"
                  .formatted(objects.place(), e.getMessage()),
              e);
        }
        skippedLines++;
      }
    }
    int from = position;
    position = pieceEnd();
    inDocument = position < text.length();
    return Optional.of(
        Corpus.DocumentChunk.piece(text.substring(from, position), from == 0, !inDocument));
  }

  /** The conversation of an object, unless it has a text under the key that was given. */
  private Optional<Corpus.DocumentChunk> chat(JsonNode object) throws BadObject {
    if (!object.isObject()) {
      throw new BadObject("is no JSON object");
    }
    if (format.key().filter(object::has).isPresent()) {
      return Optional.empty();
    }
    Optional<Corpus.DocumentChunk> chat =
        ChatObject.messages(object)
            .map(messages -> new Chat(messages, objects.place()))
            .map(Corpus.DocumentChunk::chat);
    if (chat.isPresent() && !isWellFormed(chat.get().text())) {
      throw new BadObject("the chat has half a surrogate pair");
    }
    return chat;
  }

  private String text(JsonNode object) throws BadObject {
    JsonNode value = object.path(key);
    if (value.isMissingNode()) {
      throw new BadObject("has no key \"%s\" and no chat but %s".formatted(key, keys(object)));
    }
    if (!value.isTextual()) {
      throw new BadObject("\"%s\" is no string".formatted(key));
    }
    String result = value.textValue();
    if (!isWellFormed(result)) {
      throw new BadObject("\"%s\" has half a surrogate pair".formatted(key));
    }
    return result;
  }

  private static String keys(JsonNode object) {
    String names =
        object.properties().stream()
            .limit(8)
            .map(entry -> "\"" + entry.getKey() + "\"")
            .collect(Collectors.joining(", "));
    return names.isEmpty() ? "none at all" : names;
  }

  private static boolean isWellFormed(String text) {
    for (int i = 0; i < text.length(); i++) {
      char character = text.charAt(i);
      if (Character.isSurrogate(character)) {
        if (i + 1 == text.length() || !Character.isSurrogatePair(character, text.charAt(i + 1))) {
          return false;
        }
        i++;
      }
    }
    return true;
  }

  /**
   * Where the next piece ends: at the last line end that it can hold, behind a word if one is near,
   * or between characters.
   */
  private int pieceEnd() {
    int limit = position + TextCorpus.PIECE_LENGTH;
    if (limit >= text.length()) {
      return text.length();
    }
    int lineEnd = text.lastIndexOf('\n', limit);
    for (int before = lineEnd;
        before > limit - TextCorpus.SLACK;
        before = text.lastIndexOf('\n', before - 1)) {
      if (TextCorpus.endsWithWord(text, before)) {
        return before;
      }
    }
    if (lineEnd > position) {
      return lineEnd;
    }
    return Character.isLowSurrogate(text.charAt(limit)) ? limit - 1 : limit;
  }

  @Override
  public long skippedLines() {
    return skippedLines;
  }

  @Override
  public void close() throws IOException {
    objects.close();
  }
}
