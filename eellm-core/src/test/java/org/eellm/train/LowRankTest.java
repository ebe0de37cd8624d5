package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.SplittableRandom;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.Architecture;
import org.eellm.config.Learning;
import org.eellm.config.Quantization;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.config.TuneConfig.Lora;
import org.eellm.config.TuneConfig.Projection;
import org.eellm.golden.GoldenCase;
import org.eellm.model.Decoder;
import org.eellm.model.DecoderShard;
import org.eellm.model.Dropout;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameter;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.objective.StageExecutor;
import org.eellm.train.objective.StageExecutor.HeadResult;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.FieldSource;

/**
 * Low-rank changes beside whole matrices that are changed alike: the walk whose gradients the
 * golden cases prove.
 */
final class LowRankTest {
  static final List<String> GOLDEN = GoldenCase.NAMES;
  private static final int RANK = 3;
  private static final double ALPHA = 5;

  /** By the chain rule, of the gradient G of W: that of B is G A^T, that of A is B^T G, scaled. */
  @ParameterizedTest
  @FieldSource("GOLDEN")
  void backward_givesFactorsTheGradientsOfChangedMatrices(String name) {
    GoldenCase golden = GoldenCase.named(name);
    assertGradients(golden, new Lora(RANK, ALPHA, 0, Set.of()), Recompute.NONE);
  }

  @ParameterizedTest
  @CsvSource({"Q_PROJ,V_PROJ,SELECTIVE", "K_PROJ,DOWN_PROJ,FULL", "O_PROJ,UP_PROJ,NONE"})
  void backward_ofSomeMaps_givesTheirs(Projection one, Projection other, Recompute recompute) {
    GoldenCase golden = GoldenCase.named("llama_mlp_block_gqa");
    assertGradients(golden, new Lora(RANK, ALPHA, 0, Set.of(one, other)), recompute);
  }

  @ParameterizedTest
  @CsvSource({"NONE", "FULL"})
  void backward_withDropout_givesTheLossesDerivative(Recompute recompute) {
    GoldenCase golden = GoldenCase.named("llama_mlp_block_gqa");
    Dropout dropout = new Dropout.Keyed(7);
    double step = 2e-4;
    try (Scope _ = Scope.open();
        Decoder model = changed(golden, new Lora(RANK, ALPHA, 0.3, Set.of()));
        Gradients gradients = new Gradients(model.parameters())) {
      double kept = objective(golden, pass(model, golden, recompute, gradients));
      double dropped = objective(golden, pass(model, golden, recompute, dropout, gradients));
      assertThat(dropped).isNotCloseTo(kept, within(1e-3));
      float[] g = Tensors.toFloats(gradients.flat());
      double[] direction = new double[g.length];
      double expected = 0;
      SplittableRandom random = new SplittableRandom(5);
      for (int i = 0; i < g.length; i++) {
        direction[i] = random.nextBoolean() ? 1 : -1;
        expected += g[i] * direction[i];
      }
      Tensor ahead = Tensors.ofDoubles(direction, Torch.cpu(), g.length);
      Tensor flat = model.parameters().flat();
      flat.copy_(flat.add(ahead, new Scalar(step)));
      double above = objective(golden, pass(model, golden, recompute, dropout, gradients));
      flat.copy_(flat.add(ahead, new Scalar(-2 * step)));
      double below = objective(golden, pass(model, golden, recompute, dropout, gradients));
      assertThat((above - below) / (2 * step))
          .isCloseTo(expected, within(0.01 * Math.abs(expected)));
    }
  }

  private static double objective(GoldenCase golden, double[] losses) {
    List<Double> weights =
        golden.objective().weights().stream().filter(weight -> weight != 0).toList();
    double sum = 0;
    for (int head = 0; head < losses.length; head++) {
      sum += 0.5 * weights.get(head) * losses[head];
    }
    return sum;
  }

