package org.eellm.golden;

import java.nio.file.Path;

/** Folders among the tests' resources. */
public final class Resources {
  private Resources() {}

  /** The folder of a file, such as {@code /stories/config.json}. */
  public static Path folder(String file) {
    return Path.of("eellm-core/src/test/resources" + file).getParent();
  }
}
