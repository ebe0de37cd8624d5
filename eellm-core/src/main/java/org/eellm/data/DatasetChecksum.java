package org.eellm.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.eellm.file.ChecksumFile;
import org.eellm.file.FileChecksum;

/**
 * The checksums of a dataset's two files. {@code prepare} keeps them beside these, in {@code
 * PREFIX.checksums}.
 */
record DatasetChecksum(FileChecksum tokens, FileChecksum index) {
  private static final String ENDING = ".checksums";

  /** Of two files, which it reads. */
  static DatasetChecksum of(Path tokens, Path index) throws IOException {
    return new DatasetChecksum(FileChecksum.of(tokens), FileChecksum.of(index));
  }

  /** A line for {@link #parse}. */
  String line() {
    return "%d %s %d %s".formatted(tokens.bytes(), tokens.crc(), index.bytes(), index.crc());
  }

  /** What {@link #line} wrote. */
  static DatasetChecksum parse(String line) {
    String[] words = line.split(" ", 4);
    return new DatasetChecksum(
        new FileChecksum(Long.parseLong(words[0]), words[1]),
        new FileChecksum(Long.parseLong(words[2]), words[3]));
  }

  /** That of parts of two files and the parts behind these. */
  DatasetChecksum followedBy(DatasetChecksum next) {
    return new DatasetChecksum(tokens.followedBy(next.tokens), index.followedBy(next.index));
  }

  static Path file(Path prefix) {
    return prefix.resolveSibling(prefix.getFileName() + ENDING);
  }

  /** Keeps it beside a dataset. */
  void write(Path prefix) throws IOException {
    Map<String, FileChecksum> files =
        Map.of(
            name(IndexedFormat.tokens(prefix)), tokens, name(IndexedFormat.index(prefix)), index);
    new ChecksumFile(file(prefix), new TreeMap<>(files)).write();
  }

  private static String name(Path path) {
    return path.getFileName().toString();
  }

  /**
   * The checksums kept beside a dataset; empty if there are none, as beside those of other tools.
   *
   * @throws DataException if it is damaged
   */
  static Optional<DatasetChecksum> kept(Path prefix) throws IOException {
    Path path = file(prefix);
    if (!Files.exists(path)) {
      return Optional.empty();
    }
    Map<String, FileChecksum> files =
        ChecksumFile.read(path)
            .<Map<String, FileChecksum>>map(ChecksumFile::files)
            .orElse(Map.of());
    FileChecksum tokens = files.get(name(IndexedFormat.tokens(prefix)));
    FileChecksum index = files.get(name(IndexedFormat.index(prefix)));
    if (tokens == null || index == null) {
      throw new DataException(
          "%s: is damaged or of files with other names; remove it, or prepare the text again"
              .formatted(path));
    }
    return Optional.of(new DatasetChecksum(tokens, index));
  }

  /** Refuses files that are not those of {@code kept}. */
  void requireSame(DatasetChecksum kept, Path prefix) {
    requireSame(IndexedFormat.tokens(prefix), tokens, kept.tokens);
    requireSame(IndexedFormat.index(prefix), index, kept.index);
  }

  private static void requireSame(Path file, FileChecksum found, FileChecksum kept) {
    if (!found.equals(kept)) {
      throw new DataException(
          "%s: is not as it was written (%d bytes with checksum %s, %s has %d with %s); copy or prepare the pair again"
              .formatted(
                  file,
                  found.bytes(),
                  found.crc(),
                  file.getFileName().toString().replaceFirst("\\.[a-z]+$", ENDING),
                  kept.bytes(),
                  kept.crc()));
    }
  }

  /** Both checksums in a word. */
  String text() {
    return tokens.crc() + "-" + index.crc();
  }
}
