package org.eellm.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@Timeout(120)
@EnabledOnOs(OS.LINUX)
final class SharedProcessorsTest {

  /** Loads libtorch. */
  public static final class Loads {
    private Loads() {}

    public static void main(String[] args) {
      System.out.println(Torch.threads());
    }
  }

  /** GNU OpenMP itself says what it has read when it was loaded. */
  @ParameterizedTest
  @CsvSource({
    "EELLM_NOTHING, '', 1000",
    "GOMP_SPINCOUNT, 77, 77",
    "OMP_WAIT_POLICY, active, 30000000000",
  })
  void load_byAProgramOfItsOwn_limitsHowLongThreadsSpin(String variable, String value, String spins)
      throws Exception {
    ProcessBuilder program =
        new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "--enable-native-access=ALL-UNNAMED",
            "--add-modules=jdk.incubator.vector",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            System.getProperty("java.class.path"),
            Loads.class.getName());
    program.environment().keySet().removeAll(List.of("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"));
    program.environment().putAll(Map.of("OMP_DISPLAY_ENV", "verbose", variable, value));
    Process process = program.redirectErrorStream(true).start();
    String told = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(told).isZero();
    assertThat(told).contains("GOMP_SPINCOUNT = '" + spins + "'");
  }

  @Test
  void load_byAThread_shortensItsTimeSlicesAndThoseOfThreadsThatItStarts() throws Exception {
    assumeTrue(takesSlices(System.getProperty("os.version")), "Linux below 6.12");
    try (ExecutorService loads = Executors.newSingleThreadExecutor()) {
      List<Optional<String>> slices =
          loads
              .submit(
                  () -> {
                    SharedProcessors.shortenSlices();
                    try (ExecutorService later = Executors.newSingleThreadExecutor()) {
                      return List.of(slice(), later.submit(() -> slice()).get());
                    }
                  })
              .get();
      assumeTrue(slices.getFirst().isPresent(), "the system does not tell time slices");
      assertThat(slices).containsOnly(Optional.of("" + SharedProcessors.SLICE));
    }
  }

  private static boolean takesSlices(String version) {
    String[] numbers = version.split("[^0-9]+");
    int major = Integer.parseInt(numbers[0]);
    return major > 6 || major == 6 && Integer.parseInt(numbers[1]) >= 12;
  }

  /** This thread's time slice, in nanoseconds. */
  private static Optional<String> slice() {
    try (Stream<String> lines = Files.lines(Path.of("/proc/thread-self/sched"))) {
      return lines
          .filter(line -> line.startsWith("se.slice"))
          .map(line -> line.substring(line.indexOf(':') + 1).strip())
          .findFirst();
    } catch (IOException e) {
      return Optional.empty();
    }
  }
}
