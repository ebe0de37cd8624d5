package org.eellm.cli;

import java.io.IOException;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassFileVersion;
import java.lang.classfile.ClassHierarchyResolver;
import java.lang.classfile.ClassModel;
import java.lang.classfile.CodeModel;
import java.lang.classfile.CodeTransform;
import java.lang.classfile.MethodModel;
import java.lang.classfile.MethodTransform;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.jar.JarOutputStream;
import picocli.CommandLine;

/**
 * Writes picocli's classes as Java 8 has them. As published they are in the format of Java 5, which
 * fits no ahead-of-time cache (JEP 483) and is checked at each start, in a tenth of a second. They
 * look for Groovy's closures no more: to find that there are none opens every jar, which takes as
 * long.
 */
final class CurrentPicocli {
  /** Gives Groovy's class of closures, or null. */
  private static final String GROOVY = "loadClosureClass";

  private static final ClassFile CLASSES =
      ClassFile.of(
          ClassFile.StackMapsOption.GENERATE_STACK_MAPS,
          ClassFile.ClassHierarchyResolverOption.of(
              ClassHierarchyResolver.ofClassLoading(CommandLine.class.getClassLoader())));

  private CurrentPicocli() {}

  /**
   * @param args the new jar
   */
  public static void main(String[] args) throws IOException, URISyntaxException {
    Path published =
        Path.of(CommandLine.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    try (JarFile from = new JarFile(published.toFile());
        JarOutputStream to = new JarOutputStream(Files.newOutputStream(Path.of(args[0])))) {
      for (JarEntry entry : (Iterable<JarEntry>) from.stream()::iterator) {
        if (entry.getName().startsWith("picocli/") && entry.getName().endsWith(".class")) {
          to.putNextEntry(new JarEntry(entry.getName()));
          to.write(current(CLASSES.parse(from.getInputStream(entry).readAllBytes())));
        }
      }
    }
  }

  private static byte[] current(ClassModel published) {
    return CLASSES.transformClass(
        published,
        (builder, element) -> {
          switch (element) {
            case ClassFileVersion _ -> builder.withVersion(ClassFile.JAVA_8_VERSION, 0);
            case MethodModel method -> builder.transformMethod(method, current(method));
            default -> builder.with(element);
          }
        });
  }

  private static MethodTransform current(MethodModel published) {
    return published.methodName().equalsString(GROOVY)
        ? (builder, element) -> {
          if (element instanceof CodeModel) {
            builder.withCode(code -> code.aconst_null().areturn());
          } else {
            builder.with(element);
          }
        }
        : MethodTransform.transformingCode(CodeTransform.ACCEPT_ALL);
  }
}
