package org.eellm.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.Quantization;
import org.eellm.decode.Generator;
import org.eellm.decode.SmallModel;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.eellm.model.parameter.Parameter;
import org.eellm.model.parameter.Sharding;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

final class QuantizationTest {
  private static final int SEED = 7;

  private final Scope scope = Scope.open();

  @AfterEach
  void free() {
    scope.close();
  }

  private static Parameter matrix(Sharding split, long rows, long columns, int ranks) {
    long[] whole = {rows, columns};
    long[] part = split.shardShape(whole, ranks);
    return new Parameter(
        "w",
        part,
        whole,
        split,
        false,
        0,
        Tensors.empty(ScalarType.Char, Torch.cpu(), part),
        Optional.of(Tensors.empty(ScalarType.Float, Torch.cpu(), part[0])));
  }

  private static Tensor restored(Parameter parameter) {
    return parameter.value().mul(parameter.scales().orElseThrow().unsqueeze(1));
  }

  @Test
  void fill_int8_isWithinHalfAStepOfEveryNumber() {
    Tensor whole = torch.randn(3000, 16); // more rows than are worked on at once
    whole.narrow(0, 5, 1).zero_();
    Parameter parameter = matrix(Sharding.REPLICATED, 3000, 16, 1);

    parameter.fill(whole, 0, 1);

    Tensor steps = whole.abs().amax(new long[] {1}, true).div(Tensors.scalar(127));
    Tensor excess = restored(parameter).sub(whole).abs().sub(steps.mul(Tensors.scalar(0.5001)));
    assertThat(excess.max().item_double()).isLessThanOrEqualTo(0);
    assertThat(Tensors.toFloats(restored(parameter).narrow(0, 5, 1))).containsOnly(0);
  }

  @ParameterizedTest
  @EnumSource(
      value = Sharding.class,
      names = {"ROWS", "COLUMNS"})
  void fill_int8OnRanks_isThePartOfTheWhole(Sharding split) {
    Tensor whole = torch.randn(12, 8);
    Parameter all = matrix(Sharding.REPLICATED, 12, 8, 1);
    all.fill(whole, 0, 1);

    for (int rank = 0; rank < 2; rank++) {
      Parameter part = matrix(split, 12, 8, 2);
      part.fill(whole, rank, 2);

      assertThat(Tensors.toFloats(restored(part)))
          .isEqualTo(Tensors.toFloats(split.shard(restored(all), rank, 2)));
    }
  }

  /** Every head's logits are those of a float32 model that has the quantized matrices' numbers. */
  @ParameterizedTest
  @EnumSource(DataType.class)
  void logits_int8_areThoseOfTheRestoredMatrices(DataType type) {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, true, false, false);
    Architecture wide;
    Architecture narrow;
    try (Decoder model = SmallModel.of(exits, DataType.FLOAT32)) {
      wide = model.architecture();
      narrow = new Architecture(wide.model().withDtype(type), exits);
    }
    try (Decoder quantized = Decoder.allocate(narrow, Quantization.INT8, Torch.cpu());
        Decoder restored = Decoder.allocate(wide, Torch.cpu())) {
      quantized.initialize(SEED);
      for (Parameter parameter : quantized.parameters().all()) {
        restored
            .parameters()
            .get(parameter.name())
            .fill(parameter.scales().isPresent() ? restored(parameter) : parameter.value(), 0, 1);
      }
      double tolerance = type == DataType.FLOAT32 ? 1e-4 : 0.1;
      for (Head head : quantized.allHeads()) {
        float[] expected = logits(restored, head);
        assertThat(expected).hasSize(SmallModel.VOCABULARY);
        assertThat(logits(quantized, head)).containsExactly(expected, within((float) tolerance));
      }
      assertThat(quantized.parameters().trainable()).isEmpty();
      assertThat(quantized.parameters().frozenCount()).isEqualTo(restored.parameters().count());
    }
  }

  /** A head's logits of the token after a prompt. */
  private static float[] logits(Decoder model, Head head) {
    List<float[]> logits = new ArrayList<>();
    Sampler reading =
        prediction -> {
          logits.add(prediction.logits());
          return 3;
        };
    boolean last = head.equals(model.allHeads().getLast());
    Generator.generate(
        model,
        Limits.of(model),
        List.of(
            new Request(
                List.of(5, 9, 2),
                2,
                Set.of(),
                last ? ExitPolicies.full() : ExitPolicies.fixed(head.layer()),
                reading)),
        TokenListener.none());
    return logits.getLast();
  }
}
