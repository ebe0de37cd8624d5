package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bytedeco.pytorch.Tensor;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.OptimizerConfig;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.golden.GoldenCase;
import org.eellm.model.Decoder;
import org.eellm.model.Dropout;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameter;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.objective.HeadTuningExecutor;
import org.eellm.train.objective.HeadTuningExecutor.HeadScore;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.Received;
import org.eellm.train.objective.StageExecutor;
import org.eellm.train.optimizer.AdamW;
import org.eellm.train.optimizer.Optimizer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.FieldSource;

/**
 * Losses, gradients and optimizer steps against the float64 oracle, within the tolerances of its
 * README.
 */
final class GoldenTrainingTest {
  static final List<String> NAMES = GoldenCase.NAMES;

  private static OptimizerConfig optimizer(JsonNode training) {
    return new OptimizerConfig(
        OptimizerConfig.Algorithm.ADAMW,
        training.get("lr").asDouble(),
        0,
        OptimizerConfig.Schedule.CONSTANT,
        0,
        0,
        0,
        training.get("beta1").asDouble(),
        training.get("beta2").asDouble(),
        training.get("eps").asDouble(),
        0,
        training.get("weight_decay").asDouble(),
        training.get("clip_grad").asDouble());
  }

  private static double step(
      GoldenCase golden,
      StageExecutor chain,
      Gradients gradients,
      List<List<StageExecutor.HeadResult>> results) {
    Objective objective = golden.objective();
    gradients.start();
    double total = 0;
    for (Microbatch batch : golden.inputs()) {
      List<StageExecutor.HeadResult> heads =
          chain.forwardBackward(
              batch, objective, 1.0 / golden.microbatches(), Dropout.NONE, gradients);
      results.add(heads);
      for (int h = 0; h < heads.size(); h++) {
        total += objective.weights().get(h) * heads.get(h).loss() / golden.microbatches();
      }
    }
    gradients.finish();
    return total;
  }

  private static StageExecutor chain(Decoder model, Recompute recompute) {
    return new StageExecutor(model, recompute);
  }

  @ParameterizedTest
  @FieldSource("NAMES")
  void forwardBackward_goldenCase_equalsOracle(String name) {
    check(name, Recompute.NONE);
  }

  @ParameterizedTest
  @CsvSource({
    "llama_mlp_norm,SELECTIVE",
    "llama_mlp_norm,FULL",
    "gpt_norm_tied,SELECTIVE",
    "gpt_norm_tied,FULL",
    "neox_parallel_mlp,SELECTIVE",
    "neox_parallel_mlp,FULL",
    "neox_parallel_block,FULL",
    "gemma2_like,SELECTIVE",
    "olmo3_like,FULL",
    "granite_like,SELECTIVE"
  })
  void forwardBackward_recompute_equalsOracle(String name, Recompute recompute) {
    check(name, recompute);
  }

  private static void check(String name, Recompute recompute) {
    GoldenCase golden = GoldenCase.named(name);
    try (Scope scope = Scope.open();
        Decoder model = golden.model();
        Gradients gradients = new Gradients(model.parameters())) {
      List<List<StageExecutor.HeadResult>> results = new ArrayList<>();
      double total = step(golden, chain(model, recompute), gradients, results);

      double relative = golden.tolerance("loss_relative");
      double wanted = golden.expected().get("total_loss").asDouble();
      assertThat(total).isCloseTo(wanted, within(wanted * relative));
      for (int m = 0; m < results.size(); m++) {
        for (StageExecutor.HeadResult head : results.get(m)) {
          double loss =
              golden
                  .expected()
                  .get("losses")
                  .get(GoldenCase.oracleName(head.head()))
                  .get(m)
                  .asDouble();
          assertThat(head.loss())
              .as("%s of microbatch %d", head.head(), m)
              .isCloseTo(loss, within(loss * relative));
        }
      }
      double norm = golden.expected().get("grad_norm").asDouble();
      assertThat(MeshSteps.norm(gradients))
          .isCloseTo(norm, within(norm * golden.tolerance("grad_norm_relative")));

      Set<String> zero = zeroGradients(golden);
      Map<String, StoredTensor> expected = golden.tensors("expected.safetensors");
      for (Parameter parameter : model.parameters().all()) {
        float[] actual = Tensors.toFloats(parameter.of(gradients.flat()));
        float[] oracle = GoldenCase.floats(expected.get("grad." + parameter.name()));
        float largest = 0;
        float difference = 0;
        for (int i = 0; i < oracle.length; i++) {
          largest = Math.max(largest, Math.abs(oracle[i]));
          difference = Math.max(difference, Math.abs(oracle[i] - actual[i]));
        }
        double allowed =
            zero.contains(parameter.name())
                ? golden.tolerance("grad_absolute_if_zero")
                : largest * golden.tolerance("grad_over_tensor_max");
        assertThat((double) difference)
            .as("gradient of %s", parameter.name())
            .isLessThanOrEqualTo(allowed);
      }
    }
  }

