package org.eellm.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** GNU OpenMP itself says what it has read when it was loaded. */
@Timeout(120)
@EnabledOnOs(OS.LINUX)
final class SpinCountTest {

  /** Loads libtorch. */
  public static final class Loads {
    private Loads() {}

    public static void main(String[] args) {
      System.out.println(Torch.threads());
    }
  }

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
}
