package org.eellm.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.eellm.kernel.vector.NativeFunction;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class CudaLibrariesTest {

  @Test
  void prepare_buildForTheCpu_needsNone() {
    assertThat(CudaLibraries.areNeeded()).isFalse();
    assertThatCode(CudaLibraries::prepare).doesNotThrowAnyException();
  }

  @EnabledOnOs(OS.LINUX)
  @Test
  void missing_librariesOfTheMachine_areThoseThatAreNotThere() {
    assertThat(CudaLibraries.missing(List.of("libc.so.6", "libnothing.so.13", "libm.so.6")))
        .containsExactly("libnothing.so.13");
  }

  @Test
  void require_librariesMiss_namesThemAndTheRemedyInALine() {
    assertThatThrownBy(() -> CudaLibraries.require(List.of("libcudnn.so.9", "libnccl.so.2")))
        .isInstanceOf(TensorException.class)
        .hasMessage(
            "libtorch's GPU build: libcudnn.so.9, libnccl.so.2 not found; install an NVIDIA driver"
                + " from 580 on, CUDA 13, cuDNN 9 and NCCL 2, and put their folders into"
                + " LD_LIBRARY_PATH (docs/gpu.md)");
  }

  @Test
  void requireDriver_olderThanTheBuild_namesBothAndTheRemedy() {
    assertThatThrownBy(() -> CudaLibraries.requireDriver(12_040))
        .isInstanceOf(TensorException.class)
        .hasMessage(
            "libtorch's GPU build: the NVIDIA driver can do CUDA 12.4 at most; install 580 or"
                + " newer, which can do CUDA 13");
    assertThatCode(() -> CudaLibraries.requireDriver(13_000)).doesNotThrowAnyException();
  }

  /** Reads what a program of its own has in its environment in the end. */
  @EnabledOnOs(OS.LINUX)
  @ParameterizedTest
  @CsvSource({
    "EELLM_NOTHING, '', expandable_segments:True null",
    "PYTORCH_ALLOC_CONF, max_split_size_mb:64, max_split_size_mb:64 null",
    "PYTORCH_CUDA_ALLOC_CONF, max_split_size_mb:64, null max_split_size_mb:64",
  })
  void letSegmentsGrow_unlessTheUserHasChosen(String variable, String value, String chosen)
      throws Exception {
    ProcessBuilder program =
        new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "--enable-native-access=ALL-UNNAMED",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            System.getProperty("java.class.path"),
            Prepares.class.getName());
    program.environment().keySet().removeAll(List.of(Prepares.NEW, Prepares.OLD));
    program.environment().put(variable, value);
    Process process = program.start();
    String told = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

    assertThat(told).isEqualTo(chosen + "\n");
  }

  /** Says what native libraries read. */
  static final class Prepares {
    static final String NEW = "PYTORCH_ALLOC_CONF";
    static final String OLD = "PYTORCH_CUDA_ALLOC_CONF";

    private Prepares() {}

    public static void main(String[] args) {
      CudaLibraries.letSegmentsGrow(System.getenv());
      System.out.println(read(NEW) + " " + read(OLD));
    }

    private static @Nullable String read(String name) {
      try (Arena arena = Arena.ofConfined()) {
        long value =
            NativeFunction.ofSystem("getenv")
                .orElseThrow()
                .call(arena.allocateFrom(name).address(), 0, 0, 0);
        return value == 0 ? null : MemorySegment.ofAddress(value).reinterpret(1000).getString(0);
      }
    }
  }
}
