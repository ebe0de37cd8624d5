package org.eellm.cost.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.eellm.config.ParallelConfig;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout.Slice;
import org.eellm.cost.Hardware;
import org.eellm.cost.plan.Plan.StagePlan;

/**
 * The cost of exits in training, one more at a time: after a quarter, a half, and an eighth of a
 * model's layers (EE-LLM, arXiv 2312.04916, section 5.1, has the first two).
 */
public final class ExitCosts {
  /** Where exits come, as the part of the layers below them, in the order in which they come. */
  private static final List<Double> DEPTHS = List.of(0.25, 0.5, 0.125);

  /**
   * A model with some exits.
   *
   * @param exits their layers
   * @param onStageBefore an exit on a boundary belongs to the stage that ends there
   * @param onStageBehind it belongs to the stage that begins there
   * @param eagerBytes memory of the fullest rank where exits are on the stage before, and their
   *     heads run in the forward pass, so that each microbatch that is alive keeps their logits in
   *     float32 until its backward pass
   */
  public record Row(List<Integer> exits, Plan onStageBefore, Plan onStageBehind, long eagerBytes) {
    public Row {
      exits = List.copyOf(exits);
    }
  }

  private ExitCosts() {}

  /** Plans the model with none of these exits, then with one more at a time. */
  public static List<Row> of(RunConfig config, Hardware hardware) {
    List<Row> rows = new ArrayList<>();
    Set<Integer> layers = new TreeSet<>();
    rows.add(row(config, hardware, layers));
    for (double depth : DEPTHS) {
      int layer = (int) Math.round(depth * config.model().numLayers());
      if (layer >= 1 && layers.add(layer)) {
        rows.add(row(config, hardware, layers));
      }
    }
    return rows;
  }

  private static Row row(RunConfig config, Hardware hardware, Set<Integer> layers) {
    List<Integer> exits = List.copyOf(layers);
    RunConfig with = config.withExits(config.exits().at(exits));
    ParallelConfig mesh = config.parallel();
    Plan before = Planner.plan(with.withParallel(mesh.withPreExit(false)), hardware);
    Plan behind = Planner.plan(with.withParallel(mesh.withPreExit(true)), hardware);
    return new Row(exits, before, behind, eager(before));
  }

  private static long eager(Plan plan) {
    RunConfig config = plan.config();
    long tokens = (long) config.train().microBatchSize() * config.data().sequenceLength();
    long logits = 4 * tokens * config.model().vocabSize() / config.parallel().tp();
    long fullest = 0;
    for (StagePlan stage : plan.stages()) {
      long heads = stage.slices().stream().map(Slice::exits).mapToLong(List::size).sum();
      long alive = plan.timeline().peakLive().get(stage.stage()) / stage.slices().size();
      fullest = Math.max(fullest, stage.memory().total() + heads * alive * logits);
    }
    return fullest;
  }
}
