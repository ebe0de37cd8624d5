package org.eellm.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

final class CudaLibrariesTest {

  @Test
  void missing_buildForTheCpu_needsNone() {
    assertThat(CudaLibraries.missing()).isEmpty();
    assertThatCode(CudaLibraries::require).doesNotThrowAnyException();
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
            "libtorch's GPU build: libcudnn.so.9, libnccl.so.2 not found; install CUDA 13, cuDNN 9"
                + " and NCCL 2, and put their folders into LD_LIBRARY_PATH (docs/gpu.md)");
  }
}
