package org.eellm.train.optimizer;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.StringViewOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.RunConfig;
import org.eellm.distributed.World;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameter;
import org.eellm.model.parameter.Parameters;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.TinyRun;
import org.eellm.train.TrainState;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class MuonTest {
  private static final double RATE = 0.01;

  @TempDir Path folder;

  private TrainState state(String... settings) {
    RunConfig config = TinyRun.config(folder, settings);
    return TrainState.initial(config, World.singleRank());
  }

  /** Gradients of a step, the same for the same number. */
  private static void fill(Gradients gradients, int number) {
    torch.manual_seed(number);
    gradients.flat().normal_();
  }

  /** Two updates, beside the singular value decomposition of the momentum in float64. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "model.layers.1.self_attn.k_proj.weight",
        "model.layers.0.mlp.gate_proj.weight",
        "model.layers.3.mlp.down_proj.weight"
      })
  void update_innerMatrix_movesAlongItsMomentumsDirections(String name) {
    try (Scope _ = Scope.open();
        TrainState state = state("optimizer.algorithm=muon");
        Gradients gradients = new Gradients(state.model().parameters())) {
      Parameter parameter = state.model().parameters().get(name);
      Tensor momentum = torch.zeros_like(parameter.value()).to(ScalarType.Double);
      for (int step = 1; step <= 2; step++) {
        fill(gradients, step);
        Tensor gradient = parameter.of(gradients.flat()).to(ScalarType.Double).mul(new Scalar(0.5));
        momentum = average(momentum, gradient);
        Tensor before = parameter.value().to(ScalarType.Double).clone();

        state.optimizer().update(gradients, 0.5, RATE, step);

        double entry = 0.2 * Math.sqrt(Math.max(before.size(0), before.size(1)));
        Tensor moved =
            before
                .mul(new Scalar(1 - RATE * 0.1))
                .sub(parameter.value())
                .div(new Scalar(RATE * entry));
        var parts = torch.linalg_svd(average(momentum, gradient), false, new StringViewOptional());
        Tensor rotated = parts.get0().t().mm(moved).mm(parts.get2().t());
        Tensor values = rotated.diag();
        double[] was = Tensors.toDoubles(parts.get1());
        double[] is = Tensors.toDoubles(values);
        for (int i = 0; i < is.length; i++) {
          boolean small = was[i] < 0.05 * was[0];
          assertThat(is[i]).as("%s of %s", was[i], was[0]).isBetween(small ? 0 : 0.85, 1.15);
        }
        assertThat(rotated.sub(values.diag()).abs().max().item_double()).isLessThan(1e-3);
      }
    }
  }

  private static Tensor average(Tensor before, Tensor gradient) {
    return before.mul(new Scalar(0.9)).add(gradient, new Scalar(0.1));
  }

  @Test
  void update_rateOfMuonsOwn_scalesItsStepsAlone() {
    Map<String, float[]> before = updated(0, "optimizer.algorithm=muon");
    Map<String, float[]> usual = updated(RATE, "optimizer.algorithm=muon");
    Map<String, float[]> half =
        updated(RATE, "optimizer.algorithm=muon", "optimizer.muon_learning_rate=5e-3");
    usual.forEach(
        (name, values) -> {
          double share = name.endsWith("_proj.weight") ? 0.5 : 1;
          float[] start = requireNonNull(before.get(name));
          for (int i = 0; i < values.length; i++) {
            double step = values[i] - start[i];
            assertThat((double) requireNonNull(half.get(name))[i] - start[i])
                .as(name)
                .isCloseTo(share * step, within(1e-6));
          }
        });
  }

  @Test
  void update_allElse_isAdamWs() {
    Map<String, float[]> adamW = updated(RATE, "optimizer.algorithm=adamw");
    Map<String, float[]> muon = updated(RATE, "optimizer.algorithm=muon");
    muon.forEach(
        (name, values) -> {
          boolean inner = name.endsWith("_proj.weight");
          boolean same = Arrays.equals(values, requireNonNull(adamW.get(name)));
          assertThat(same).as(name).isNotEqualTo(inner);
        });
  }

  private Map<String, float[]> updated(double rate, String... settings) {
    Map<String, float[]> values = new TreeMap<>();
    try (Scope _ = Scope.open();
        TrainState state =
            state(
                Stream.concat(
                        Stream.of(
                            "model.tie_embeddings=false",
                            "model.linear_bias=true",
                            "model.position_embedding=learned",
                            "exits.tie_output=false",
                            "exits.head=[mlp,norm]"),
                        Stream.of(settings))
                    .toArray(String[]::new));
        Gradients gradients = new Gradients(state.model().parameters())) {
      fill(gradients, 1);
      state.optimizer().update(gradients, 1, rate, 1);
      for (Parameter parameter : state.model().parameters().trainable()) {
        values.put(parameter.name(), Tensors.toFloats(parameter.value()));
      }
    }
    return values;
  }

  /** A stacked matrix's parts get steps of the same size, whatever their gradients' sizes. */
  @Test
  void update_partsOfOneMatrix_stepByThemselves() {
    try (Scope _ = Scope.open();
        TrainState state = state("optimizer.algorithm=muon", "optimizer.weight_decay=0");
        Gradients gradients = new Gradients(state.model().parameters())) {
      Parameters parameters = state.model().parameters();
      fill(gradients, 1);
      Parameter query = parameters.get("model.layers.0.self_attn.q_proj.weight");
      Parameter key = parameters.get("model.layers.0.self_attn.k_proj.weight");
      query.of(gradients.flat()).mul_(new Scalar(1000));
      double[] lengths = new double[2];
      List<Tensor> before = List.of(query.value().clone(), key.value().clone());

      state.optimizer().update(gradients, 1, RATE, 1);

      lengths[0] = query.value().sub(requireNonNull(before.get(0))).norm().item_double();
      lengths[1] = key.value().sub(requireNonNull(before.get(1))).norm().item_double();
      assertThat(lengths[0]).isCloseTo(lengths[1], within(0.1 * lengths[1]));
      // A root mean square of 0.2 times the rate, but for what three polynomials leave open.
      double entries = Math.sqrt(query.numel());
      assertThat(lengths[1] / entries / RATE).isBetween(0.2 * 0.7, 0.2 * 1.2);
    }
  }
}