  private static void assertGradients(GoldenCase golden, Lora lora, Recompute recompute) {
    Architecture architecture = golden.architecture();
    Map<String, float[]> factors = new HashMap<>();
    Map<String, float[]> found = new HashMap<>();
    double[] losses;
    try (Decoder changed = changed(golden, lora);
        Gradients gradients = new Gradients(changed.parameters())) {
      losses = pass(changed, golden, recompute, gradients);
      for (Parameter parameter : changed.parameters().trainable()) {
        factors.put(parameter.name(), Tensors.toFloats(parameter.value()));
        found.put(parameter.name(), Tensors.toFloats(parameter.of(gradients.flat())));
      }
    }
    assertThat(factors).isNotEmpty();
    try (Decoder whole = golden.load(architecture);
        Gradients gradients = new Gradients(whole.parameters())) {
      for (Parameter parameter : whole.parameters().all()) {
        String module = parameter.name().replaceFirst("\\.weight$", "");
        float[] a = factors.get(module + ".lora_A.weight");
        float[] b = factors.get(module + ".lora_B.weight");
        if (a != null && b != null) {
          add(parameter, b, a);
        }
      }
      double[] expected = pass(whole, golden, Recompute.NONE, gradients);
      for (int head = 0; head < expected.length; head++) {
        assertThat(losses[head]).isCloseTo(expected[head], within(1e-5 * expected[head]));
      }
      int compared = 0;
      for (Parameter parameter : whole.parameters().all()) {
        String module = parameter.name().replaceFirst("\\.weight$", "");
        if (factors.containsKey(module + ".lora_A.weight")) {
          float[] a = Objects.requireNonNull(factors.get(module + ".lora_A.weight"));
          float[] b = Objects.requireNonNull(factors.get(module + ".lora_B.weight"));
          float[] g = Tensors.toFloats(parameter.of(gradients.flat()));
          int in = (int) parameter.shape()[1];
          assertClose(
              module + " A",
              Objects.requireNonNull(found.get(module + ".lora_A.weight")),
              ofIn(g, b, in));
          assertClose(
              module + " B",
              Objects.requireNonNull(found.get(module + ".lora_B.weight")),
              ofOut(g, a, in));
          compared += 2;
        }
      }
      assertThat(found).hasSize(compared);
    }
  }

  /** The case's model with changes of the trunk that are not zero. */
  private static Decoder changed(GoldenCase golden, Lora lora) {
    Architecture architecture = golden.architecture();
    Decoder model =
        Decoder.allocate(
            architecture,
            new Learning.Adapter(lora),
            Quantization.NONE,
            DecoderShard.whole(architecture),
            Torch.cpu());
    try (Scope _ = Scope.open()) {
      model.initialize(3);
      for (Parameter parameter : model.parameters().all()) {
        if (parameter.requiresGrad()) {
          SplittableRandom random = new SplittableRandom(parameter.name().hashCode());
          double[] drawn = random.doubles(parameter.numel(), -0.3, 0.3).toArray();
          parameter.value().copy_(Tensors.ofDoubles(drawn, Torch.cpu(), parameter.shape()));
        } else {
          parameter
              .value()
              .copy_(
                  GoldenCase.tensor(
                      Objects.requireNonNull(
                          golden.tensors("model.safetensors").get(parameter.name()))));
        }
      }
    }
    return model;
  }

  /** The heads' losses; the gradients are those of half their weighted sum. */
  private static double[] pass(
      Decoder model, GoldenCase golden, Recompute recompute, Gradients gradients) {
    return pass(model, golden, recompute, Dropout.NONE, gradients);
  }

  private static double[] pass(
      Decoder model, GoldenCase golden, Recompute recompute, Dropout dropout, Gradients gradients) {
    try (Scope _ = Scope.open()) {
      gradients.start();
      List<HeadResult> heads =
          new StageExecutor(model, recompute)
              .forwardBackward(
                  golden.inputs().getFirst(), golden.objective(), 0.5, dropout, gradients);
      gradients.finish();
      return heads.stream().mapToDouble(HeadResult::loss).toArray();
    }
  }

  private static void add(Parameter parameter, float[] b, float[] a) {
    int out = (int) parameter.shape()[0];
    int in = (int) parameter.shape()[1];
    double[] w = new double[out * in];
    float[] own = Tensors.toFloats(parameter.value());
    for (int row = 0; row < out; row++) {
      for (int column = 0; column < in; column++) {
        double sum = 0;
        for (int r = 0; r < RANK; r++) {
          sum += (double) b[row * RANK + r] * a[r * in + column];
        }
        w[row * in + column] = own[row * in + column] + ALPHA / RANK * sum;
      }
    }
    try (Scope _ = Scope.open()) {
      parameter.value().copy_(Tensors.ofDoubles(w, Torch.cpu(), out, in));
    }
  }

  private static double[] ofIn(float[] g, float[] b, int in) {
    int out = g.length / in;
    double[] a = new double[RANK * in];
    for (int row = 0; row < out; row++) {
      for (int r = 0; r < RANK; r++) {
        for (int column = 0; column < in; column++) {
          a[r * in + column] += ALPHA / RANK * b[row * RANK + r] * g[row * in + column];
        }
      }
    }
    return a;
  }

  private static double[] ofOut(float[] g, float[] a, int in) {
    int out = g.length / in;
    double[] b = new double[out * RANK];
    for (int row = 0; row < out; row++) {
      for (int r = 0; r < RANK; r++) {
        for (int column = 0; column < in; column++) {
          b[row * RANK + r] += ALPHA / RANK * a[r * in + column] * g[row * in + column];
        }
      }
    }
    return b;
  }

  private static void assertClose(String name, float[] found, double[] expected) {
    double length = 0;
    double difference = 0;
    for (int i = 0; i < expected.length; i++) {
      length += expected[i] * expected[i];
      difference += Math.pow(expected[i] - found[i], 2);
    }
    assertThat(found).hasSize(expected.length);
    assertThat(length).isPositive();
    assertThat(Math.sqrt(difference / length)).as(name).isLessThan(1e-5);
  }
}
