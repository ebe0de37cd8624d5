package org.eellm.cli.eval;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/** Java sources for tests: classes of a single method each. */
final class SourcesJar {
  private SourcesJar() {}

  /** Writes so many classes; whether they have a method is the same for all. */
  static Path write(Path jar, int classes, boolean withMethod) throws IOException {
    String method =
        """
          int f(int a) {
            a++;
            a--;
            a++;
            return a;
          }
        """;
    try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(jar))) {
      for (int i = 0; i < classes; i++) {
        zip.putNextEntry(new ZipEntry("A" + i + ".java"));
        String file = "class A%d {\n%s}\n".formatted(i, withMethod ? method : "");
        zip.write(file.getBytes(StandardCharsets.UTF_8));
        zip.closeEntry();
      }
    }
    return jar;
  }
}
