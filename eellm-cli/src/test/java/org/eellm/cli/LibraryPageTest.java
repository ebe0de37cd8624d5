package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The Java of README.md and of pages: it compiles, and the first program runs. */
final class LibraryPageTest {
  private static final Pattern JAVA = Pattern.compile("(?ms)^```java$\\n(.*?)^```$");
  private static final Pattern DECLARED = Pattern.compile("(EarlyExitModel|var) model =");
  private static final String MODEL = "Path.of(\"runs/quickstart\")";
  private static final List<String> PAGES =
      List.of("README.md", "docs/java.md", "docs/exits.md", "docs/structured-output.md");

  @TempDir private Path folder;

  /** All blocks. */
  static Stream<String> blocks() throws IOException {
    Path root = RepositoryFiles.root();
    List<String> blocks = new ArrayList<>();
    for (String page : PAGES) {
      String text = Files.readString(root.resolve(page));
      JAVA.matcher(text).results().forEach(block -> blocks.add(block.group(1)));
    }
    return blocks.stream();
  }

  /** Those that are whole programs. */
  static Stream<String> programs() throws IOException {
    return blocks()
        .filter(block -> block.startsWith("try (") && block.contains("EarlyExitModel.load("));
  }

  private void compile(String block) throws IOException {
    String parameter = DECLARED.matcher(block).find() ? "" : "EarlyExitModel model";
    Path source = folder.resolve("Example.java");
    Files.writeString(
        source,
        """
        import com.fasterxml.jackson.databind.ObjectMapper;
        import java.nio.file.*;
        import java.util.*;
        import java.util.concurrent.*;
        import org.eellm.*;
        import org.eellm.chat.*;
        import org.eellm.config.*;
        import org.eellm.decode.exit.ExitPolicy;
        import org.eellm.grammar.*;

        public class Example {
          public static void run(%s) throws Exception {
        %s
          }
        }
        """
            .formatted(parameter, block));
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    StringWriter messages = new StringWriter();
    try (StandardJavaFileManager files =
        compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8)) {
      List<String> options =
          List.of(
              "-proc:none", "-d", folder.toString(), "-cp", System.getProperty("java.class.path"));
      boolean compiled =
          compiler
              .getTask(messages, files, null, options, null, files.getJavaFileObjects(source))
              .call();
      assertThat(compiled).as("%s%n%s", block, messages).isTrue();
    }
  }

  @ParameterizedTest
  @MethodSource("blocks")
  void block_compiles(String block) throws IOException {
    compile(block);
  }

  @ParameterizedTest
  @MethodSource("programs")
  void program_ofFiveLines_printsAText(String program) throws Exception {
    Path model = folder.resolve("model");
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, false, false);
    try (Decoder decoder = SmallModel.of(exits, DataType.FLOAT32)) {
      SmallModelFolder.write(model, decoder);
    }
    assertThat(program.lines()).hasSize(5);
    assertThat(program).contains(MODEL);
    compile(program.replace(MODEL, "Path.of(\"" + model + "\")"));

    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    PrintStream before = System.out;
    System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
    try (URLClassLoader loader =
        new URLClassLoader(new URL[] {folder.toUri().toURL()}, getClass().getClassLoader())) {
      loader.loadClass("Example").getMethod("run").invoke(null);
    } catch (InvocationTargetException e) {
      throw new AssertionError(e.getCause());
    } finally {
      System.setOut(before);
    }
    assertThat(printed.toString(StandardCharsets.UTF_8)).isNotEmpty();
  }

  @Test
  void programs_areThere() throws IOException {
    assertThat(programs()).isNotEmpty();
  }
}
