package org.eellm.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What this process has mapped into memory, as Linux tells it. */
public final class Mapped {
  private static final Path MAPS = Path.of("/proc/self/maps");

  private Mapped() {}

  /** Neither a file nor any in a folder is mapped. */
  public static void assertNothingOf(Path path) {
    assumeTrue(Files.exists(MAPS), () -> "skipped: needs " + MAPS);
    try {
      String place = path.toRealPath().toString();
      assertThat(Files.readAllLines(MAPS)).noneMatch(line -> line.contains(place));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
