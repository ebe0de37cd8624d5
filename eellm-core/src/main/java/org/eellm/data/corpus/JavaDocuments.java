package org.eellm.data.corpus;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipInputStream;
import org.eellm.data.DataException;

/**
 * The Java source files of a jar, as Maven's artifacts with the classifier {@code sources} have
 * them: a file is a document. What stands before the package declaration, which is mostly a licence
 * in the same words everywhere, is left out; so are {@code package-info} and {@code module-info}.
 */
final class JavaDocuments implements TextCorpus.Documents {
  /** No source file is larger, and a damaged or hostile jar cannot fill the memory. */
  private static final int MAX_BYTES = 16 << 20;

  private final ZipInputStream zip;
  private final String place;

  JavaDocuments(InputStream jar, String place) {
    this.zip = new ZipInputStream(jar, StandardCharsets.UTF_8);
    this.place = place;
  }

  @Override
  public Optional<Corpus.DocumentChunk> next() throws IOException {
    try {
      for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
        if (isSource(entry.getName())) {
          return Optional.of(Corpus.DocumentChunk.document(withoutHeader(read(entry))));
        }
      }
      return Optional.empty();
    } catch (IllegalArgumentException e) { // an entry's name is not UTF-8
      throw new ZipException(e.getMessage());
    }
  }

  private static boolean isSource(String name) {
    return name.endsWith(".java")
        && !name.endsWith("package-info.java")
        && !name.endsWith("module-info.java");
  }

  private String read(ZipEntry entry) throws IOException {
    byte[] bytes = zip.readNBytes(MAX_BYTES + 1);
    if (bytes.length > MAX_BYTES) {
      throw new DataException(
          "%s: %s has more than %,d bytes, which no source file has; leave it out"
              .formatted(place, entry.getName(), MAX_BYTES));
    }
    return text(bytes).replace("\r\n", "\n");
  }

  /** Old sources are not always UTF-8. */
  private static String text(byte[] bytes) {
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
    } catch (CharacterCodingException _) {
      return new String(bytes, StandardCharsets.ISO_8859_1);
    }
  }

  /** The text from the package declaration on, where only comments are before it. */
  static String withoutHeader(String text) {
    int at = 0;
    while (at < text.length()) {
      int end = at + 1;
      if (text.startsWith("/*", at)) {
        end = after(text, "*/", at + 2);
      } else if (text.startsWith("//", at)) {
        end = after(text, "\n", at);
      } else if (!Character.isWhitespace(text.charAt(at))) {
        break;
      }
      at = end;
    }
    return text.startsWith("package ", at) ? text.substring(at) : text;
  }

  private static int after(String text, String mark, int from) {
    int found = text.indexOf(mark, from);
    return found < 0 ? text.length() : found + mark.length();
  }

  @Override
  public long skippedLines() {
    return 0;
  }

  @Override
  public void close() throws IOException {
    zip.close();
  }
}
