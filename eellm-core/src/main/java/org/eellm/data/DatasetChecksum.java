package org.eellm.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.file.ChecksumFile;
import org.eellm.file.FileChecksum;

/**
 * The checksums of a dataset's two files, and of its mask if it has one. {@code prepare} keeps them
 * beside these, in {@code PREFIX.checksums}.
 */
record DatasetChecksum(FileChecksum tokens, FileChecksum index, Optional<FileChecksum> mask) {
  private static final String ENDING = ".checksums";

  /** A line for {@link #parse}. */
  String line() {
    return files().map(file -> file.bytes() + " " + file.crc()).collect(Collectors.joining(" "));
  }

  private Stream<FileChecksum> files() {
    return Stream.concat(Stream.of(tokens, index), mask.stream());
  }

  /** What {@link #line} wrote. */
  static DatasetChecksum parse(String line) {
    String[] words = line.split(" ", -1);
    return new DatasetChecksum(
        file(words, 0),
        file(words, 2),
        words.length > 4 ? Optional.of(file(words, 4)) : Optional.empty());
  }

  private static FileChecksum file(String[] words, int first) {
    return new FileChecksum(Long.parseLong(words[first]), words[first + 1]);
  }

  /** That of parts of the files and the parts behind these. */
  DatasetChecksum followedBy(DatasetChecksum next) {
    return new DatasetChecksum(
        tokens.followedBy(next.tokens),
        index.followedBy(next.index),
        mask.map(own -> own.followedBy(next.mask.orElseThrow())));
  }

  static Path file(Path prefix) {
    return prefix.resolveSibling(prefix.getFileName() + ENDING);
  }

  /** Keeps it beside a dataset. */
  void write(Path prefix) throws IOException {
    SortedMap<String, FileChecksum> files = new TreeMap<>();
    files.put(name(IndexedFormat.tokens(prefix)), tokens);
    files.put(name(IndexedFormat.index(prefix)), index);
    mask.ifPresent(own -> files.put(name(IndexedFormat.mask(prefix)), own));
    new ChecksumFile(file(prefix), files).write();
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
    FileChecksum mask = files.get(name(IndexedFormat.mask(prefix)));
    return Optional.of(new DatasetChecksum(tokens, index, Optional.ofNullable(mask)));
  }

  /** Refuses files that are not those of {@code kept}. */
  void requireSame(DatasetChecksum kept, Path prefix) {
    requireSame(IndexedFormat.tokens(prefix), tokens, kept.tokens);
    requireSame(IndexedFormat.index(prefix), index, kept.index);
    if (mask.isPresent() != kept.mask.isPresent()) {
      throw new DataException(
          "%s: %s, other than when the dataset was written; copy or prepare its files again"
              .formatted(
                  IndexedFormat.mask(prefix), mask.isPresent() ? "is there" : "is not there"));
    }
    if (mask.isPresent()) {
      requireSame(IndexedFormat.mask(prefix), mask.get(), kept.mask.orElseThrow());
    }
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

  /** All checksums in a word. */
  String text() {
    return files().map(FileChecksum::crc).collect(Collectors.joining("-"));
  }
}
