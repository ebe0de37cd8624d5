package org.eellm.data.corpus;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Optional;
import java.util.stream.Collectors;
import org.eellm.data.DataException;

/**
 * The documents of a JSON lines file: one an object, an object a line; blank lines are allowed. An
 * object without a text under the key may be a chat.
 */
final class JsonDocuments implements TextCorpus.Documents {
  private static final int MAX_LINE_BYTES = 1 << 28;

  private static final ObjectMapper JSON =
      new ObjectMapper(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder().maxStringLength(MAX_LINE_BYTES).build())
                  .build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private final LineReader lines;
  private final String place;
  private final TextCorpus.Format format;
  private final ByteArrayOutputStream line = new ByteArrayOutputStream();
  private String text = "";
  private int position; // in the text: what is before it has been handed out
  private boolean inDocument;
  private long skippedLines;

  JsonDocuments(LineReader lines, String place, TextCorpus.Format format) {
    this.lines = lines;
    this.place = place;
    this.format = format;
  }

  @Override
  public Optional<Corpus.DocumentChunk> next() throws IOException {
    while (!inDocument) {
      if (!readLine()) {
        return Optional.empty();
      }
      try {
        JsonNode object = parse();
        if (object.isMissingNode()) {
          continue;
        }
        Optional<Corpus.DocumentChunk> chat = chat(object);
        if (chat.isPresent()) {
          return chat;
        }
        text = text(object);
        position = 0;
        inDocument = true;
      } catch (DataException e) {
        if (!format.skipsBadLines()) {
          throw e;
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

  private boolean readLine() throws IOException {
    line.reset();
    boolean found = false;
    while (lines.next()) {
      found = true;
      if (line.size() > MAX_LINE_BYTES - lines.length()) {
        throw new DataException(
            "%s:%d: the line is longer than %d MiB; divide its text into several documents"
                .formatted(place, lines.line(), MAX_LINE_BYTES >> 20));
      }
      lines.appendTo(line);
      if (lines.endsLine()) {
        break;
      }
    }
    return found;
  }

  /** The line's object; missing if the line is blank. */
  private JsonNode parse() throws IOException {
    JsonNode object;
    try {
      object = JSON.readTree(line.toByteArray());
    } catch (JsonProcessingException e) {
      throw bad("not valid JSON: " + DataException.reason(e));
    }
    if (!object.isMissingNode() && !object.isObject()) {
      throw bad("is no JSON object");
    }
    return object;
  }

  /** The conversation of an object that has no text under the key. */
  private Optional<Corpus.DocumentChunk> chat(JsonNode object) {
    if (object.has(format.key())) {
      return Optional.empty();
    }
    Optional<Corpus.DocumentChunk> chat;
    try {
      chat =
          ChatObject.messages(object)
              .map(messages -> new Chat(messages, place + ":" + lines.line()))
              .map(Corpus.DocumentChunk::chat);
    } catch (DataException e) {
      throw bad(String.valueOf(e.getMessage()));
    }
    if (chat.isPresent() && !isWellFormed(chat.get().text())) {
      throw bad("the chat has half a surrogate pair");
    }
    return chat;
  }

  private String text(JsonNode object) {
    JsonNode value = object.path(format.key());
    if (value.isMissingNode()) {
      throw bad("has no key \"%s\" and no chat but %s".formatted(format.key(), keys(object)));
    }
    if (!value.isTextual()) {
      throw bad("\"%s\" is no string".formatted(format.key()));
    }
    String result = value.textValue();
    if (!isWellFormed(result)) {
      throw bad("\"%s\" has half a surrogate pair".formatted(format.key()));
    }
    return result;
  }

  private DataException bad(String what) {
    return new DataException(
        ("%s:%d: %s; mend the line, choose another --key, or leave such lines out with"
                + " --skip-bad-lines")
            .formatted(place, lines.line(), what));
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

  /** Where the next piece ends: at the last line end that it can hold, or between characters. */
  private int pieceEnd() {
    int limit = position + TextCorpus.PIECE_LENGTH;
    if (limit >= text.length()) {
      return text.length();
    }
    int lineEnd = text.lastIndexOf('\n', limit);
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
    lines.close();
  }
}
