package org.eellm.file;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.CRC32C;

/**
 * A text file with a line for each of some files beside it, {@code CRC BYTES NAME}, and one for the
 * lines before it, whose name is a dot.
 *
 * @param path of the text file
 * @param files their checksums by their paths within its folder
 */
public record ChecksumFile(Path path, SequencedMap<String, FileChecksum> files) {
  /** The system property that switches checks off. */
  public static final String PROPERTY = "eellm.checksums";

  private static final String SKIP = "skip";
  private static final String ITSELF = ".";
  private static final Pattern LINE = Pattern.compile("([0-9a-f]{8}) (\\d{1,18}) (.+)");
  private static final int MOST_BYTES = 10_000_000;

  public ChecksumFile {
    files = Collections.unmodifiableSequencedMap(new TreeMap<>(files));
  }

  /** Whether files are to be checked: unless {@value #PROPERTY} says {@code skip}. */
  public static boolean isWanted() {
    return !SKIP.equals(System.getProperty(PROPERTY));
  }

  /** Writes it. */
  public void write() throws IOException {
    StringBuilder text = new StringBuilder();
    files.forEach((name, sum) -> text.append(line(name, sum)));
    text.append(line(ITSELF, ofText(text.toString())));
    Files.writeString(path, text);
  }

  private static String line(String name, FileChecksum sum) {
    return sum.crc() + " " + sum.bytes() + " " + name + "\n";
  }

  private static FileChecksum ofText(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    CRC32C crc = new CRC32C();
    crc.update(bytes);
    return FileChecksum.of(bytes.length, crc);
  }

  /**
   * Reads a file.
   *
   * @return empty if it is not what {@link #write} wrote
   * @throws IOException if it cannot be read
   */
  public static Optional<ChecksumFile> read(Path path) throws IOException {
    String text;
    try {
      text = InputFiles.text(path, MOST_BYTES);
    } catch (CharacterCodingException damaged) {
      return Optional.empty();
    }
    int end = text.lastIndexOf('\n', text.length() - 2) + 1;
    String before = text.substring(0, end);
    if (!text.substring(end).equals(line(ITSELF, ofText(before)))) {
      return Optional.empty();
    }
    SortedMap<String, FileChecksum> files = new TreeMap<>();
    for (String line : before.lines().toList()) {
      Matcher parts = LINE.matcher(line);
      if (!parts.matches()) {
        return Optional.empty();
      }
      files.put(parts.group(3), new FileChecksum(Long.parseLong(parts.group(2)), parts.group(1)));
    }
    return Optional.of(new ChecksumFile(path, files));
  }

  /**
   * The first of some files that is not as it was written, in a line; empty if all are. They are
   * read side by side.
   *
   * @param names of files that have a checksum here
   */
  public Optional<String> firstDamage(Collection<String> names) {
    List<Optional<String>> found = names.parallelStream().map(this::damage).toList();
    return found.stream().flatMap(Optional::stream).findFirst();
  }

  private Optional<String> damage(String name) {
    Path file = path.resolveSibling(name);
    FileChecksum told = files.getOrDefault(name, new FileChecksum(0, ""));
    try {
      if (!Files.isRegularFile(file)) {
        return Optional.of(file + ": is missing, though " + path.getFileName() + " names it");
      }
      long bytes = Files.size(file);
      if (bytes != told.bytes()) {
        return Optional.of(
            "%s: has %d bytes and had %d when it was written".formatted(file, bytes, told.bytes()));
      }
      String crc = FileChecksum.of(file).crc();
      return crc.equals(told.crc())
          ? Optional.empty()
          : Optional.of(
              "%s: is not as it was written (checksum %s, %s has %s)"
                  .formatted(file, crc, path.getFileName(), told.crc()));
    } catch (IOException failure) {
      return Optional.of(file + ": cannot be read: " + failure);
    }
  }
}
