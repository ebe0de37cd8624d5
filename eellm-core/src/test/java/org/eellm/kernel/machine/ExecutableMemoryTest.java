package org.eellm.kernel.machine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.List;
import java.util.Set;
import org.eellm.kernel.assembler.Arm64Assembler;
import org.eellm.kernel.assembler.Assembler;
import org.eellm.kernel.assembler.CpuFeature;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Vector;
import org.eellm.kernel.vector.CpuFlags;
import org.eellm.kernel.vector.CpuLevel;
import org.eellm.kernel.vector.FloatArray;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

final class ExecutableMemoryTest {

  /** {@code a + 2 b}. */
  private static final class Sum extends Assembler {
    MachineCode code() {
      enter(1);
      lea(RAX, at(RDI, RSI, 2, 0));
      leave();
      return finish();
    }
  }

  /** The same for arm64. */
  private static final class Arm64Sum extends Arm64Assembler {
    MachineCode code() {
      add(x(0), x(0), x(1));
      add(x(0), x(0), x(1));
      ret();
      return finish();
    }
  }

  private static boolean isX86() {
    return CpuFlags.all().contains(CpuFeature.LM.flag());
  }

  private static MachineCode sum() {
    return isX86() ? new Sum().code() : new Arm64Sum().code();
  }

  /** Adds 8 numbers, by VEX encodings alone: {@code f(x, y, sum)}. */
  private static final class Addition extends Assembler {
    Addition() {
      super(256);
    }

    MachineCode code() {
      Vector sum = Vector.of(9, 256);
      vmovups(sum, at(RDI));
      vaddps(sum, sum, at(RSI));
      vmovups(at(RDX), sum);
      leaveVectors();
      return finish();
    }
  }

  @BeforeEach
  void requireMachineCode() {
    assumeTrue(CpuLevel.chosen().hasMachineCode(), "no machine code here");
  }

  @Test
  void store_aFunction_runsIt() {
    assertThat(ExecutableMemory.store(ExecutableMemoryTest::sum).orElseThrow().call(1, 20, 0, 0))
        .isEqualTo(41);
  }

  @Test
  void store_vectorsOf256Bits_runsOnProcessorsWithAvx() {
    assumeTrue(isX86(), "not a processor of x86-64");
    float[] x = {1, 2, 3, 4, 5, 6, 7, 8};
    float[] y = {10, 20, 30, 40, 50, 60, 70, 80};
    FloatArray sum = FloatArray.allocate(8);

    ExecutableMemory.store(() -> new Addition().code())
        .orElseThrow()
        .callWithArrays(FloatArray.of(x), FloatArray.of(y), sum, 0, 0, 0, 0);

    assertThat(sum.values()).containsExactly(11, 22, 33, 44, 55, 66, 77, 88);
  }

  @ParameterizedTest
  @EnumSource
  void store_codeThatNeedsAFeature_onlyIfTheProcessorHasIt(CpuFeature feature) {
    MachineCode code = new MachineCode(sum().bytes(), 0, Set.of(feature));

    assertThat(ExecutableMemory.store(() -> code).isPresent())
        .isEqualTo(
            CpuFlags.all().contains(feature.flag())
                && (feature != CpuFeature.AMX_TILE || TilePermission.isGranted()));
  }

  @Test
  void store_codeThatTheProcessorDoesNotTake_isTheLastThatIsWritten() {
    Set<CpuFeature> all = Set.of(CpuFeature.values());
    assumeTrue(
        !all.stream().map(CpuFeature::flag).allMatch(CpuFlags.all()::contains),
        "the processor has everything");

    assertThat(
            ExecutableMemory.store(
                List.of(
                    () -> new MachineCode(new byte[1], 1, all),
                    () -> fail("wrote another function"))))
        .isEmpty();
  }
}
