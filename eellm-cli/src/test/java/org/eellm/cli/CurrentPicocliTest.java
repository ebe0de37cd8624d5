package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.classfile.ClassFile;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Path;
import java.util.List;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class CurrentPicocliTest {
  @TempDir Path folder;

  @Test
  void main_ofTheClassPath_writesAllClassesSoThatJavaTakesThem() throws Exception {
    Path jar = folder.resolve("picocli.jar");
    CurrentPicocli.main(new String[] {jar.toString()});

    List<String> names;
    try (JarFile current = new JarFile(jar.toFile())) {
      names = current.stream().map(JarEntry::getName).toList();
      for (JarEntry entry : (Iterable<JarEntry>) current.stream()::iterator) {
        byte[] bytes = current.getInputStream(entry).readAllBytes();
        assertThat(ClassFile.of().parse(bytes).majorVersion()).isEqualTo(ClassFile.JAVA_8_VERSION);
      }
    }
    assertThat(names).hasSizeGreaterThan(200);
    try (URLClassLoader loader = new URLClassLoader(new URL[] {jar.toUri().toURL()}, null)) {
      for (String name : names) {
        String type = name.replace('/', '.').replaceFirst("[.]class$", "");
        Class<?> current = Class.forName(type, true, loader);
        assertThat(current.getClassLoader()).isSameAs(loader);
      }
      Class<?> ofCommands = loader.loadClass(CommandLine.class.getName());
      assertThat(ofCommands.getField("VERSION").get(null)).isEqualTo(CommandLine.VERSION);
    }
  }
}
