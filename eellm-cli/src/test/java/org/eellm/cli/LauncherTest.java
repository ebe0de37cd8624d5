package org.eellm.cli;

import static java.lang.ProcessBuilder.Redirect.DISCARD;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/**
 * The script {@code eellm}, in a folder of its own with a JDK and a Maven that are scripts and say
 * how they were called.
 */
@EnabledOnOs(OS.LINUX)
@Timeout(60)
final class LauncherTest {
  private record Result(int exitCode, String out, String err) {}

  @TempDir private Path folder;
  private Path root;
  private Path jdk;

  @BeforeEach
  void setUp() throws IOException {
    root = Files.createDirectories(folder.resolve("a project"));
    Files.copy(Path.of("eellm"), root.resolve("eellm"));
    root.resolve("eellm").toFile().setExecutable(true);
    Files.createDirectories(root.resolve("eellm-cli/src/main"));
    Files.createDirectories(root.resolve("configs"));
    Files.writeString(root.resolve("pom.xml"), "");
    Files.writeString(root.resolve("eellm-cli/pom.xml"), "");
    jdk =
        fakeJdk(
            "25.0.1",
            """
            for argument in "$@"; do
              case $argument in
                */picocli.jar.new) touch "$argument"; exit ;;
                -XX:DumpLoadedClassList=*) exit ;;
                -XX:AOTCacheOutput=*) touch "${argument#*=}"; exit ;;
                -XX:SharedClassListFile=*) dumps=yes ;;
                -XX:SharedArchiveFile=*) [ -z "$dumps" ] || { touch "${argument#*=}"; exit; } ;;
              esac
            done
            printf '%s\\n' "$@"
            echo "MALLOC_ARENA_MAX=$MALLOC_ARENA_MAX LC_ALL=$LC_ALL"
            exit 7
            """);
    script(
        "bin/mvn",
        """
        echo "maven $*, JAVA_HOME $JAVA_HOME"
        target="$(dirname "$0")/../a project/target"
        mkdir -p "$target" "$target/../eellm-cli/target/classes/org"
        echo a.jar:b.jar >"$target/classpath.txt"
        echo a.jar:gpu.jar >"$target/classpath-cuda.txt"
        """);
  }

  /** Java says nothing of a method that is not there. */
  @Test
  void script_methodsThatStayCalls_areThere() throws Exception {
    List<MatchResult> named =
        Pattern.compile("dontinline,([\\w.$]+)::(\\w*)(\\*?)'")
            .matcher(Files.readString(Path.of("eellm")))
            .results()
            .toList();

    assertThat(named).hasSize(7);
    for (MatchResult method : named) {
      assertThat(
              Class.forName(method.group(1), false, getClass().getClassLoader())
                  .getDeclaredMethods())
          .as(method.group())
          .anyMatch(
              declared ->
                  method.group(3).isEmpty()
                      ? declared.getName().equals(method.group(2))
                      : declared.getName().startsWith(method.group(2)));
    }
  }

  @Test
  void run_firstTime_buildsThenPassesArgumentsAndExitCode() throws Exception {
    Result result = run(Map.of(), "eval", "--model", "two words");

    assertThat(result.err())
        .startsWith("eellm: building")
        .contains("maven -q -B -f " + root.toRealPath() + "/pom.xml -pl eellm-cli -am")
        .contains("JAVA_HOME " + jdk);
    assertThat(result.out())
        .contains(
            "\n%1$s/target/picocli.jar:%1$s/target/eellm.jar:a.jar:b.jar\n"
                .formatted(root.toRealPath()))
        .contains("-XX:SharedArchiveFile=" + root.toRealPath() + "/target/eellm.jsa\n")
        .contains("--add-modules\njdk.incubator.vector\n")
        .contains("\norg.eellm.cli.Main\neval\n--model\ntwo words\n")
        .contains("MALLOC_ARENA_MAX=1");
    assertThat(result.exitCode()).isEqualTo(7);
  }

  /** What machine code needs, as the launcher says. */
  private static boolean decodesByMachineCode() throws IOException {
    Path processor = Path.of("/proc/cpuinfo");
    return Files.exists(processor)
        && Pattern.compile("\\s+")
            .splitAsStream(Files.readString(processor))
            .toList()
            .containsAll(List.of("avx2", "fma", "f16c", "bmi2"));
  }

  @Test
  void run_machineCodeDecodes_needsNoVectors() throws Exception {
    String cache = "-XX:AOTCache=" + root.toRealPath() + "/target/eellm.aot\n";
    String vectors = "--add-modules\njdk.incubator.vector\n";

    for (String command : List.of("chat", "generate")) {
      String out = run(Map.of(), command).out();
      assertThat(out.contains(cache)).isEqualTo(decodesByMachineCode());
      assertThat(out.contains(vectors)).isNotEqualTo(decodesByMachineCode());
    }
    for (String option : List.of("--nproc=2", "--tp=2", "--pp=2", "--device=cuda")) {
      assertThat(run(Map.of(), "generate", option).out()).contains(vectors).doesNotContain(cache);
    }
    assertThat(run(Map.of(), "serve").out()).contains(vectors).doesNotContain(cache);
    Map<String, String> own = Map.of("JDK_JAVA_OPTIONS", "--add-modules java.sql");
    assertThat(run(own, "generate").out()).contains(vectors).doesNotContain(cache);
    Files.deleteIfExists(root.resolve("target/eellm.aot"));
    assertThat(run(Map.of(), "generate").out()).contains(vectors).doesNotContain(cache);
  }

