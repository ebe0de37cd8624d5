package org.eellm.data.corpus;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.eellm.data.DataException;

/**
 * Cuts a UTF-8 stream into lines in bounded memory: a line longer than the buffer comes in
 * fragments, none of which ends inside a character. Lines end with LF or CR LF, which are not part
 * of them; neither is a byte order mark at the start.
 */
final class LineReader implements AutoCloseable {
  private final InputStream in;
  private final String place;
  private final byte[] buffer;
  private final CharBuffer characters;
  private final CharsetDecoder utf8 = StandardCharsets.UTF_8.newDecoder();

  private int start; // of the fragment
  private int end;
  private int next; // where the one after it starts
  private int filled;
  private boolean startsLine;
  private boolean endsLine = true;
  private long discarded; // bytes that have left the buffer
  private long line;

  /**
   * @param place what messages call the stream
   * @param bufferSize longest fragment in bytes, at least 8
   */
  LineReader(InputStream in, String place, int bufferSize) {
    this.in = in;
    this.place = place;
    this.buffer = new byte[bufferSize];
    this.characters = CharBuffer.allocate(bufferSize);
  }

  /** Goes to the next fragment; false at the end of the stream. */
  boolean next() throws IOException {
    startsLine = endsLine;
    line += startsLine ? 1 : 0;
    start = next;
    int scanned = start;
    while (true) {
      for (int i = scanned; i < filled; i++) {
        if (buffer[i] == '\n') {
          boolean carriageReturn = i > start && buffer[i - 1] == '\r';
          return fragment(carriageReturn ? i - 1 : i, i + 1, true);
        }
      }
      if (start == 0 && filled == buffer.length) {
        int boundary = characterBoundary();
        return fragment(boundary, boundary, false);
      }
      scanned = filled - start;
      moveToFront();
      int count = in.read(buffer, filled, buffer.length - filled);
      if (count < 0) {
        return (filled > 0 || !startsLine) && fragment(filled, filled, true);
      }
      filled += count;
    }
  }

  private boolean fragment(int end, int next, boolean endsLine) {
    boolean marked =
        discarded + start == 0
            && end >= 3
            && buffer[0] == (byte) 0xEF
            && buffer[1] == (byte) 0xBB
            && buffer[2] == (byte) 0xBF;
    start += marked ? 3 : 0;
    this.end = end;
    this.next = next;
    this.endsLine = endsLine;
    return true;
  }

  private void moveToFront() {
    System.arraycopy(buffer, start, buffer, 0, filled - start);
    discarded += start;
    filled -= start;
    start = 0;
    next = 0;
  }

  /** Where the buffer's last whole character ends. */
  private int characterBoundary() {
    for (int i = filled - 1; i >= filled - 3; i--) {
      int value = buffer[i] & 0xFF;
      if (value < 0x80) {
        return filled;
      }
      if (value >= 0xC0) { // the first byte of a character
        int length = value >= 0xF0 ? 4 : value >= 0xE0 ? 3 : 2;
        return i + length > filled ? i : filled;
      }
    }
    return filled;
  }

  /** Whether the fragment is the first of its line. */
  boolean startsLine() {
    return startsLine;
  }

  /** Whether the fragment is the last of its line. */
  boolean endsLine() {
    return endsLine;
  }

  /** The line's number, from 1. */
  long line() {
    return line;
  }

  int length() {
    return end - start;
  }

  /** Whether the fragment is a whole line with just this content. */
  boolean isLine(byte[] content) {
    return startsLine && endsLine && Arrays.equals(buffer, start, end, content, 0, content.length);
  }

  /** Adds the fragment's bytes. */
  void appendTo(ByteArrayOutputStream bytes) {
    bytes.write(buffer, start, length());
  }

  /**
   * The fragment as text, valid until the next call.
   *
   * @throws DataException if it is not UTF-8
   */
  CharSequence text() {
    ByteBuffer bytes = ByteBuffer.wrap(buffer, start, length());
    characters.clear();
    if (utf8.reset().decode(bytes, characters, true).isError()) {
      throw new DataException(
          ("%s:%d: not UTF-8 at byte %d of the text (0x%02X); convert the file to UTF-8, for"
                  + " example with iconv")
              .formatted(place, line, discarded + bytes.position(), buffer[bytes.position()]));
    }
    return characters.flip();
  }

  @Override
  public void close() throws IOException {
    in.close();
  }
}
