package org.eellm.data.corpus;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.eellm.data.DataException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class JavaSourcesTest {
  @TempDir private Path folder;

  @Test
  void jar_everySourceFile_isADocumentWithoutWhatIsBeforeThePackage() throws IOException {
    Path jar =
        jar(
            "a-sources.jar",
            Map.of(
                "p/A.java",
                "/* Licence. */\n// More.\n\npackage p;\n\n/** A. */\nclass A {}\n",
                "p/package-info.java",
                "/** About p. */\npackage p;\n",
                "module-info.java",
                "module p {}",
                "LICENSE",
                "words"));

    assertThat(documents(TextCorpus.of(List.of(jar.toString()), TextCorpus.Format.DEFAULT)))
        .containsExactly("package p;\n\n/** A. */\nclass A {}\n");
  }

  @ParameterizedTest
  @CsvSource({
    "'/* never closed', '/* never closed'",
    "'class A {} // package p;', 'class A {} // package p;'",
    "' package p;', 'package p;'",
    "'', ''"
  })
  void withoutHeader_unusualFiles_areLeftAlone(String text, String expected) {
    assertThat(JavaDocuments.withoutHeader(text)).isEqualTo(expected);
  }

  @Test
  void jar_oldEncodingAndLineEnds_areRead() throws IOException {
    Path jar = folder.resolve("a-sources.jar");
    try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(jar))) {
      zip.putNextEntry(new ZipEntry("A.java"));
      zip.write("package p;\r\n// caf\u00E9\r\n".getBytes(StandardCharsets.ISO_8859_1));
    }

    assertThat(documents(TextCorpus.of(List.of(jar.toString()), TextCorpus.Format.DEFAULT)))
        .containsExactly("package p;\n// caf\u00E9\n");
  }

  @Test
  void jar_damaged_isRefused() throws IOException {
    Path jar = jar("a-sources.jar", Map.of("A.java", "package p;\n".repeat(5000)));
    byte[] bytes = Files.readAllBytes(jar);
    bytes[bytes.length / 2] ^= 0x55;
    Files.write(jar, bytes);

    assertThatThrownBy(
            () -> documents(TextCorpus.of(List.of(jar.toString()), TextCorpus.Format.DEFAULT)))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("a-sources.jar: cannot be decompressed");
  }

  @Test
  void in_folderOfTheBuild_holdsOneLibraryOut() throws IOException {
    jar("commons-text-1-sources.jar", Map.of("T.java", "package t;"));
    jar("other-2-sources.jar", Map.of("O.java", "package o;", "Q.java", "package q;"));

    JavaSources sources = JavaSources.in(folder);

    assertThat(sources.heldOutFiles()).containsExactly("package t;");
    assertThat(documents(sources.corpus())).containsExactlyInAnyOrder("package o;", "package q;");
    assertThat(documents(sources.corpus())).isEqualTo(documents(sources.corpus()));
  }

  @Test
  void in_folderWithoutSources_saysWhatBringsThem() {
    assertThatThrownBy(() -> JavaSources.in(folder.resolve("none")))
        .isInstanceOf(DataException.class)
        .hasMessageEndingWith(
            "none: the Java sources to learn from are not there; the launcher ./eellm and"
                + " 'mvn process-classes' bring them");
  }

  private Path jar(String name, Map<String, String> files) throws IOException {
    Path jar = folder.resolve(name);
    try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(jar))) {
      for (Map.Entry<String, String> file : files.entrySet()) {
        zip.putNextEntry(new ZipEntry(file.getKey()));
        zip.write(file.getValue().getBytes(StandardCharsets.UTF_8));
      }
    }
    return jar;
  }

  private static List<String> documents(Corpus corpus) {
    List<String> documents = new ArrayList<>();
    try (Corpus.DocumentReader pass = corpus.open()) {
      for (var piece = pass.next(); piece.isPresent(); piece = pass.next()) {
        documents.add(piece.get().text());
      }
    }
    return documents;
  }
}
