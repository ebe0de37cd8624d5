package org.eellm.cost.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.ParallelConfig;
import org.eellm.config.ParallelConfig.Balance;
import org.eellm.config.ParallelConfig.PipelineSchedule;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.cost.Hardware;
import org.eellm.cost.Hardware.Connection;
import org.eellm.cost.Hardware.Link;
import org.eellm.schedule.Schedule;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

final class MeshSearchTest {
  private static final int DEVICES = 4;
  private static final double ROUNDING = 1e-12;

  /** A machine of eight small devices, of which the model needs several. */
  private static final Hardware SMALL = small(0.2);

  /** Two small devices a node, where messages and sums take a good part of a step. */
  private static final Hardware SLOW =
      of("slow", 0.2, 2, new Connection(link(0.2), link(0.2)), false);

  private static Hardware small(double gib) {
    return of("small", gib, 8, Hardware.read("a100-80gb").insideNode(), true);
  }

  private static Link link(double gbPerSecond) {
    return new Link(50, gbPerSecond);
  }

  private static Hardware of(
      String name, double gib, int perNode, Connection connection, boolean overlaps) {
    Hardware like = Hardware.read("a100-80gb");
    return new Hardware(
        name,
        like.device(),
        gib,
        0.05,
        perNode,
        like.float32(),
        like.bfloat16(),
        like.streamGbPerSecond(),
        like.memoryGbPerSecond(),
        like.operationMicroseconds(),
        connection,
        Optional.of(connection),
        overlaps,
        like.dollarsPerHour());
  }

  private static final List<PipelineSchedule> SEARCHED =
      List.of(PipelineSchedule.ONE_FORWARD_ONE_BACKWARD, PipelineSchedule.ZERO_BUBBLE);

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

  private static final Map<Hardware, List<Plan>> GRIDS = new HashMap<>();

  /** Every plan of a grid. */
  private static List<Plan> grid(Hardware hardware) {
    return GRIDS.computeIfAbsent(hardware, MeshSearchTest::plans);
  }

  /** The grid, written out by hand. */
  private static List<Plan> plans(Hardware hardware) {
    RunConfig config = config(List.of());
    List<Plan> plans = new ArrayList<>();
    for (int tp : List.of(1, 2, 4)) {
      for (int pp : List.of(1, 2, 4)) {
        for (int chunks : List.of(1, 2, 4)) {
          for (Balance balance : Balance.values()) {
            for (boolean preExit : List.of(true, false)) {
              for (boolean shareRows : List.of(true, false)) {
                for (int micro : List.of(1, 2, 4, 8, 16)) {
                  for (Recompute recompute : Recompute.values()) {
                    for (PipelineSchedule schedule : SEARCHED) {
                      try {
                        ParallelConfig mesh =
                            config
                                .parallel()
                                .reshaped(tp, DEVICES / tp / pp, pp)
                                .withStages(chunks, balance, preExit)
                                .withSchedule(schedule)
                                .withSequenceParallel(shareRows);
                        plans.add(
                            Planner.plan(
                                config.with(mesh, config.train().with(micro, recompute)),
                                hardware));
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
    }
    return plans;
  }

  private static String mesh(Plan plan) {
    return plan.config().parallel().pp() + " " + plan.config().parallel().tp();
  }

  private static List<Hardware> hardware() {
    return List.of(SMALL, SLOW);
  }

  private static Planner planner(Plan plan) {
    return new Planner(RunSchedules.of(plan.config()), plan.hardware());
  }

  @ParameterizedTest
  @MethodSource("hardware")
  void search_smallGrid_findsWhatTryingAllOfItFinds(Hardware hardware) {
    List<Plan> all = grid(hardware);
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

    MeshSearch.Result result = MeshSearch.search(config(List.of()), hardware, DEVICES, 3);

    assertThat(fitting.size()).isBetween(1, all.size() - 1);
    assertThat(result.best()).hasSize(3).allMatch(Plan::fits);
    assertThat(result.best()).extracting(MeshSearchTest::mesh).doesNotHaveDuplicates();
    assertThat(result.best().stream().mapToDouble(plan -> plan.time().total()).toArray())
        .containsExactly(best, within(ROUNDING));
    assertThat(result.tooLarge()).isPositive();
  }

  @ParameterizedTest
  @MethodSource("hardware")
  void leastSeconds_plansOfAGrid_areNeverQuicker(Hardware hardware) {
    assertThat(grid(hardware))
        .allSatisfy(
            plan -> {
              double least = planner(plan).leastSeconds();
              double seconds = plan.time().total();
              assertThat(least).isLessThanOrEqualTo(seconds * (1 + ROUNDING));
              if (plan.config().parallel().pp() == 1) {
                assertThat(least).isCloseTo(seconds, within(ROUNDING * seconds));
              }
            });
  }

  @Test
  void fullestBytes_pipelineJustFilled_isThePlans() {
    assertThat(grid(SMALL))
        .allSatisfy(
            plan -> {
              Schedule whole = plan.timeline().schedule();
              int filled = Math.min(whole.microbatches(), MeshSearch.FULL * whole.stages());
              Schedule schedule = RunSchedules.of(plan.config()).schedule(filled);
              assertThat(planner(plan).fullestBytes(schedule))
                  .isEqualTo(plan.fullest().memory().total());
            });
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
