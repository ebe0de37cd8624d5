package org.eellm;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.GeneralCodingRules.ACCESS_STANDARD_STREAMS;
import static com.tngtech.archunit.library.GeneralCodingRules.NO_CLASSES_SHOULD_USE_JAVA_UTIL_LOGGING;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaCodeUnit;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Which package may import which; docs/dev/architecture.md draws it. */
final class ArchitectureTest {
  private static final Set<String> NOTHING = Set.of();

  /** Package to the packages it may import, besides file; what is not here is forbidden. */
  private static final Map<String, Set<String>> IMPORTS =
      Map.ofEntries(
          entry("serve", Set.of("decode", "grammar", "chat", "data", "config")),
          entry("chat", Set.of("grammar", "data")),
          entry("eval", Set.of("decode", "cost", "model", "data", "config")),
          entry(
              "bench",
              Set.of(
                  "serve",
                  "train",
                  "decode",
                  "checkpoint",
                  "cost",
                  "model",
                  "data",
                  "distributed",
                  "tensor",
                  "config")),
          entry("convert", Set.of("checkpoint", "data", "model", "gguf", "tensor", "config")),
          entry(
              "train",
              Set.of(
                  "cost",
                  "checkpoint",
                  "model",
                  "schedule",
                  "data",
                  "distributed",
                  "tensor",
                  "config")),
          entry(
              "decode",
              Set.of(
                  "cost",
                  "checkpoint",
                  "model",
                  "kernel",
                  "grammar",
                  "data",
                  "distributed",
                  "tensor",
                  "config")),
          entry("grammar", NOTHING),
          entry("cost", Set.of("schedule", "config")),
          entry("checkpoint", Set.of("model", "kernel", "tensor", "gguf", "config")),
          entry("model", Set.of("kernel", "distributed", "tensor", "config")),
          entry("distributed", Set.of("tensor")),
          entry("schedule", NOTHING),
          entry("config", NOTHING),
          entry("data", Set.of("gguf", "config")),
          entry("file", NOTHING),
          entry("gguf", NOTHING),
          entry("tensor", Set.of("kernel")),
          entry("kernel", NOTHING));

  /** Packages within decode, from the top down: each may import those that follow it. */
  private static final List<String> DECODE =
      List.of(
          "decode",
          "decode.strategy",
          "decode.request",
          "decode.speculate",
          "decode.precedent",
          "decode.exit",
          "decode.sample",
          "decode.cache",
          "decode.token",
          "decode.pipeline",
          "decode.backend",
          "decode.engine.cpu",
          "decode.engine.torch",
          "decode.engine",
          "decode.head");

  /** Packages that may use libtorch; all the others are pure Java. */
  private static final Set<String> WITH_LIBTORCH =
      Set.of("tensor", "distributed", "model", "train", "decode", "checkpoint", "convert", "bench");

  /** Packages that programs may use; docs/java.md names them. */
  private static final Set<String> EXPORTED =
      Set.of(
          "org.eellm",
          "org.eellm.chat",
          "org.eellm.config",
          "org.eellm.data.tokenizer",
          "org.eellm.decode.exit",
          "org.eellm.decode.request",
          "org.eellm.decode.token",
          "org.eellm.grammar",
          "org.eellm.train.metrics");

  private static final Pattern IMPORT =
      Pattern.compile(
          "^import (?:static )?org\\.eellm\\.([a-z0-9.]+)\\.([A-Z]\\w*)", Pattern.MULTILINE);

  /** Packages that import each other; none may come to them. */
  private static final Set<Set<String>> CIRCLES =
      Set.of(
          Set.of("checkpoint", "checkpoint.huggingface"),
          Set.of(
              "cli",
              "cli.bench",
              "cli.convert",
              "cli.eval",
              "cli.generate",
              "cli.option",
              "cli.plan",
              "cli.train"),
          Set.of("config", "config.yaml"),
          Set.of("data", "data.tokenizer"),
          Set.of("model", "model.parameter"));

  /** Types of a package that can be surveyed. */
  private static final int MOST_TYPES = 20;

  /** Packages of more: config has a record for each section; model and serve are to be split. */
  private static final Set<String> LARGE =
      Set.of("org.eellm.config", "org.eellm.model", "org.eellm.serve");

  private static final int MOST_PARAMETERS = 6;

