package org.eellm.serve.connection;

import java.nio.charset.StandardCharsets;
import java.util.regex.Pattern;

/** Requests in HTTP/1.0, which Helidon does not read, in the words of HTTP/1.1. */
final class Http10 {
  private static final String VERSION = " HTTP/1.0\r\n";
  private static final String END = "\r\n\r\n";
  private static final Pattern HOST = Pattern.compile("\r\nhost:", Pattern.CASE_INSENSITIVE);

  private Http10() {}

  /** Whether a request whose first line is there has this version. */
  static boolean isVersionOf(byte[] request) {
    String text = text(request);
    return text.substring(0, text.indexOf('\n') + 1).endsWith(VERSION);
  }

  /** Whether a request's head is there. */
  static boolean hasWholeHead(byte[] request) {
    return text(request).contains(END);
  }

  /**
   * A request of which at least the first line is there. Its connection ends with the answer, as in
   * HTTP/1.0. Browsers always send {@code Host}, and other programs may leave it out.
   */
  static byte[] asHttp11(byte[] request) {
    String text = text(request);
    int line = text.indexOf(VERSION);
    int end = text.indexOf(END);
    String head = end < 0 ? text : text.substring(0, end);
    String host = HOST.matcher(head).find() ? "" : "Host: localhost\r\n";
    return (text.substring(0, line)
            + " HTTP/1.1\r\nConnection: close\r\n"
            + host
            + text.substring(line + VERSION.length()))
        .getBytes(StandardCharsets.ISO_8859_1);
  }

  private static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.ISO_8859_1); // each byte as one character
  }
}
