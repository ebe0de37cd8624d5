package org.eellm.data.corpus;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;
import org.eellm.data.DataException;

/**
 * The Java sources that come with the build: libraries under the Apache licence, as Maven brings
 * them. One of them is held out, to see what a model makes of code that it never saw.
 *
 * @param training libraries to learn from
 * @param heldOut the library that is held out
 */
public record JavaSources(List<Path> training, Path heldOut) {
  private static final String HELD_OUT = "commons-text-";

  /**
   * The jars of a folder.
   *
   * @throws DataException if they are not all there
   */
  public static JavaSources in(Path folder) {
    List<Path> jars = List.of();
    if (Files.isDirectory(folder)) {
      try (Stream<Path> children = Files.list(folder)) {
        jars =
            children.filter(child -> child.toString().endsWith("-sources.jar")).sorted().toList();
      } catch (IOException e) {
        throw new DataException(
            "%s: cannot be listed: %s".formatted(folder, DataException.reason(e)), e);
      }
    }
    Optional<Path> heldOut = jars.stream().filter(JavaSources::isHeldOut).findFirst();
    List<Path> training = jars.stream().filter(jar -> !isHeldOut(jar)).toList();
    if (heldOut.isEmpty() || training.isEmpty()) {
      throw new DataException(
          "%s: the Java sources to learn from are not there; the launcher ./eellm and 'mvn process-classes' bring them"
              .formatted(folder));
    }
    return new JavaSources(training, heldOut.get());
  }

  private static boolean isHeldOut(Path jar) {
    return jar.getFileName().toString().startsWith(HELD_OUT);
  }

  /** Files to learn from, in an order that is mixed and always the same. */
  public Corpus corpus() {
    List<String> documents = documents(training);
    // Libraries one after the other would make the last one the validation text.
    Collections.shuffle(documents, new Random(0));
    return Corpus.of(documents);
  }

  /** Files to learn from, library by library. */
  public List<String> trainingFiles() {
    return documents(training);
  }

  /** The held-out library's files. */
  public List<String> heldOutFiles() {
    return files(heldOut);
  }

  /**
   * The files of a jar of sources.
   *
   * @throws DataException if it cannot be read
   */
  public static List<String> files(Path jar) {
    return documents(List.of(jar));
  }

  private static List<String> documents(List<Path> jars) {
    List<String> documents = new ArrayList<>();
    List<String> names = jars.stream().map(Path::toString).toList();
    try (Corpus.DocumentReader pass = TextCorpus.of(names, TextCorpus.Format.DEFAULT).open()) {
      for (var piece = pass.next(); piece.isPresent(); piece = pass.next()) {
        documents.add(piece.get().text());
      }
    }
    return documents;
  }
}
