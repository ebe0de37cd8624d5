package org.eellm.decode.engine;

import static java.util.stream.Collectors.toMap;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.MatrixQuantization;
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
import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.weight.StoredRows;
import org.eellm.kernel.weight.WeightRows;
import org.eellm.model.StoredDecoder;
import org.eellm.model.parameter.ParameterSpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Decodes in a process that has no module {@code jdk.incubator.vector}, and no libtorch. */
@Timeout(120)
final class WithoutVectorsTest {
  private static final int TOKENS = 12;

  @TempDir private Path folder;

  /** Writes a text of each family in each format by each method, a line each. */
  static final class Program {
    private Program() {}

    public static void main(String[] args) {
      texts().forEach(System.out::println);
    }
  }

  @Test
  void generate_withoutTheVectorModule_writesWhatItWritesWithIt() throws Exception {
    assumeTrue(RowKernel.isMachineCode(), "decodes by the Vector API here");
    Path out = folder.resolve("out.txt");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                Program.class.getName())
            .redirectErrorStream(true)
            .redirectOutput(out.toFile())
            .start();

    assertThat(process.waitFor()).as(Files.readString(out)).isZero();
    assertThat(Files.readAllLines(out)).isEqualTo(texts());
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
