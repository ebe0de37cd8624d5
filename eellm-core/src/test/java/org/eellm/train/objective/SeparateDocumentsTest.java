package org.eellm.train.objective;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.assertj.core.data.Offset;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.golden.GoldenCase;
import org.eellm.model.Decoder;
import org.eellm.model.Dropout;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameter;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.objective.StageExecutor.HeadResult;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Documents that share a sequence learn what they learn one by one. */
final class SeparateDocumentsTest {
  /** Losses of each head times their tokens, and gradients for a share of 1 a token. */
  private record Learned(Map<String, Double> losses, Map<String, float[]> gradients) {}

  @ParameterizedTest
  @CsvSource({
    "llama_block_norm,NONE",
    "llama_mlp_norm,FULL",
    "gpt_norm_tied,NONE",
    "neox_parallel_block,SELECTIVE",
    "qwen_block_norm,NONE"
  })
  void forwardBackward_documents_equalsEachAlone(String kind, Recompute recompute) {
    GoldenCase golden = GoldenCase.named(kind);
    Microbatch whole = golden.inputs().getFirst();
    int sequence = whole.sequence();
    int cut = sequence / 3;
    int[] starts = new int[whole.inputs().length];
    Arrays.setAll(starts, i -> i % sequence < cut ? 0 : cut);

    Learned together =
        learn(golden, recompute, List.of(batch(whole, IntStream.range(0, sequence), starts)));
    Learned apart =
        learn(
            golden,
            recompute,
            List.of(
                batch(whole, IntStream.range(0, cut), new int[whole.batch() * cut]),
                batch(
                    whole,
                    IntStream.range(cut, sequence),
                    new int[whole.batch() * (sequence - cut)])));
    Learned joined =
        learn(
            golden,
            recompute,
            List.of(batch(whole, IntStream.range(0, sequence), new int[starts.length])));

    assertThat(together.losses().keySet()).hasSizeGreaterThan(1).isEqualTo(apart.losses().keySet());
    together
        .losses()
        .forEach(
            (head, loss) ->
                assertThat(loss)
                    .as(head)
                    .isCloseTo(apart.losses().get(head), Offset.offset(1e-3))
                    .isNotCloseTo(joined.losses().get(head), Offset.offset(1e-2)));
    together
        .gradients()
        .forEach(
            (name, gradient) ->
                assertThat(gradient)
                    .as(name)
                    .usingComparatorWithPrecision(2e-3f)
                    .containsExactly(apart.gradients().get(name)));
  }

  private static Learned learn(GoldenCase golden, Recompute recompute, List<Microbatch> batches) {
    Map<String, Double> losses = new LinkedHashMap<>();
    Map<String, float[]> values = new LinkedHashMap<>();
    try (Scope _ = Scope.open();
        Decoder model = golden.model();
        Gradients gradients = new Gradients(model.parameters())) {
      gradients.start();
      StageExecutor executor = new StageExecutor(model, recompute);
      for (Microbatch batch : batches) {
        double tokens = batch.inputs().length;
        for (HeadResult head :
            executor.forwardBackward(batch, golden.objective(), tokens, Dropout.NONE, gradients)) {
          losses.merge(head.head().toString(), head.loss() * tokens, Double::sum);
        }
      }
      gradients.finish();
      for (Parameter parameter : model.parameters().all()) {
        values.put(parameter.name(), Tensors.toFloats(parameter.of(gradients.flat())));
      }
    }
    return new Learned(losses, values);
  }

  /** Some positions of every sequence, all of which count. */
  private static Microbatch batch(Microbatch whole, IntStream positions, int[] starts) {
    int[] chosen = positions.toArray();
    int[] all =
        IntStream.range(0, whole.batch())
            .flatMap(
                row -> Arrays.stream(chosen).map(position -> row * whole.sequence() + position))
            .toArray();
    float[] mask = new float[all.length];
    Arrays.fill(mask, 1);
    return new Microbatch(
        whole.batch(),
        chosen.length,
        Arrays.stream(all).map(i -> whole.inputs()[i]).toArray(),
        Arrays.stream(all).map(i -> whole.targets()[i]).toArray(),
        mask,
        starts);
  }
}
