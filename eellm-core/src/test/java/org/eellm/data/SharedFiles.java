package org.eellm.data;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;

/** Test data that lies beside the project and that not everybody has. */
public final class SharedFiles {
  private SharedFiles() {}

  /** A path under the shared folder; a test that needs it is skipped where it is absent. */
  public static Path find(String path) {
    Path found = Path.of("../shared").resolve(path);
    assumeTrue(Files.exists(found), () -> "skipped: needs " + found);
    return found;
  }
}
