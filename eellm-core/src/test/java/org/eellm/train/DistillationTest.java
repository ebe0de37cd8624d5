package org.eellm.train;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ConfigException;
import org.eellm.config.OptimizerConfig;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.golden.GoldenCase;
import org.eellm.model.Decoder;
import org.eellm.model.Dropout;
import org.eellm.model.OutputMatrix;
import org.eellm.model.SoftCap;
import org.eellm.model.TensorParallel;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameter;
import org.eellm.model.parameter.Sharding;
import org.eellm.model.parameter.Weight;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.objective.HeadLoss;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.StageExecutor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Exits that learn from the text and the final head at once. */
final class DistillationTest {
  private static final int TOKENS = 3;
  private static final int WIDTH = 4;

  @TempDir Path folder;

  /** Beside libtorch's own losses and differences of them, in float64. */
  @ParameterizedTest
  @CsvSource({
    "1, false, 0.5, 1, 0",
    "2, false, 1, 1, 0",
    "1, true, 0.5, 1, 0",
    "2, false, 0.5, 0.7, 0",
    "1, true, 0.5, 1, 1.5",
    "2, false, 0.5, 0.7, 1.5"
  })
  void headLoss_ofBothTargets_hasTheGradientOfTheirSum(
      double temperature, boolean dynamic, double share, double scale, double cap) {
    torch.manual_seed(1);
    try (Scope _ = Scope.open();
        Decoder any = GoldenCase.named("llama_embedding").model();
        Gradients gradients = new Gradients(any.parameters())) {
      Tensor h = torch.randn(TOKENS, WIDTH);
      Tensor w = torch.randn(7, WIDTH);
      Tensor teacher = torch.randn(TOKENS, WIDTH);
      Tensor ids = Tensors.ofLongs(new long[] {5, 1, 0}, Torch.cpu(), TOKENS);
      Tensor mask = Tensors.ofFloats(new float[] {1, 0, 1}, Torch.cpu(), TOKENS);
      OutputMatrix output =
          new OutputMatrix(
              new Weight("w", 0, Sharding.ROWS, false, 0, w, Optional.empty()),
              TensorParallel.singleRank(),
              scale,
              new SoftCap(cap));
      gradients.start();

      HeadLoss.Result result =
          HeadLoss.forwardBackward(
              h,
              output,
              new HeadLoss.Target.LabelsAndTeacher(
                  ids, new HeadLoss.Target.Teacher(teacher, output), share),
              new HeadLoss.TokenWeights(mask, 1, dynamic),
              temperature,
              gradients);

      double[] wide = Tensors.toDoubles(h.to(ScalarType.Double));
      Losses all = new Losses(w, teacher, ids, new Shape(temperature, scale, cap));
      double[] weights = dynamic ? all.confidences(wide) : new double[] {1, 1, 1};
      double expected = sum(all.text(wide), weights);
      assertThat((double) result.loss().item_float()).isCloseTo(expected, withinPercentage(1e-3));
      float[] gradient = Tensors.toFloats(result.gradient());
      for (int i = 0; i < wide.length; i++) {
        double step = 1e-5;
        double[] up = wide.clone();
        up[i] += step;
        double[] down = wide.clone();
        down[i] -= step;
        double difference =
            sum(all.text(up), weights)
                + share * sum(all.divergence(up), weights)
                - sum(all.text(down), weights)
                - share * sum(all.divergence(down), weights);
        assertThat((double) gradient[i]).isCloseTo(difference / (2 * step), within(1e-4));
      }
    }
  }

  /** What logits go through; a cap of 0 is none. */
  private record Shape(double temperature, double scale, double cap) {}

