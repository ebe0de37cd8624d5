package org.eellm;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.Predicate;
import java.util.jar.Attributes;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Pointer;
import org.eellm.kernel.row.RowKernel;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What is said in processes that were started in another way. */
@Timeout(60)
final class JvmSetupTest {
  private static final String VECTORS = "--add-modules=jdk.incubator.vector";
  private static final String NATIVES = "--enable-native-access=ALL-UNNAMED";

  @TempDir private Path folder;

  /** Begins as a model does that is loaded. */
  public static final class Decodes {
    private Decodes() {}

    public static void main(String[] args) {
      EarlyExitModel.load(Path.of("absent"));
    }
  }

  /** Sets up what training needs, and says what has come of it. */
  public static final class Trains {
    private Trains() {}

    public static void main(String[] args) {
      JvmSetup.requireTraining();
      System.out.println(Torch.blas() + ", limits " + Pointer.maxBytes());
    }
  }

  /** Says what slows training down. */
  public static final class Asks {
    private Asks() {}

    public static void main(String[] args) {
      System.out.println(JvmSetup.problems());
    }
  }

  private String run(Class<?> program, Predicate<String> classPath, String... options)
      throws IOException, InterruptedException {
    List<String> all = new ArrayList<>(List.of(options));
    all.add("-cp");
    all.add(
        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
            .filter(classPath)
            .collect(Collectors.joining(File.pathSeparator)));
    all.add(program.getName());
    return java(all);
  }

  private String java(List<String> options) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(options);
    Path out = folder.resolve("out.txt");
    new ProcessBuilder(command)
        .redirectErrorStream(true)
        .redirectOutput(out.toFile())
        .start()
        .waitFor();
    return Files.readString(out);
  }

  @Test
  void load_withoutVectorModuleAndMachineCode_namesTheOption() throws Exception {
    assertThat(run(Decodes.class, _ -> true, NATIVES, "-Deellm.cpu=vectors"))
        .contains("SetupException", "--add-modules jdk.incubator.vector");
  }

  @Test
  void load_withoutVectorModule_goesOnWhereMachineCodeDecodes() throws Exception {
    boolean machineCode = RowKernel.isMachineCode();
    assertThat(run(Decodes.class, _ -> true, NATIVES))
        .contains(machineCode ? "CheckpointException" : "SetupException");
  }

  @Test
  void requireTraining_withoutVectorModule_namesTheOption() throws Exception {
    assertThat(run(Trains.class, _ -> true, NATIVES))
        .contains("SetupException", "--add-modules jdk.incubator.vector");
  }

  @Test
  void load_withoutNativeAccess_namesTheOption() throws Exception {
    assertThat(run(Decodes.class, _ -> true, VECTORS))
        .contains("SetupException", "--enable-native-access=ALL-UNNAMED");
  }

  @Test
  void load_withoutSecondCompilerAndMachineCode_namesTheOption() throws Exception {
    assertThat(
            run(
                Decodes.class,
                _ -> true,
                VECTORS,
                NATIVES,
                "-Deellm.cpu=vectors",
                "-XX:TieredStopAtLevel=1"))
        .contains("SetupException", "-XX:TieredStopAtLevel=4");
  }

  @Test
  void load_withBoth_goesOn() throws Exception {
    assertThat(run(Decodes.class, _ -> true, VECTORS, NATIVES))
        .contains("CheckpointException")
        .doesNotContain("SetupException");
  }

  @Test
  void requireTraining_withoutLibtorch_namesTheArtifact() throws Exception {
    assertThat(run(Trains.class, entry -> !entry.contains("bytedeco"), VECTORS, NATIVES))
        .contains("SetupException", "org.eellm:eellm-libtorch");
  }

  @Test
  void load_fromTheModulePath_namesTheOption() throws Exception {
    List<String> entries = List.of(System.getProperty("java.class.path").split(File.pathSeparator));
    Path program = modular(entries);
    String logging =
        entries.stream().filter(entry -> entry.contains("slf4j-api")).findFirst().orElseThrow();
    List<String> options = new ArrayList<>();
    options.addAll(List.of("-p", program + File.pathSeparator + logging));
    options.add("--enable-native-access=org.eellm.core");
    options.addAll(List.of("-m", "org.eellm.core/" + Decodes.class.getName()));

    assertThat(java(options)).contains("SetupException", "--add-modules ALL-MODULE-PATH");
    options.addFirst("--add-modules=jdk.incubator.vector,ALL-MODULE-PATH");
    assertThat(java(options)).contains("CheckpointException");
  }

  /** A jar of eellm-core, and of the program here. */
  private Path modular(List<String> classPath) throws IOException {
    String own = "org/eellm/EarlyExitModel.class";
    Path classes =
        classPath.stream()
            .map(Path::of)
            .filter(entry -> Files.exists(entry.resolve(own)))
            .findFirst()
            .orElseThrow();
    Manifest manifest = new Manifest();
    manifest.getMainAttributes().put(Attributes.Name.MANIFEST_VERSION, "1.0");
    manifest.getMainAttributes().putValue("Automatic-Module-Name", "org.eellm.core");
    Path jar = folder.resolve("core.jar");
    try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar), manifest);
        Stream<Path> files = Files.walk(classes.resolve("org"))) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        out.putNextEntry(new JarEntry(classes.relativize(file).toString()));
        Files.copy(file, out);
      }
      String program = Decodes.class.getName().replace('.', '/') + ".class";
      out.putNextEntry(new JarEntry(program));
      try (InputStream in = Objects.requireNonNull(getClass().getResourceAsStream("/" + program))) {
        in.transferTo(out);
      }
    }
    return jar;
  }

  @Test
  void problems_withoutLibtorch_asksForNothing() throws Exception {
    assertThat(run(Asks.class, entry -> !entry.contains("bytedeco"), VECTORS, NATIVES))
        .endsWith("[]\n");
    assertThat(run(Asks.class, entry -> !entry.contains("mkl"), VECTORS, NATIVES))
        .contains("org.eellm:eellm-libtorch");
  }

  @Test
  void requireTraining_withoutALauncher_setsWhatItWouldHave() throws Exception {
    boolean hasMkl = System.getProperty("java.class.path").contains("mkl");
    assertThat(run(Trains.class, _ -> true, VECTORS, NATIVES))
        .contains((hasMkl ? "Intel MKL" : "OpenBLAS") + ", limits 0");
  }
}