  /**
   * Methods with more parameters: kernels that are called for every tile of a product, where a
   * record would be made each time.
   */
  private static final Set<String> HOT_METHODS =
      Set.of(
          "DotKernels.multiply",
          "CallList.add",
          "JavaMatmul.multiply",
          "MatmulKernel.multiply",
          "NativeFunction.call",
          "NativeFunction.callWithArrays",
          "PagedAttention.attend",
          "RowsByMatrix.multiply",
          "ScalarTile.floats",
          "ScalarTile.pairs",
          "ScalarTile.run",
          "Tile.run",
          "VectorTile.floats",
          "VectorTile.pairs",
          "VectorTile.run");

  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .withImportOption(location -> !location.contains("-tests.jar"))
          .withImportOption(location -> !location.contains(ownFolder()))
          .importPackages("org.eellm");

  private static String ownFolder() {
    return ArchitectureTest.class.getProtectionDomain().getCodeSource().getLocation().getPath();
  }

  static Stream<String> packages() {
    return IMPORTS.keySet().stream().sorted();
  }

  static Stream<String> decodePackages() {
    return DECODE.stream();
  }

  @Test
  void classes_liveInKnownPackages() {
    String[] known = patterns(Stream.concat(packages(), Stream.of("cli", "langchain4j", "spring")));

    classes()
        .should()
        .resideInAnyPackage(
            Stream.concat(Stream.of("org.eellm"), Arrays.stream(known)).toArray(String[]::new))
        .check(CLASSES);
  }

  /**
   * They show what a program can do that has what docs/java.md promises alone. By sources, since
   * Spring's module is not on the class path here: the command line would be built with it.
   */
  @ParameterizedTest
  @ValueSource(strings = {"langchain4j", "spring"})
  void framework_importsWhatProgramsMayAlone(String name) throws IOException {
    assertThat(importsOfSources().get(name))
        .isNotEmpty()
        .allMatch(other -> other.matches("chat(\\.\\w+)?|config|grammar"));
  }

  @ParameterizedTest
  @MethodSource("packages")
  void package_importsOnlyWhatItMay(String name) {
    Stream<String> allowed =
        Stream.concat(Stream.of(name, "file"), IMPORTS.getOrDefault(name, NOTHING).stream());

    classes()
        .that()
        .resideInAPackage("org.eellm." + name + "..")
        .should()
        .onlyDependOnClassesThat(
            resideOutsideOfPackage("org.eellm..")
                .or(resideInAnyPackage(patterns(allowed)))
                .or(JavaClass.Predicates.type(EellmException.class))) // which all of ours are
        .check(CLASSES);
  }

  @ParameterizedTest
  @MethodSource("decodePackages")
  void decode_importsDownwards(String name) {
    String[] above =
        DECODE.subList(0, DECODE.indexOf(name)).stream()
            .map(each -> "org.eellm." + each)
            .toArray(String[]::new);

    noClasses()
        .that()
        .resideInAPackage("org.eellm." + name)
        .should()
        .dependOnClassesThat(
            resideInAnyPackage(above)
                .and(JavaClass.Predicates.simpleNameEndingWith("Exception").negate()))
        .check(CLASSES);
  }

  @Test
  void packages_haveNoCycles() {
    slices().matching("org.eellm.(*)..").should().beFreeOfCycles().check(CLASSES);
  }

  /**
   * Imports for Javadoc alone count, which compiled classes do not show. What users cause is thrown
   * below the package that it is named after.
   */
  @Test
  void packages_importNothingThatImportsThem() throws IOException {
    Map<String, Set<String>> imports = importsOfSources();
    Map<String, Set<String>> reached = new TreeMap<>();
    imports.keySet().forEach(name -> reached.put(name, reach(imports, name)));
    Set<Set<String>> circles = new HashSet<>();
    reached.forEach(
        (name, all) -> {
          if (all.contains(name)) {
            circles.add(
                all.stream()
                    .filter(other -> reached.getOrDefault(other, NOTHING).contains(name))
                    .collect(Collectors.toCollection(TreeSet::new)));
          }
        });

    assertThat(imports).containsKeys("decode", "decode.engine.cpu", "config.setting");
    assertThat(circles).isEqualTo(CIRCLES);
  }

  private static Set<String> reach(Map<String, Set<String>> imports, String from) {
    Set<String> seen = new TreeSet<>();
    Deque<String> next = new ArrayDeque<>(imports.get(from));
    while (!next.isEmpty()) {
      String name = next.pop();
      if (seen.add(name)) {
        next.addAll(imports.getOrDefault(name, NOTHING));
      }
    }
    return seen;
  }

