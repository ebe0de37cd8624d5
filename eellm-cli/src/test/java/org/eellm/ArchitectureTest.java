package org.eellm;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.GeneralCodingRules.ACCESS_STANDARD_STREAMS;
import static com.tngtech.archunit.library.GeneralCodingRules.NO_CLASSES_SHOULD_USE_JAVA_UTIL_LOGGING;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static java.util.Map.entry;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The house: which room may import which. See docs/architecture.md. */
final class ArchitectureTest {
  private static final Set<String> NOTHING = Set.of();

  /** Room to the rooms it may import; what is not here is forbidden. */
  private static final Map<String, Set<String>> ARROWS =
      Map.ofEntries(
          entry("serve", Set.of("generate", "data", "config")),
          entry("eval", Set.of("generate", "model", "data", "config")),
          entry(
              "train",
              Set.of(
                  "model",
                  "plan",
                  "schedule",
                  "data",
                  "checkpoint",
                  "distributed",
                  "tensor",
                  "config")),
          entry("generate", Set.of("decode", "kernel", "model", "distributed", "tensor", "config")),
          entry("decode", Set.of("kernel", "model", "distributed", "tensor", "config")),
          entry("plan", Set.of("schedule", "config")),
          entry("checkpoint", Set.of("kernel", "model", "tensor", "gguf", "config")),
          entry("model", Set.of("kernel", "distributed", "tensor", "config")),
          entry("distributed", Set.of("tensor")),
          entry("schedule", NOTHING),
          entry("config", NOTHING),
          entry("data", Set.of("gguf")),
          entry("gguf", NOTHING),
          entry("tensor", Set.of("kernel")),
          entry("kernel", NOTHING));

  /** Rooms that may use libtorch; all the others are pure Java. */
  private static final Set<String> TENSOR_ROOMS =
      Set.of("tensor", "distributed", "model", "train", "decode", "generate", "checkpoint");

  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages("org.eellm");

  static Stream<String> rooms() {
    return ARROWS.keySet().stream().sorted();
  }

  @Test
  void classes_liveInKnownRooms() {
    String[] known = packagesOf(Stream.concat(rooms(), Stream.of("cli")));

    classes().should().resideInAnyPackage(known).check(CLASSES);
  }

  @ParameterizedTest
  @MethodSource("rooms")
  void room_importsOnlyWhatTheArrowsAllow(String room) {
    Stream<String> allowed = Stream.concat(Stream.of(room), ARROWS.get(room).stream());

    classes()
        .that()
        .resideInAPackage("org.eellm." + room + "..")
        .should()
        .onlyDependOnClassesThat(
            resideOutsideOfPackage("org.eellm..").or(resideInAnyPackage(packagesOf(allowed))))
        .allowEmptyShould(true) // Some rooms are drawn, but not built yet.
        .check(CLASSES);
  }

  @Test
  void rooms_haveNoCycles() {
    slices().matching("org.eellm.(*)..").should().beFreeOfCycles().check(CLASSES);
  }

  @Test
  void libtorch_isSeenByTensorRoomsOnly() {
    noClasses()
        .that()
        .resideOutsideOfPackages(packagesOf(TENSOR_ROOMS.stream()))
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

  private static String[] packagesOf(Stream<String> rooms) {
    return rooms.map(room -> "org.eellm." + room + "..").toArray(String[]::new);
  }
}