  @Test
  void run_machineCodeDecodes_needsNoSecondCompiler() throws Exception {
    String one = "-XX:TieredStopAtLevel=1\n";
    boolean machineCode = decodesByMachineCode();

    assertThat(run(Map.of(), "--help").out()).contains(one);
    assertThat(run(Map.of()).out()).contains(one);
    for (String command : List.of("chat", "generate")) {
      assertThat(run(Map.of(), command).out().contains(one)).isEqualTo(machineCode);
    }
    for (String command : List.of("train", "eval", "serve", "--debug")) {
      assertThat(run(Map.of(), command, "--help").out()).doesNotContain(one);
    }
    Map<String, String> vectors = Map.of("EELLM_JAVA_OPTS", "-Deellm.cpu=vectors");
    assertThat(run(vectors, "generate").out()).doesNotContain(one);
    assertThat(run(Map.of("EELLM_PROFILE", "cuda"), "generate").out()).doesNotContain(one);
  }

  @Test
  void run_javaWithoutClassArchive_saysSoAndRuns() throws Exception {
    fakeJdk("25.0.1", "echo \"$@\"; [ -z \"$(echo \"$@\" | grep Rehearsal)\" ]");

    Result result = run(Map.of(), "--help");

    assertThat(result.err()).contains("eellm: commands will start slowly, since ");
    assertThat(result.out())
        .doesNotContain("SharedArchiveFile")
        .endsWith("org.eellm.cli.Main --help\n");
  }

  /** The cache is there although the text was not to be had. */
  @Test
  void run_cacheOfAFailure_isNotUsed() throws Exception {
    fakeJdk(
        "25.0.1",
        """
        echo "$@"
        for argument in "$@"; do
          case $argument in
            -XX:AOTCacheOutput=*) touch "${argument#*=}"; exit 1 ;;
          esac
        done
        """);

    Result result = run(Map.of(), "generate");

    assertThat(result.err().contains("eellm: commands will start slowly"))
        .isEqualTo(decodesByMachineCode());
    assertThat(result.out()).contains("jdk.incubator.vector").doesNotContain("-XX:AOTCache=");
  }

  @Test
  void run_secondTime_doesNotBuildUntilASourceChanges() throws Exception {
    run(Map.of());
    assertThat(run(Map.of()).err()).isEmpty();

    Path source = Files.writeString(root.resolve("eellm-cli/src/main/Changed.java"), "");
    Files.setLastModifiedTime(source, FileTime.fromMillis(System.currentTimeMillis() + 5000));
    assertThat(run(Map.of()).err()).startsWith("eellm: building");
  }

  @Test
  void run_withAnotherJdk_buildsAgain() throws Exception {
    run(Map.of());
    Path other = Files.move(jdk, jdk.resolveSibling("another"));

    Result result = run(Map.of("JAVA_HOME", other.toString()));

    assertThat(result.err()).startsWith("eellm: building").contains("JAVA_HOME " + other);
  }

  @Test
  void run_throughSymbolicLink_findsTheProject() throws Exception {
    Path link = Files.createSymbolicLink(folder.resolve("link"), Path.of("a project/eellm"));
    Path second = Files.createSymbolicLink(folder.resolve("bin/second"), link);

    assertThat(run(second, Map.of()).out()).contains("org.eellm.cli.Main");
  }

  @Test
  void run_usersEnvironment_isKept() throws Exception {
    Result result =
        run(
            Map.of(
                "MALLOC_ARENA_MAX", "4", "LANG", "de_DE.UTF-8", "EELLM_JAVA_OPTS", "-Xmx3g -Da=b"));

    assertThat(result.out()).contains("\n-Xmx3g\n-Da=b\n").contains("MALLOC_ARENA_MAX=4 LC_ALL=\n");
  }

  @Test
  void run_noUtf8Locale_getsOne() throws Exception {
    assertThat(run(Map.of("LANG", "C")).out()).contains("LC_ALL=C.UTF-8");
  }

  @Test
  void run_olderJavaHome_isPassedOver() throws Exception {
    Path older = fakeJdk("17.0.2", "echo old");
    String path = jdk.resolve("bin") + ":" + folder.resolve("bin") + ":/usr/bin:/bin";

    assertThat(run(Map.of("JAVA_HOME", older.toString(), "PATH", path)).out())
        .contains("org.eellm.cli.Main")
        .doesNotContain("old");
  }

  @Test
  void run_cudaProfile_buildsAndRunsWithIt() throws Exception {
    Result result = run(Map.of("EELLM_PROFILE", "cuda"));

    assertThat(result.err()).contains("pom.xml -P cuda -pl eellm-cli");
    assertThat(result.out()).contains("/target/eellm-cuda.jar:a.jar:gpu.jar\n");
  }

