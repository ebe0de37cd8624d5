package org.eellm.cli.option;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.Writer;

/**
 * A standard stream on which characters that command a terminal are written as {@code \u001b}:
 * names and texts out of files from elsewhere are printed, and a terminal obeys them, whatever it
 * was that printed them. JSON means the same by it.
 */
public final class PlainOutput extends PrintWriter {
  private final PrintWriter terminal;

  public PlainOutput(PrintWriter terminal) {
    super(new Escaping(terminal), true);
    this.terminal = terminal;
  }

  /** The stream itself, for colours and bars of our own, and for text that a model generates. */
  public static PrintWriter raw(PrintWriter out) {
    if (out instanceof PlainOutput plain) {
      plain.flush();
      return plain.terminal;
    }
    return out;
  }

  /** A text as it is written. */
  public static String escape(String text) {
    StringBuilder escaped = new StringBuilder(text.length());
    for (int i = 0; i < text.length(); i++) {
      char next = text.charAt(i);
      if (commands(next)) {
        escaped.append("\\u%04x".formatted((int) next));
      } else {
        escaped.append(next);
      }
    }
    return escaped.toString();
  }

  /** Control characters that do more than divide a text, and those that turn its direction. */
  private static boolean commands(char character) {
    return (Character.isISOControl(character) && character != '\n' && character != '\t')
        || (character >= '\u202A' && character <= '\u202E')
        || (character >= '\u2066' && character <= '\u2069');
  }

  private static final class Escaping extends Writer {
    private final PrintWriter to;

    Escaping(PrintWriter to) {
      this.to = to;
    }

    @Override
    public void write(char[] text, int offset, int length) {
      to.write(escape(new String(text, offset, length)));
    }

    @Override
    public void flush() {
      to.flush();
    }

    @Override
    public void close() throws IOException {
      to.close();
    }
  }
}
