package org.eellm.decode.engine;

import static java.util.stream.Collectors.toMap;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.ModelConfig;
import org.eellm.config.Quantization;
import org.eellm.decode.Generator;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.vector.CpuLevel;
import org.eellm.kernel.vector.GuardedBuffers;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.StoredRows;
import org.eellm.kernel.weight.WeightRows;
import org.eellm.model.StoredDecoder;
import org.eellm.model.parameter.ParameterSpec;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Decodes on every level that the machine has, in processes without libtorch and, but for the
 * levels that need it, without the module {@code jdk.incubator.vector}.
 */
@Timeout(300)
final class CpuLevelsTest {
  private static final int TOKENS = 12;
  private static final String JAVA =
      Path.of(System.getProperty("java.home"), "bin", "java").toString();

  @TempDir private Path folder;

  /** Writes a text of each family in each format by each method, a line each. */
  static final class Program {
    private Program() {}

    public static void main(String[] args) {
      texts().forEach(System.out::println);
    }
  }

  /** Writes a text of random shapes, with a page without access behind each buffer. */
  static final class GuardedProgram {
    private GuardedProgram() {}

    public static void main(String[] args) {
      GuardedBuffers.begin();
      for (int seed = 0; seed < SHAPES; seed++) {
        System.out.println(text(seed));
      }
    }
  }

  static Stream<CpuLevel> levels() {
    return CpuLevel.available().stream().filter(level -> level != CpuLevel.chosen());
  }

  @ParameterizedTest
  @MethodSource("levels")
  void generate_onAnyLevel_writesWhatOthersWithVectorsAsWideWrite(CpuLevel level) throws Exception {
    List<String> texts = run(JAVA, Program.class, level);

    assertThat(texts).hasSize(RunnerFamily.values().length * 4 * 3);
    if (isWide(level) == isWide(CpuLevel.chosen())) {
      assertThat(texts).isEqualTo(texts());
    }
  }

  /** Sums of vectors of 16 numbers have another order than those of 8, which all others have. */
  private static boolean isWide(CpuLevel level) {
    return level.compareTo(CpuLevel.AVX512) >= 0;
  }

  @Test
  @Tag("slow")
  @Timeout(1800)
  void generate_randomShapes_touchesNothingBehindABufferOnAnyLevel() throws Exception {
    Map<Boolean, List<String>> before = new HashMap<>();
    for (CpuLevel level : CpuLevel.available()) {
      List<String> texts = run(JAVA, GuardedProgram.class, level);

      assertThat(texts).as("%s", level).hasSize(SHAPES);
      assertThat(before.computeIfAbsent(isWide(level), _ -> texts))
          .as("%s", level)
          .isEqualTo(texts);
    }
  }

  @Test
  @Tag("slow")
  @Timeout(1800)
  void generate_onEmulatedArm64_writesWhatPlainVectorsWriteHere() throws Exception {
    String arm64 = System.getenv("ARM64_JAVA");
    assumeTrue(
        arm64 != null,
        "ARM64_JAVA names no java of an arm64 JDK; deploy/test/arm64.sh says how to emulate one");

    assertThat(run(arm64, Program.class, CpuLevel.NEON))
        .isEqualTo(run(JAVA, Program.class, CpuLevel.VECTORS));
  }

  private List<String> run(String java, Class<?> program, CpuLevel level) throws Exception {
    Path out = folder.resolve("out.txt");
    List<String> command = new ArrayList<>();
    command.add(java);
    if (level == CpuLevel.VECTORS || level == CpuLevel.NEON) {
      command.add("--add-modules=" + NativeNumbers.VECTOR_MODULE);
    } else if (level != CpuLevel.SCALAR) { // whose kernels need the second compiler, too
      command.add("-XX:TieredStopAtLevel=1");
    }
    command.addAll(
        List.of(
            "--enable-native-access=ALL-UNNAMED",
            "-D%s=%s".formatted(CpuLevel.PROPERTY, level.text()),
            "-cp",
            System.getProperty("java.class.path"),
            program.getName()));
    Process process =
        new ProcessBuilder(command)
            .redirectError(folder.resolve("err.txt").toFile())
            .redirectOutput(out.toFile())
            .start();
    assertThat(process.waitFor())
        .as("%s: %s", Files.readString(out), Files.readString(folder.resolve("err.txt")))
        .isZero();
    return Files.readAllLines(out);
  }

  private static List<String> texts() {
    List<String> texts = new ArrayList<>();
    for (RunnerFamily family : RunnerFamily.values()) {
      texts.addAll(texts(family, DataType.FLOAT32, MatrixQuantization.NONE));
      texts.addAll(texts(family, DataType.BFLOAT16, MatrixQuantization.NONE));
      for (Quantization bits : List.of(Quantization.INT8, Quantization.INT4)) {
        texts.addAll(
            texts(
                family, DataType.BFLOAT16, new MatrixQuantization(bits, bits, Quantization.INT8)));
      }
    }
    return texts;
  }