  @Test
  void run_unknownProfile_isRefused() throws Exception {
    Result result = run(Map.of("EELLM_PROFILE", "cdua"));

    assertThat(result.exitCode()).isEqualTo(1);
    assertThat(result.err())
        .isEqualTo("eellm: EELLM_PROFILE is 'cdua'; use cuda, or unset it to run on the CPU\n");
  }

  @Test
  void run_failedBuild_saysSoAndTriesAgain() throws Exception {
    script("bin/mvn", "echo broken; exit 1");

    for (int attempt = 0; attempt < 2; attempt++) {
      Result result = run(Map.of());
      assertThat(result.exitCode()).isEqualTo(1);
      assertThat(result.err()).endsWith("broken\neellm: the build failed; what it says is above\n");
      assertThat(Files.isSymbolicLink(root.resolve("target/building"))).isFalse();
    }
  }

  @Test
  void run_twoAtOnce_buildOnce() throws Exception {
    String maven = Files.readString(folder.resolve("bin/mvn"));
    Files.writeString(
        folder.resolve("bin/mvn"), maven + "sleep 1; echo built >>\"$target/builds\"\n");
    Process first = builder(root.resolve("eellm"), Map.of()).redirectError(DISCARD).start();
    Path lock = root.resolve("target/building");
    while (!Files.isSymbolicLink(lock)) {
      assertThat(first.isAlive()).isTrue();
      Thread.sleep(10);
    }

    Result second = run(Map.of());

    assertThat(second.exitCode()).isEqualTo(7);
    assertThat(second.err())
        .startsWith("eellm: %s %d builds here; waiting (if it ".formatted(host(), first.pid()));
    assertThat(first.waitFor()).isEqualTo(7);
    assertThat(Files.readAllLines(root.resolve("target/builds"))).containsExactly("built");
    assertThat(Files.isSymbolicLink(lock)).isFalse();
  }

  @Test
  void run_lockOfAKilledProcess_isTaken() throws Exception {
    Process ended = new ProcessBuilder("true").start();
    ended.waitFor();
    Files.createDirectories(root.resolve("target"));
    Files.createSymbolicLink(root.resolve("target/building"), Path.of(host() + " " + ended.pid()));

    Result result = run(Map.of());

    assertThat(result.exitCode()).isEqualTo(7);
    assertThat(result.err()).startsWith("eellm: building");
  }

  @Test
  void run_terminatedWhileItBuilds_givesTheLockBack() throws Exception {
    script("bin/mvn", "sleep 1");
    Process first = builder(root.resolve("eellm"), Map.of()).redirectError(DISCARD).start();
    Path lock = root.resolve("target/building");
    while (!Files.isSymbolicLink(lock)) {
      assertThat(first.isAlive()).isTrue();
      Thread.sleep(10);
    }

    first.destroy();

    assertThat(first.waitFor()).isEqualTo(143);
    assertThat(Files.isSymbolicLink(lock)).isFalse();
  }

  private static String host() throws Exception {
    Process process = new ProcessBuilder("uname", "-n").start();
    return new String(process.getInputStream().readAllBytes(), UTF_8).strip();
  }

  private Result run(Map<String, String> environment, String... arguments) throws Exception {
    return run(root.resolve("eellm"), environment, arguments);
  }

  private Result run(Path launcher, Map<String, String> environment, String... arguments)
      throws Exception {
    Path out = folder.resolve("out.txt");
    Path err = folder.resolve("err.txt");
    int exitCode =
        builder(launcher, environment, arguments)
            .redirectOutput(out.toFile())
            .redirectError(err.toFile())
            .start()
            .waitFor();
    return new Result(exitCode, Files.readString(out), Files.readString(err));
  }

  private ProcessBuilder builder(
      Path launcher, Map<String, String> environment, String... arguments) {
    var command = new ArrayList<String>();
    command.add(launcher.toString());
    command.addAll(List.of(arguments));
    ProcessBuilder builder =
        new ProcessBuilder(command).directory(folder.toFile()).redirectOutput(DISCARD);
    builder.environment().clear();
    builder.environment().put("PATH", folder.resolve("bin") + ":/usr/bin:/bin");
    builder.environment().put("JAVA_HOME", jdk.toString());
    builder.environment().putAll(environment);
    return builder;
  }

  private Path fakeJdk(String version, String java) throws IOException {
    Path home = folder.resolve("jdk-" + version);
    script("jdk-" + version + "/bin/java", java);
    script("jdk-" + version + "/bin/javac", "");
    script("jdk-" + version + "/bin/jar", "touch \"$3\""); // --create --file ...
    Files.writeString(home.resolve("release"), "JAVA_VERSION=\"" + version + "\"\n");
    return home;
  }

  private void script(String name, String body) throws IOException {
    Path file = folder.resolve(name);
    Files.createDirectories(file.getParent());
    Files.writeString(file, "#!/bin/sh\n" + body);
    file.toFile().setExecutable(true);
  }
}
