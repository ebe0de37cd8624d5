package org.eellm.cost;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout.Slice;
import org.eellm.config.TuneConfig;
import org.eellm.config.TuneConfig.Lora;
import org.eellm.config.TuneConfig.Projection;
import org.eellm.config.TuneConfig.Target;
import org.eellm.cost.plan.Planner;
import org.junit.jupiter.api.Test;

/**
 * By hand for hidden 16, 2 layers, 4 heads of width 4, 2 key/value heads, MLP 32, and changes of
 * rank 2 of q (16 to 16) and down (32 to 16). A layer has q 256 + k, v 2 x 128 + o 256 + MLP 3 x
 * 512 = 2304 entries; the factors have 2 x (16 + 16) + 2 x (32 + 16) = 160.
 */
final class LowRankCostsTest {
  private static final Hardware HARDWARE = Hardware.read("a100-80gb");
  private static final int TOKENS = 2 * 8;

  private static RunConfig config(Set<Projection> targets, double dropout, String... more) {
    List<String> settings =
        new ArrayList<>(
            List.of(
                "model.vocab_size=4096",
                "model.hidden_size=16",
                "model.num_layers=2",
                "model.num_heads=4",
                "model.num_key_value_heads=2",
                "model.ffn_hidden_size=32",
                "model.max_positions=8",
                "data.sequence_length=8",
                "exits.layers=[1]",
                "exits.weights=[0.5]",
                "train.micro_batch_size=2",
                "train.global_batch_size=2"));
    settings.addAll(List.of(more));
    RunConfig all = ConfigFile.preset("30m", settings);
    return new RunConfig(
        all.model(),
        all.exits(),
        all.data(),
        all.train(),
        all.optimizer(),
        all.parallel(),
        all.checkpoint(),
        all.logging(),
        new TuneConfig(
            targets.isEmpty() ? Optional.empty() : Optional.of("model"),
            Optional.empty(),
            Target.TEXT,
            targets.isEmpty() ? Lora.none() : new Lora(2, 4, dropout, targets)));
  }

  private static RunConfig tuning(String... more) {
    return config(EnumSet.of(Projection.Q_PROJ, Projection.DOWN_PROJ), 0, more);
  }

  private static RunConfig training(String... more) {
    return config(Set.of(), 0, more);
  }

  private static Slice slice(RunConfig config) {
    return config.stageLayout().slices().getFirst();
  }

  private static double products(int entries) {
    return 2.0 * TOKENS * entries;
  }

  @Test
  void forward_goesThroughMatricesAndFactors() {
    RunConfig config = tuning();
    BranchCosts costs = new BranchCosts(config, HARDWARE);
    assertThat(costs.forward(slice(config)).products()).isEqualTo(products(2 * (2304 + 160)));
  }

  /** Through each matrix once; through A thrice, and B, of 32 entries each, and down's A of 64. */
  @Test
  void backward_hasGradientsOfFactorsAlone() {
    RunConfig config = tuning();
    BranchCosts costs = new BranchCosts(config, HARDWARE);
    int ofQuery = 3 * 32 + 2 * 32;
    int ofDown = 3 * 64 + 2 * 32;
    assertThat(costs.backward(slice(config)).products())
        .isEqualTo(products(2 * (2304 + ofQuery + ofDown)));
    assertThat(costs.weights(slice(config)).products()).isZero();
    RunConfig all = training();
    assertThat(new BranchCosts(all, HARDWARE).backward(slice(all)).products())
        .isEqualTo(products(2 * 2 * 2304));
  }

  @Test
  void backward_recomputed_goesForwardAgain() {
    RunConfig config = tuning("train.recompute=full");
    BranchCosts again = new BranchCosts(config, HARDWARE);
    BranchCosts once = new BranchCosts(tuning(), HARDWARE);
    assertThat(again.backward(slice(config)).products())
        .isEqualTo(once.backward(slice(config)).plus(once.forward(slice(config))).products());
  }

  @Test
  void heads_haveNoGradientsOfTheirMatrices() {
    RunConfig config = tuning();
    assertThat(new BranchCosts(config, HARDWARE).heads(slice(config)).products())
        .isEqualTo(products(2 * 2 * 4096 * 16));
    RunConfig all = training();
    assertThat(new BranchCosts(all, HARDWARE).heads(slice(all)).products())
        .isEqualTo(products(3 * 2 * 4096 * 16));
  }

  /** Queries, keys and values read the same: the inner product of all three is one. */
  @Test
  void of_stackedMaps_shareWhatTheyRead() {
    RunConfig config =
        config(EnumSet.of(Projection.Q_PROJ, Projection.K_PROJ, Projection.V_PROJ), 0);
    assertThat(LowRankMaps.of(config.model(), config.tune().learning(), 2))
        .containsExactly(new LowRankMaps(16, List.of(8L, 4L, 4L), 2, true));
    assertThat(LowRankMaps.of(config.model(), config.tune().learning(), 1).getFirst().parameters())
        .isEqualTo(3 * 2 * 16 + 2 * (16 + 8 + 8));
  }

  /** In bfloat16: 2 bytes of every weight, and of the 2 x 160 that learn 4 and 12 more. */
  @Test
  void memory_isOfTheModelAndTheFactorsState() {
    Memory memory = Planner.plan(tuning("model.dtype=bfloat16"), HARDWARE).fullest().memory();
    Memory all = Planner.plan(training("model.dtype=bfloat16"), HARDWARE).fullest().memory();
    assertThat(memory.weights()).isEqualTo(all.weights() + 2 * 320);
    assertThat(memory.gradients()).isEqualTo(4 * 320);
    assertThat(memory.optimizer()).isEqualTo(12 * 320);
    assertThat(memory.heads()).isEqualTo(all.heads() - 2 * 4096 * 16); // no matrix's gradient
  }
}
