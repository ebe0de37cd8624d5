package org.eellm.data;

import com.fasterxml.jackson.annotation.JsonAutoDetect;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Optional;
import java.util.zip.CRC32C;
import org.eellm.file.FileChecksum;
import org.eellm.file.InputFiles;

/**
 * How far a preparation has come. {@code PREFIX.progress} has it, beside the parts of the dataset,
 * so that one that was stopped goes on from there.
 *
 * @param tokenizer of what says how files become tokens
 * @param text of all text so far, with the ends of its pieces
 * @param batches in which the text was read
 * @param files how far they are written
 * @param counts what is in them
 */
record PreparationState(
    FileChecksum tokenizer,
    FileChecksum text,
    long batches,
    IndexedDatasetWriter.Position files,
    Counts counts) {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int MOST_BYTES = 10_000;

  /** What has been written. */
  @JsonAutoDetect(fieldVisibility = JsonAutoDetect.Visibility.ANY)
  static final class Counts {
    long documents;
    long chats;
    long leftOutChats;
    long emptyDocuments;
    long tokens;
    long countedTokens;
    long textBytes;
    boolean inDocument;
  }

  /** Nothing, by a tokenizer. */
  static PreparationState start(FileChecksum tokenizer) {
    return new PreparationState(
        tokenizer,
        FileChecksum.of(0, new CRC32C()),
        0,
        IndexedDatasetWriter.Position.START,
        new Counts());
  }

  static Path file(Path prefix) {
    return prefix.resolveSibling(prefix.getFileName() + ".progress");
  }

  /** That of a preparation that was stopped; empty if there is none. */
  static Optional<PreparationState> read(Path prefix) {
    Path path = file(prefix);
    try {
      return Files.exists(path)
          ? Optional.of(JSON.readValue(InputFiles.bytes(path, MOST_BYTES), PreparationState.class))
          : Optional.empty();
    } catch (JsonProcessingException e) {
      throw new DataException(path + ": is damaged; remove it to begin anew", e);
    } catch (IOException e) {
      throw DataException.unreadable(path, e);
    }
  }

  /** What {@link #write} takes. */
  byte[] bytes() {
    try {
      return JSON.writeValueAsBytes(this);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e); // it has numbers alone
    }
  }

  /** Puts a state in the place of an earlier one. */
  static void write(byte[] state, Path prefix) {
    Path path = file(prefix);
    Path temporary = path.resolveSibling(path.getFileName() + ".tmp");
    try {
      Files.write(temporary, state);
      Files.move(
          temporary, path, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      throw new DataException(
          "%s: cannot be written: %s".formatted(path, DataException.reason(e)), e);
    }
  }

  /** Removes it, if there is one. */
  static void remove(Path prefix) {
    try {
      Files.deleteIfExists(file(prefix));
    } catch (IOException e) {
      throw new DataException(
          "%s: cannot be removed: %s".formatted(file(prefix), DataException.reason(e)), e);
    }
  }

  /** Refuses to go on with other inputs than those that were begun with. */
  static void requireSame(FileChecksum now, FileChecksum then, String what, Path prefix) {
    if (!now.equals(then)) {
      throw new DataException(
          "%s: is of a run that was stopped, and %s changed since; remove it to begin anew"
              .formatted(file(prefix), what));
    }
  }
}
