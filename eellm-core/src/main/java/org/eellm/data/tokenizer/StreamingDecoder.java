package org.eellm.data.tokenizer;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;

/**
 * Turns tokens into text as they come. A character whose bytes are split over several tokens is
 * held back until its last byte is there, so the pieces joined are the text of all tokens.
 */
public final class StreamingDecoder {
  private final Tokenizer tokenizer;
  private final CharsetDecoder utf8 =
      StandardCharsets.UTF_8
          .newDecoder()
          .onMalformedInput(CodingErrorAction.REPLACE)
          .onUnmappableCharacter(CodingErrorAction.REPLACE);
  private ByteBuffer pending = ByteBuffer.allocate(64);
  private boolean atStart;

  StreamingDecoder(Tokenizer tokenizer, boolean dropsLeadingBlank) {
    this.tokenizer = tokenizer;
    this.atStart = dropsLeadingBlank;
  }

  /** The text that is certain once this token is there; often empty, special tokens have none. */
  public String append(int id) {
    byte[] bytes = tokenizer.bytes(id);
    if (bytes.length == 0) {
      return "";
    }
    int skipped = atStart && bytes[0] == ' ' ? 1 : 0;
    atStart = false;
    if (pending.remaining() < bytes.length) {
      ByteBuffer larger = ByteBuffer.allocate(2 * (pending.position() + bytes.length));
      pending = larger.put(pending.flip());
    }
    pending.put(bytes, skipped, bytes.length - skipped);
    return decode(false);
  }

  /** The rest: a replacement character if the tokens ended inside a character, else nothing. */
  public String finish() {
    return decode(true);
  }

  private String decode(boolean endOfInput) {
    pending.flip();
    CharBuffer text = CharBuffer.allocate(pending.remaining() + 1);
    var unused = utf8.decode(pending, text, endOfInput);
    pending.compact();
    return text.flip().toString();
  }
}
