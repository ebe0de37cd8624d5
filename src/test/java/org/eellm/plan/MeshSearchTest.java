package org.eellm.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.junit.jupiter.api.Test;

final class MeshSearchTest {
  private static final int DEVICES = 4;

  /** A machine of eight small devices, of which the model needs several. */
  private static final Hardware SMALL = small(0.2);

  private static Hardware small(double gib) {
    Hardware like = Hardware.read("a100-80gb");
    return new Hardware(
        "small",
        like.device(),
        gib,
        0.05,
        8,
        like.float32(),
        like.bfloat16(),
        like.streamGbPerSecond(),
        like.memoryGbPerSecond(),
        like.operationMicroseconds(),
        like.insideNode(),
        like.betweenNodes(),
        true,
        like.dollarsPerHour());
  }

  private static final List<String> MODEL =
      List.of(
          "model.hidden_size=256",
          "model.num_heads=4",
          "model.num_layers=4",
          "model.ffn_hidden_size=1024",
          "exits.layers=[1, 2]",
          "train.micro_batch_size=1",
          "train.global_batch_size=16");

  private static RunConfig config(List<String> more) {
    List<String> overrides = new ArrayList<>(MODEL);
    overrides.addAll(more);
    return ConfigFile.preset("30m", overrides);
  }

  /** Every plan of a grid, written out by hand. */
  private static List<Plan> grid(Hardware hardware) {
    List<Plan> plans = new ArrayList<>();
    for (int tp : List.of(1, 2, 4)) {
      for (int pp : List.of(1, 2, 4)) {
        for (int chunks : List.of(1, 2, 4)) {
          for (String balance : List.of("even", "cost")) {
            for (boolean preExit : List.of(true, false)) {
              for (boolean shareRows : List.of(true, false)) {
                for (int micro : List.of(1, 2, 4, 8, 16)) {
                  for (String recompute : List.of("none", "selective", "full")) {
                    try {
                      RunConfig config =
                          config(
                              List.of(
                                  "parallel.tp=" + tp,
                                  "parallel.pp=" + pp,
                                  "parallel.dp=" + DEVICES / tp / pp,
                                  "parallel.chunks=" + chunks,
                                  "parallel.balance=" + balance,
                                  "parallel.pre_exit=" + preExit,
                                  "parallel.sequence_parallel=" + shareRows,
                                  "train.micro_batch_size=" + micro,
                                  "train.recompute=" + recompute));
                      plans.add(Planner.plan(config, hardware));
                    } catch (ConfigException _) {
                      // Not every corner of the grid is a mesh.
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
    return plans;
  }

  private static String mesh(Plan plan) {
    return plan.config().parallel().pp() + " " + plan.config().parallel().tp();
  }

  @Test
  void search_smallGrid_findsWhatTryingAllOfItFinds() {
    List<Plan> all = grid(SMALL);
    List<Plan> fitting = all.stream().filter(Plan::fits).toList();
    double[] best =
        fitting.stream()
            .collect(
                Collectors.toMap(
                    MeshSearchTest::mesh, plan -> plan.time().total(), (a, b) -> Math.min(a, b)))
            .values()
            .stream()
            .mapToDouble(Double::doubleValue)
            .sorted()
            .limit(3)
            .toArray();

    MeshSearch.Result result = MeshSearch.search(config(List.of()), SMALL, DEVICES, 3);

    assertThat(fitting.size()).isBetween(1, all.size() - 1);
    assertThat(result.best()).hasSize(3).allMatch(Plan::fits);
    assertThat(result.best()).extracting(MeshSearchTest::mesh).doesNotHaveDuplicates();
    assertThat(result.best().stream().mapToDouble(plan -> plan.time().total()).toArray())
        .containsExactly(best, within(1e-12));
    assertThat(result.tooLarge()).isPositive();
  }

  @Test
  void search_memoryWithoutSimulation_isThePlans() {
    MeshSearch.Result result = MeshSearch.search(config(List.of()), small(0.06), DEVICES, 1);

    assertThat(result.best()).isEmpty();
    assertThat(result.nearest()).isPresent();
    long least =
        grid(SMALL).stream().mapToLong(p -> p.fullest().memory().total()).min().orElseThrow();
    assertThat(result.nearest().get().fullest().memory().total()).isEqualTo(least);
  }

  @Test
  void search_sizesThatCannotBeShared_areCountedBySetting() {
    RunConfig config = config(List.of("model.num_heads=2", "model.num_key_value_heads=2"));

    MeshSearch.Result result = MeshSearch.search(config, SMALL, DEVICES, 1);

    assertThat(result.impossible()).containsKey("parallel.tp");
    assertThat(result.considered())
        .isGreaterThan(result.impossible().values().stream().mapToInt(i -> i).sum());
  }

  @Test
  void search_vocabularyOfTheTokenizer_isRefusedAtOnce() {
    RunConfig config = ConfigFile.preset("quickstart", List.of());

    assertThatThrownBy(() -> MeshSearch.search(config, SMALL, DEVICES, 1))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith("model.vocab_size: 0 needs a tokenizer");
  }
}