  private static Set<String> zeroGradients(GoldenCase golden) {
    Set<String> zero = new HashSet<>();
    golden.expected().get("zero_grad_params").forEach(name -> zero.add(name.asText()));
    return zero;
  }

  /** With our own kernels for norms, gates and softmax, which bfloat16 on a CPU has. */
  @ParameterizedTest
  @FieldSource("NAMES")
  void forwardBackward_inBfloat16_goesTheOraclesWay(String name) {
    GoldenCase golden = GoldenCase.named(name);
    Architecture narrow = golden.architecture().withDtype(DataType.BFLOAT16);
    try (Scope scope = Scope.open();
        Decoder model = golden.load(narrow);
        Gradients gradients = new Gradients(model.parameters())) {
      double total = step(golden, chain(model, Recompute.NONE), gradients, new ArrayList<>());

      double wanted = golden.expected().get("total_loss").asDouble();
      assertThat(total).isCloseTo(wanted, within(wanted * 0.01));
      Map<String, StoredTensor> expected = golden.tensors("expected.safetensors");
      Set<String> zero = zeroGradients(golden);
      for (Parameter parameter : model.parameters().all()) {
        if (!zero.contains(parameter.name())) {
          Tensor actual = parameter.of(gradients.flat());
          Tensor oracle = GoldenCase.tensor(expected.get("grad." + parameter.name()));
          double cosine =
              actual.mul(oracle).sum().item_double()
                  / (actual.norm().item_double() * oracle.norm().item_double());
          assertThat(cosine).as("direction of %s", parameter.name()).isGreaterThan(0.99);
        }
      }
    }
  }

  @ParameterizedTest
  @FieldSource("NAMES")
  void update_threeSteps_equalsOracle(String name) {
    GoldenCase golden = GoldenCase.named(name);
    OptimizerConfig config = optimizer(golden.expected().get("training"));
    try (Scope scope = Scope.open();
        Decoder model = golden.model();
        Gradients gradients = new Gradients(model.parameters());
        Optimizer optimizer = Optimizer.of(model.parameters(), config)) {
      StageExecutor chain = chain(model, Recompute.NONE);
      for (int step = 1; step <= 3; step++) {
        double loss = step(golden, chain, gradients, new ArrayList<>());
        double wanted = golden.expected().get("loss_before_step").get(step - 1).asDouble();
        assertThat(loss).isCloseTo(wanted, within(wanted * 1e-4));
        double norm = MeshSteps.norm(gradients);
        optimizer.update(
            gradients, AdamW.clipScale(norm, config.clipNorm()), config.learningRate(), step);
        if (step != 2) {
          compareParameters(golden, model, step);
        }
      }
    }
  }

