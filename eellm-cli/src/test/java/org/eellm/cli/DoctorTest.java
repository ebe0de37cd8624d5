package org.eellm.cli;

import static java.util.stream.Collectors.joining;
import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.cli.Commands.run;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import org.eellm.cli.Commands.Outcome;
import org.eellm.cli.option.Machine;
import org.eellm.kernel.matmul.SumOrder;
import org.eellm.kernel.vector.CpuLevel;
import org.eellm.tensor.DeviceThroughput;
import org.junit.jupiter.api.Test;

final class DoctorTest {
  private static final long GIB = 1L << 30;

  @Test
  void doctor_json_hasRatesAndThisMachine() throws Exception {
    JsonNode report =
        new ObjectMapper().readTree(run("doctor", "--json", "--seconds", "0.02").printed());

    assertThat(report.path("java").textValue()).startsWith("25");
    JsonNode machine = report.path("machine");
    JsonNode libtorch = machine.path("libtorch");
    assertThat(libtorch.path("version").textValue()).startsWith("2.");
    assertThat(machine.path("cores").intValue())
        .isEqualTo(Runtime.getRuntime().availableProcessors());
    assertThat(libtorch.path("cpu").path("float32").doubleValue()).isGreaterThan(1e8);
    assertThat(libtorch.path("cpu").path("bfloat16").doubleValue()).isGreaterThan(1e8);
    assertThat(libtorch.path("cpu").path("memory").doubleValue()).isGreaterThan(1e8);
    JsonNode decoding = report.path("decoding");
    assertThat(decoding.path("level").textValue()).isEqualTo(CpuLevel.chosen().text());
    assertThat(decoding.path("levels").valueStream().map(JsonNode::textValue))
        .contains("scalar", CpuLevel.chosen().text());
    assertThat(decoding.path("vector_bits").intValue()).isIn(256, 512);
    assertThat(decoding.path("last_cache_bytes").longValue()).isPositive();
    assertThat(report.path("traps").isArray()).isTrue();
  }

  @Test
  void doctor_forPeople_namesWhatItFound() {
    assertThat(run("doctor", "--seconds", "0.02").printed())
        .contains("libtorch ", "processor ", "memory ", "CPU rates ", "GFLOP/s")
        .contains("decoding ", "processor level: ", "last cache ", "huge pages");
  }

  @Test
  void doctor_levelThatTheMachineLacks_isRefusedInALineWithThoseItHas() {
    assertRefused(
        CpuLevel.PROPERTY,
        "eellm: -Deellm.cpu: 'fast' is no level of this machine; use one of %s in EELLM_JAVA_OPTS"
            .formatted(CpuLevel.available().stream().map(CpuLevel::text).collect(joining(", "))));
  }

  @Test
  void doctor_unknownOrder_isRefusedInALine() {
    assertRefused(
        SumOrder.PROPERTY,
        "eellm: -Deellm.kernel.order: 'fast' is no order of kernels; use one of chain, tiles in"
            + " EELLM_JAVA_OPTS");
  }

  private static void assertRefused(String property, String message) {
    Outcome outcome;
    Optional<String> before = Optional.ofNullable(System.getProperty(property));
    System.setProperty(property, "fast");
    try {
      outcome = run("doctor", "--json");
    } finally {
      System.clearProperty(property);
      before.ifPresent(value -> System.setProperty(property, value));
    }

    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err().lines()).containsExactly(message);
  }

  @Test
  void decoding_highestLevel_saysWhatMultipliesAndWhatElseThereIs() {
    assertThat(kernels(false).lines())
        .containsExactly(
            "processor level: amx, the highest of this machine; EELLM_JAVA_OPTS=-Deellm.cpu= takes"
                + " one of scalar, avx2, amx",
            "bfloat16 products: machine code, 512 bits, bfloat16",
            "products of 8 and 4 bits: machine code, 512 bits, int8",
            "attention: machine code, 512 bits",
            "norms, activations: machine code, 512 bits",
            "float32 products: machine code, 512 bits, float32",
            "bfloat16 sums: in the order of tiles; EELLM_JAVA_OPTS=-Deellm.kernel.order=chain takes"
                + " the other",
            "last cache 32768 KiB, huge pages for weights");
  }

  @Test
  void decoding_chosenLevel_saysWhy() {
    assertThat(kernels(true).lines())
        .first()
        .asString()
        .startsWith("processor level: amx, since eellm.cpu says so; ");
  }

  @Test
  void hugePages_areTheWordInBrackets() {
    assertThat(DecodingKernels.chosen("always [madvise] never\n")).contains("madvise");
    assertThat(DecodingKernels.chosen("")).isEmpty();
  }

  private static DecodingKernels kernels(boolean chosen) {
    return new DecodingKernels(
        "amx",
        chosen,
        List.of("scalar", "avx2", "amx"),
        SumOrder.TILES,
        "machine code, 512 bits, bfloat16",
        "machine code, 512 bits, float32",
        "machine code, 512 bits, int8",
        "machine code, 512 bits",
        true,
        512,
        32L << 20,
        Optional.of("madvise"));
  }

  @Test
  void traps_wellSetUpMachine_none() {
    assertThat(SetupProblem.of(WELL)).isEmpty();
  }

  @Test
  void traps_badlySetUpMachine_namesEachWithItsRemedy() {
    Machine bad =
        new Machine(
            "Linux 6.12",
            "amd64",
            8,
            Set.of(),
            16 * GIB,
            OptionalLong.of(GIB),
            GIB,
            true,
            List.of("MALLOC_ARENA_MAX"),
            Optional.of(
                new Machine.Libtorch(
                    "2.10.0-1.5.13",
                    "OpenBLAS",
                    2,
                    true,
                    0,
                    new DeviceThroughput.Measured(2e11, 1e11, 2e10),
                    Optional.empty())),
            Optional.empty());

    assertThat(SetupProblem.of(bad))
        .extracting(SetupProblem::problem)
        .satisfiesExactly(
            problem -> assertThat(problem).startsWith("OpenBLAS runs the matrix products"),
            problem -> assertThat(problem).isEqualTo("libtorch uses 2 threads of 8 cores"),
            problem -> assertThat(problem).startsWith("JavaCPP limits native memory"),
            problem -> assertThat(problem).startsWith("libtorch's products of bfloat16 are slower"),
            problem -> assertThat(problem).startsWith("an NVIDIA driver runs here"),
            problem -> assertThat(problem).contains("no AVX2"),
            problem -> assertThat(problem).startsWith("MALLOC_ARENA_MAX not set"),
            problem -> assertThat(problem).isEqualTo("1.0 GiB left on the disk of this folder"),
            problem -> assertThat(problem).isEqualTo("less than 2 GiB of memory are free"));
    assertThat(SetupProblem.of(bad))
        .extracting(SetupProblem::remedy)
        .doesNotContain("")
        .doesNotHaveDuplicates();
  }

  private static final Machine WELL =
      new Machine(
          "Linux 6.12",
          "amd64",
          2,
          Set.of("avx2", "avx512_bf16"),
          16 * GIB,
          OptionalLong.of(12 * GIB),
          100 * GIB,
          false,
          List.of(),
          Optional.of(
              new Machine.Libtorch(
                  "2.10.0-1.5.13",
                  "Intel MKL",
                  2,
                  false,
                  0,
                  new DeviceThroughput.Measured(2e11, 4e11, 3e10),
                  Optional.empty())),
          Optional.empty());
}
