package org.eellm.golden;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.params.provider.Arguments;

/**
 * Real models and data that not everybody has: what tests check with files of the repository they
 * check with these as well, where the folder that {@code -Deellm.shared} names has them.
 */
public final class SharedFiles {
  private SharedFiles() {}

  /** Two paths under the folder as the arguments of a test, if both are there. */
  public static Stream<Arguments> both(String first, String second) {
    return find(first).stream()
        .flatMap(one -> find(second).stream().map(other -> Arguments.of(one, other)));
  }

  /** A path under the folder, if it is there. */
  public static Optional<Path> find(String path) {
    String named = System.getProperty("eellm.shared", "");
    return (named.isEmpty() ? Stream.of("../shared", "../../shared") : Stream.of(named))
        .map(folder -> Path.of(folder, path))
        .filter(Files::exists)
        .findFirst();
  }
}
