package org.eellm.eval.sweep;

import com.sun.source.tree.BlockTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.MethodTree;
import com.sun.source.util.JavacTask;
import com.sun.source.util.SourcePositions;
import com.sun.source.util.TreeScanner;
import com.sun.source.util.Trees;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import org.eellm.config.ConfigException;

/** Java source text as the JDK's own parser sees it. */
public final class JavaMethods {
  private JavaMethods() {}

  /**
   * A method with a body.
   *
   * @param before the file up to and including the body's opening brace: tokens go from a line end
   *     into the next line's indentation, and a text that ends in between has a token there that no
   *     file has
   * @param body what follows, from that line end up to and including the closing brace
   */
  public record Method(String before, String body) {}

  /** A parsed file. */
  private record Parsed(CompilationUnitTree unit, SourcePositions positions, boolean hasErrors) {}

  /**
   * The methods and constructors of a source file whose body begins on a line of its own, in their
   * order; none where the file has errors.
   */
  public static List<Method> of(String source) {
    Parsed parsed = parse(source);
    List<Method> methods = new ArrayList<>();
    if (!parsed.hasErrors()) {
      new TreeScanner<Void, Void>() {
        @Override
        public Void visitMethod(MethodTree method, Void nothing) {
          BlockTree body = method.getBody();
          long start = body == null ? -1 : parsed.positions().getStartPosition(parsed.unit(), body);
          long end = body == null ? -1 : parsed.positions().getEndPosition(parsed.unit(), body);
          if (start >= 0 && source.startsWith("{\n", (int) start)) {
            int from = (int) start + "{".length();
            methods.add(new Method(source.substring(0, from), source.substring(from, (int) end)));
          }
          return super.visitMethod(method, nothing);
        }
      }.scan(parsed.unit(), null);
    }
    return methods;
  }

  /** Whether a source file has no errors of syntax. */
  static boolean parses(String source) {
    return !parse(source).hasErrors();
  }

  private static Parsed parse(String source) {
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    if (compiler == null) {
      throw new ConfigException("this Java has no compiler; run eellm with a JDK, not a JRE");
    }
    DiagnosticCollector<JavaFileObject> problems = new DiagnosticCollector<>();
    JavacTask task =
        (JavacTask)
            compiler.getTask(
                null, null, problems, List.of("-proc:none"), null, List.of(new Text(source)));
    try {
      CompilationUnitTree unit = task.parse().iterator().next();
      boolean hasErrors =
          problems.getDiagnostics().stream()
              .anyMatch(problem -> problem.getKind() == Diagnostic.Kind.ERROR);
      return new Parsed(unit, Trees.instance(task).getSourcePositions(), hasErrors);
    } catch (IOException e) {
      throw new UncheckedIOException(e); // the text is in memory
    }
  }

  private static final class Text extends SimpleJavaFileObject {
    private final String source;

    Text(String source) {
      super(URI.create("string:///Source.java"), Kind.SOURCE);
      this.source = source;
    }

    @Override
    public CharSequence getCharContent(boolean ignoreEncodingErrors) {
      return source;
    }
  }
}