  private static List<String> texts(
      RunnerFamily family, DataType type, MatrixQuantization quantization) {
    Architecture architecture = family.architecture(type);
    float[] weights = new float[architecture.model().hiddenSize()];
    weights[0] = 1;
    Gate gate = new Gate(0, 1, 1, weights);
    List<DecodingMethod> methods =
        List.of(
            DecodingMethod.full(),
            DecodingMethod.lossless(),
            new DecodingMethod.EarlyExit(
                ExitPolicies.gated(Map.of(1, gate, 3, gate), Threshold.of(0.5))));
    List<String> texts = new ArrayList<>();
    try (StoredDecoder model = model(architecture, quantization)) {
      List<Integer> listed = IntStream.range(0, 20).boxed().toList();
      Limits limits =
          Limits.of(model).withVocabulary(new Vocabulary(RunnerText.VOCABULARY, listed));
      for (DecodingMethod method : methods) {
        Request request =
            new Request(List.of(1, 2, 3, 4, 5), TOKENS, Set.of(), method, Sampler.greedy());
        Result result =
            Generator.generate(model, limits, List.of(request), TokenListener.none()).getFirst();
        texts.add("%s %s %s %s".formatted(family, type, quantization, result.ids()));
      }
    }
    return texts;
  }

  private static final int SHAPES = 60;
  private static final int[] HIDDEN = {8, 16, 17, 48, 63, 64, 65, 100, 128, 255, 256, 257, 320};
  private static final int[] HEADS = {2, 4, 6, 10, 16, 30, 32, 64, 66, 128, 256};
  private static final int[] GROUPS = {1, 2, 3, 4, 5, 6, 7, 8, 16, 17};
  private static final int MOST_ROWS = 200;

  /** A text of a model of random shape. */
  private static String text(int seed) {
    SplittableRandom random = new SplittableRandom(seed);
    int keyValueHeads = random.nextInt(1, 3);
    int vocabulary = random.nextBoolean() ? random.nextInt(2, 20) : random.nextInt(20, 300);
    DataType type = random.nextBoolean() ? DataType.FLOAT32 : DataType.BFLOAT16;
    ModelConfig shape =
        ModelConfig.builder()
            .vocabSize(vocabulary)
            .hiddenSize(any(HIDDEN, random))
            .numLayers(2)
            .numHeads(keyValueHeads * any(GROUPS, random))
            .numKeyValueHeads(keyValueHeads)
            .headDim(any(HEADS, random))
            .ffnHiddenSize(random.nextBoolean() ? random.nextInt(1, 10) : random.nextInt(10, 400))
            .maxPositions(MOST_ROWS + TOKENS)
            .dtype(type)
            .build();
    Quantization[] all = Quantization.values();
    MatrixQuantization quantization =
        new MatrixQuantization(
            all[random.nextInt(all.length)],
            all[random.nextInt(all.length)],
            random.nextBoolean() ? Quantization.NONE : Quantization.INT8);
    Architecture architecture =
        new Architecture(shape, new ExitLayout(List.of(1), true, false, false, false));
    List<Integer> prompt =
        random.ints(random.nextInt(1, MOST_ROWS + 1), 0, vocabulary).boxed().toList();
    DecodingMethod method =
        random.nextBoolean() ? DecodingMethod.full() : DecodingMethod.lossless();
    Request request = new Request(prompt, TOKENS, Set.of(), method, Sampler.greedy());
    try (StoredDecoder model = model(architecture, quantization)) {
      Result result =
          Generator.generate(model, Limits.of(model), List.of(request), TokenListener.none())
              .getFirst();
      return "%d: %s %s, %d rows, %s"
          .formatted(seed, shape, quantization, prompt.size(), result.ids());
    }
  }

  private static int any(int[] choices, SplittableRandom random) {
    return choices[random.nextInt(choices.length)];
  }

  private static StoredDecoder model(Architecture architecture, MatrixQuantization quantization) {
    StoredDecoder.Part part = StoredDecoder.Part.whole(architecture, quantization);
    SplittableRandom random = new SplittableRandom(1);
    List<NativeBuffer> memory = new ArrayList<>();
    Map<String, WeightRows> weights =
        part.parameterGroups().stream()
            .flatMap(List::stream)
            .collect(toMap(ParameterSpec::name, spec -> rows(spec, random, memory)));
    return new StoredDecoder(part, weights, List.of(), () -> memory.forEach(NativeBuffer::close));
  }

  private static WeightRows rows(
      ParameterSpec parameter, SplittableRandom random, List<NativeBuffer> memory) {
    int count = Math.toIntExact(parameter.numel());
    int width = parameter.shape().getLast().intValue();
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextDouble(-1, 1);
    }
    NativeBuffer buffer = NativeBuffer.allocate((long) Float.BYTES * count);
    memory.add(buffer);
    FloatArithmetic.write(values, 0, buffer.address(), count);
    return StoredRows.of(StoredRows.Type.FLOAT32, buffer.address(), count / width, width);
  }
}