  /** All but a small share of the entries are within the tolerance; see the oracle's README. */
  private static void compareParameters(GoldenCase golden, Decoder model, int step) {
    Map<String, StoredTensor> expected = golden.tensors("expected.safetensors");
    long count = 0;
    long outliers = 0;
    double worst = 0;
    for (Parameter parameter : model.parameters().all()) {
      StoredTensor stored = expected.get("step" + step + "." + parameter.name());
      if (stored == null) {
        assertThat(zeroGradients(golden)).contains(parameter.name());
        continue;
      }
      float[] oracle = GoldenCase.floats(stored); // a prefix of the parameter's rows
      float[] actual = Tensors.toFloats(parameter.value());
      for (int i = 0; i < oracle.length; i++) {
        double difference = Math.abs(oracle[i] - actual[i]);
        worst = Math.max(worst, difference);
        outliers += difference > golden.tolerance("step_absolute") ? 1 : 0;
        count++;
      }
    }
    assertThat((double) outliers / count)
        .isLessThanOrEqualTo(golden.tolerance("step_outlier_share"));
    assertThat(worst)
        .isLessThanOrEqualTo(step * golden.tolerance("step_outlier_absolute_per_step"));
  }

  @Test
  void score_goldenCase_equalsTrainingLosses() {
    GoldenCase golden = GoldenCase.named("llama_block_norm");
    try (Scope scope = Scope.open();
        Decoder model = golden.model()) {
      Microbatch batch = golden.inputs().getFirst();
      for (HeadScore score : new HeadTuningExecutor(model).score(batch, Received.NOTHING).heads()) {
        double wanted =
            golden
                .expected()
                .get("losses")
                .get(GoldenCase.oracleName(score.head()))
                .get(0)
                .asDouble();
        double[] sums = Tensors.toDoubles(score.sums());
        assertThat(sums[0] / score.tokens()).isCloseTo(wanted, within(wanted * 1e-5));
        assertThat(sums[1]).isBetween(0.0, score.tokens());
      }
    }
  }

  /**
   * The gradient along a direction is the objective's slope along it, with every kind of dropout
   * on: the masks depend on the key alone, so the objective is one smooth function of the weights.
   */
  @ParameterizedTest
  @CsvSource({
    "llama_mlp_norm,NONE",
    "gpt_norm_tied,SELECTIVE",
    "llama_mlp_block_gqa,FULL",
    "neox_parallel_mlp,NONE",
    "neox_parallel_block,FULL",
    "gemma2_like,NONE",
    "olmo3_like,FULL",
    "granite_like,SELECTIVE"
  })
  void forwardBackward_dropout_gradientIsTheSlope(String name, Recompute recompute) {
    GoldenCase golden = GoldenCase.named(name);
    Microbatch batch = golden.inputs().getFirst();
    List<Double> temperatures = golden.objective().weights().stream().map(w -> 1.5).toList();
    Objective objective = new Objective(golden.objective().weights(), temperatures, false, 0);
    Dropout key = new Dropout.Keyed(17, List.of(0.0, 0.3, 0.5, 0.6));
    try (Scope scope = Scope.open();
        Decoder model = golden.withDropout(0.2);
        Gradients gradients = new Gradients(model.parameters())) {
      StageExecutor chain = new StageExecutor(model, recompute);
      gradients.start();
      chain.forwardBackward(batch, objective, 1, key, gradients);
      gradients.finish();
      Tensor direction = gradients.flat().div(gradients.flat().norm());
      double slope = gradients.flat().mul(direction).sum().item_double();

      double distance = 2e-3;
      Tensor weights = model.parameters().flat();
      weights.add_(direction, Tensors.scalar(distance));
      double above = total(chain, batch, objective, key, model);
      weights.add_(direction, Tensors.scalar(-2 * distance));
      double below = total(chain, batch, objective, key, model);

      assertThat((above - below) / (2 * distance)).isCloseTo(slope, within(slope * 1e-2));
    }
  }

  private static double total(
      StageExecutor chain, Microbatch batch, Objective objective, Dropout key, Decoder model) {
    try (Gradients unused = new Gradients(model.parameters())) {
      List<StageExecutor.HeadResult> heads =
          chain.forwardBackward(batch, objective, 1, key, unused);
      double total = 0;
      for (int h = 0; h < heads.size(); h++) {
        total += objective.weights().get(h) * heads.get(h).loss();
      }
      return total;
    }
  }
}
