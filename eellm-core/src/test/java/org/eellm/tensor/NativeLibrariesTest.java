package org.eellm.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The first ranks on a machine fill JavaCPP's cache at the same time. */
@Tag("slow")
@Timeout(120)
final class NativeLibrariesTest {
  private static final int PROCESSES = 3;

  @TempDir private Path folder;

  /** Loads libtorch. */
  public static final class Loads {
    private Loads() {}

    public static void main(String[] args) {
      System.out.println(Torch.version());
    }
  }

  @Test
  void load_byProcessesAtOnceWithAnEmptyCache_loadsInAll() throws Exception {
    List<Process> processes = new ArrayList<>();
    for (int i = 0; i < PROCESSES; i++) {
      processes.add(
          new ProcessBuilder(
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "--enable-native-access=ALL-UNNAMED",
                  "--add-modules=jdk.incubator.vector",
                  "-Dorg.bytedeco.javacpp.cachedir=" + folder.resolve("cache"),
                  "-XX:ErrorFile=" + folder.resolve("error.log"),
                  "-cp",
                  System.getProperty("java.class.path"),
                  Loads.class.getName())
              .redirectErrorStream(true)
              .redirectOutput(folder.resolve(i + ".txt").toFile())
              .start());
    }
    for (int i = 0; i < PROCESSES; i++) {
      assertThat(processes.get(i).waitFor(100, TimeUnit.SECONDS)).isTrue();
      assertThat(processes.get(i).exitValue())
          .as(Files.readString(folder.resolve(i + ".txt")))
          .isZero();
    }
  }
}