  /** By token, in float64, of hidden states [tokens, width]. */
  private record Losses(Tensor w, Tensor teacher, Tensor ids, Shape shape) {
    Tensor logProbabilities(Tensor hidden) {
      Tensor product = torch.linear(hidden, w.to(ScalarType.Double));
      Tensor logits = product.mul(Tensors.scalar(shape.scale()));
      if (shape.cap() > 0) {
        Scalar cap = Tensors.scalar(shape.cap());
        logits = logits.div(cap).tanh().mul(cap);
      }
      return torch.log_softmax(logits.div(Tensors.scalar(shape.temperature())), -1L);
    }

    Tensor student(double[] h) {
      return logProbabilities(Tensors.ofDoubles(h, Torch.cpu(), TOKENS, WIDTH));
    }

    double[] text(double[] h) {
      return Tensors.toDoubles(student(h).gather(1, ids.unsqueeze(1)).neg());
    }

    double[] divergence(double[] h) {
      Tensor q = logProbabilities(teacher.to(ScalarType.Double));
      return Tensors.toDoubles(torch.kl_div(student(h), q, 0, true).sum(-1L));
    }

    double[] confidences(double[] h) {
      return Tensors.toDoubles(student(h).exp().amax(new long[] {-1}, false));
    }
  }

  /** Over the tokens that the mask counts. */
  private static double sum(double[] byToken, double[] weights) {
    return byToken[0] * weights[0] + byToken[2] * weights[2];
  }

  private static Map<String, float[]> gradients(GoldenCase golden, double distillation) {
    Map<String, float[]> values = new TreeMap<>();
    try (Scope _ = Scope.open();
        Decoder model = golden.model();
        Gradients gradients = new Gradients(model.parameters())) {
      gradients.start();
      Objective objective =
          new MeshSteps.Learner(OptimizerConfig.Algorithm.ADAMW, distillation).objective(golden);
      new StageExecutor(model, Recompute.NONE)
          .forwardBackward(golden.inputs().getFirst(), objective, 1, Dropout.NONE, gradients);
      gradients.finish();
      for (Parameter parameter : model.parameters().trainable()) {
        values.put(parameter.name(), Tensors.toFloats(parameter.of(gradients.flat())));
      }
    }
    return values;
  }

  @Test
  void gradients_ofDistilledExits_leaveTheTeacherAndWhatIsAboveTheExitsAsTheyAre() {
    GoldenCase golden = GoldenCase.named("llama_embedding");
    int deepest = golden.architecture().exits().layers().getLast();
    Map<String, float[]> text = gradients(golden, 0);
    Map<String, float[]> both = gradients(golden, 1);
    Map<String, float[]> twice = gradients(golden, 2);
    text.forEach(
        (name, alone) -> {
          float[] once = requireNonNull(both.get(name));
          float[] more = requireNonNull(twice.get(name));
          if (name.startsWith("model.norm")
              || name.startsWith("lm_head")
              || layer(name) >= deepest) {
            assertThat(once).as(name).isEqualTo(alone);
            return;
          }
          double largest = 0;
          for (int i = 0; i < alone.length; i++) {
            double added = once[i] - alone[i];
            largest = Math.max(largest, Math.abs(added));
            assertThat(more[i] - alone[i]).as(name).isCloseTo((float) (2 * added), within(1e-5f));
          }
          assertThat(largest).as(name).isGreaterThan(1e-5);
        });
  }

  /** From 0; -1 for what is in no layer of the trunk. */
  private static int layer(String name) {
    return name.startsWith("model.layers.") ? Integer.parseInt(name.split("\\.", -1)[2]) : -1;
  }

  @ParameterizedTest
  @CsvSource({
    "parallel.pp=2 exits.tie_output=false, tie_output: true",
    "parallel.pp=2 parallel.fill_warmup=1, fills",
    "exits.layers=[] exits.weights=[], has no effect with exits.layers",
  })
  void read_distillationThatCannotBe_isRefused(String settings, String message) {
    String[] all = (settings + " exits.distillation=0.5").split(" ");
    assertThatThrownBy(() -> TinyRun.config(folder, all))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("exits.distillation")
        .hasMessageContaining(message);
  }
}