  private static Map<String, Set<String>> importsOfSources() throws IOException {
    Map<String, Set<String>> imports = new TreeMap<>();
    try (DirectoryStream<Path> modules = Files.newDirectoryStream(Path.of(""), "eellm-*")) {
      for (Path module : modules) {
        Path root = module.resolve("src/main/java/org/eellm");
        if (Files.isDirectory(root)) {
          try (Stream<Path> files = Files.walk(root)) {
            for (Path file : files.filter(each -> each.toString().endsWith(".java")).toList()) {
              Path folder = root.relativize(file).getParent();
              String name = folder == null ? "" : folder.toString().replace('/', '.');
              Set<String> own = imports.computeIfAbsent(name, _ -> new TreeSet<>());
              IMPORT
                  .matcher(Files.readString(file))
                  .results()
                  .filter(found -> !found.group(2).endsWith("Exception"))
                  .map(found -> found.group(1))
                  .filter(other -> !other.equals(name))
                  .forEach(own::add);
            }
          }
        }
      }
    }
    return imports;
  }

  @Test
  void packages_areSmall() {
    Map<String, Long> types =
        CLASSES.stream()
            .filter(each -> each.isTopLevelClass() && !each.getSimpleName().equals("package-info"))
            .collect(Collectors.groupingBy(JavaClass::getPackageName, Collectors.counting()));
    types.values().removeIf(count -> count <= MOST_TYPES);

    assertThat(types.keySet()).isEqualTo(LARGE);
  }

  @Test
  void front_namesExportedTypesOnly() {
    Set<String> named =
        CLASSES.stream()
            .filter(owner -> owner.getPackageName().equals("org.eellm"))
            .flatMap(owner -> owner.getCodeUnits().stream())
            .filter(unit -> unit.getModifiers().contains(JavaModifier.PUBLIC))
            .flatMap(
                unit ->
                    Stream.concat(
                        Stream.of(unit.getRawReturnType()), unit.getRawParameterTypes().stream()))
            .map(JavaClass::getPackageName)
            .filter(name -> name.startsWith("org.eellm"))
            .collect(Collectors.toCollection(TreeSet::new));

    assertThat(named).contains("org.eellm", "org.eellm.config").isSubsetOf(EXPORTED);
  }

  @Test
  void methods_takeAtMostSixParameters() {
    Set<String> tooMany =
        codeUnits()
            .filter(unit -> unit.getRawParameterTypes().size() > MOST_PARAMETERS)
            .map(ArchitectureTest::name)
            .collect(Collectors.toCollection(TreeSet::new));

    assertThat(tooMany).isEqualTo(HOT_METHODS);
  }

  @Test
  void methods_takeNoOptional() {
    Set<String> optional =
        codeUnits()
            .filter(unit -> !unit.getName().equals("equals"))
            .filter(
                unit ->
                    unit.getRawParameterTypes().stream()
                        .anyMatch(type -> type.getName().startsWith("java.util.Optional")))
            .map(ArchitectureTest::name)
            .collect(Collectors.toCollection(TreeSet::new));

    assertThat(optional).isEmpty();
  }

  @Test
  void libtorch_isSeenBySomePackagesOnly() {
    noClasses()
        .that()
        .resideOutsideOfPackages(patterns(WITH_LIBTORCH.stream()))
        .should()
        .dependOnClassesThat()
        .resideInAPackage("org.bytedeco..")
        .check(CLASSES);
  }

  @Test
  void process_isEndedByTheCommandLineOnly() {
    noClasses()
        .that()
        .resideOutsideOfPackage("org.eellm.cli..")
        .should()
        .callMethod(System.class, "exit", int.class)
        .orShould()
        .callMethod(Runtime.class, "exit", int.class)
        .orShould()
        .callMethod(Runtime.class, "halt", int.class)
        .check(CLASSES);
  }

  @Test
  void standardStreams_areWrittenByTheCommandLineOnly() {
    noClasses()
        .that()
        .resideOutsideOfPackage("org.eellm.cli..")
        .should(ACCESS_STANDARD_STREAMS)
        .check(CLASSES);
  }

  @Test
  void logs_goThroughSlf4j() {
    NO_CLASSES_SHOULD_USE_JAVA_UTIL_LOGGING.check(CLASSES);
  }

  /** Methods and constructors as somebody wrote them: components of records are no parameters. */
  private static Stream<JavaCodeUnit> codeUnits() {
    return CLASSES.stream()
        .flatMap(owner -> owner.getCodeUnits().stream())
        .filter(unit -> !unit.getModifiers().contains(JavaModifier.SYNTHETIC))
        .filter(
            unit ->
                !unit.isConstructor() || !(unit.getOwner().isRecord() || unit.getOwner().isEnum()));
  }

  private static String name(JavaCodeUnit unit) {
    return unit.getOwner().getSimpleName() + "." + unit.getName();
  }

  private static String[] patterns(Stream<String> names) {
    return names.map(name -> "org.eellm." + name + "..").toArray(String[]::new);
  }
}
