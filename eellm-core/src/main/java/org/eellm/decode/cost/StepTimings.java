package org.eellm.decode.cost;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.ToDoubleFunction;
import java.util.function.UnaryOperator;
import org.eellm.decode.Batch;
import org.eellm.decode.DecodeStats;
import org.eellm.decode.cost.StepShape.Owner;
import org.eellm.decode.engine.KernelRunner;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.pipeline.PipelineRunner;
import org.eellm.decode.pipeline.PipelineStages;
import org.eellm.decode.request.Limits;
import org.eellm.distributed.World;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;

/**
 * Seconds that steps of a model take here, of one text at a time: the fastest of rounds in which
 * all take turns, so that other programs disturb little.
 *
 * @param rows of blocks that were measured, ascending from 1
 * @param layers a layer's, for each of these
 * @param heads the final head's, for each of these
 * @param exits each exit's of one row, by layer
 * @param drafts the same of the ids that exits draft from
 * @param repeated what a row takes in all layers below each exit right after another one, by layer
 * @param overhead of a step of one row beside layers and head: embedding, policies, sampling; below
 *     0 where a step takes less time than its parts do one by one
 * @param steps the full model's, for each of {@code rows}
 * @param bound what a step of one row can be no faster than; absent where libtorch computes, or
 *     ranks share the model
 * @param withinCache whether the weights fit the processor's last cache; absent as well
 */
public record StepTimings(
    List<Integer> rows,
    List<Double> layers,
    List<Double> heads,
    SortedMap<Integer, Double> exits,
    SortedMap<Integer, Double> drafts,
    SortedMap<Integer, Double> repeated,
    double overhead,
    List<Double> steps,
    Optional<Bound> bound,
    Optional<Boolean> withinCache) {
  private static final List<Integer> ROWS = List.of(1, 2, 4, 8, 16, 32, 64);
  private static final int CONTEXT = 64;
  private static final int TOKENS = 24;
  private static final int ROUNDS = 5;
  private static final double SECONDS = 0.01; // of a shape in a round, at least
  private static final double WARM_UP_SECONDS = 0.1;
  private static final long SEED = 1;

  public StepTimings {
    rows = List.copyOf(rows);
    layers = List.copyOf(layers);
    heads = List.copyOf(heads);
    exits = Collections.unmodifiableSortedMap(new TreeMap<>(exits));
    drafts = Collections.unmodifiableSortedMap(new TreeMap<>(drafts));
    repeated = Collections.unmodifiableSortedMap(new TreeMap<>(repeated));
    steps = List.copyOf(steps);
  }

  /**
   * Measures a model that the ranks of a world share, on the calling thread. Each rank calls this.
   *
   * @param model this rank's part
   * @param limits whose vocabulary is generated and drafted from
   * @return nothing on ranks of later pipeline stages
   * @throws org.eellm.distributed.DistributedException if another rank fails; the message names it
   */
  public static Optional<StepTimings> measure(World world, DecodingModel model, Limits limits) {
    return PipelineStages.run(
        world,
        model,
        links ->
            measure(
                model,
                limits,
                first ->
                    links
                        .<ModelRunner>map(
                            later -> new PipelineRunner(first, limits.vocabulary(), later))
                        .orElse(first)));
  }

  private static StepTimings measure(
      DecodingModel model, Limits limits, UnaryOperator<ModelRunner> whole) {
    int positions = model.architecture().model().maxPositions();
    int context = Math.min(CONTEXT, positions / 2);
    List<StepShape> shapes =
        ROWS.stream()
            .filter(rows -> context + rows <= positions)
            .map(rows -> new StepShape(rows, Owner.SEQUENCE, context))
            .toList();
    int tokens = Math.clamp(positions - ForcedDecoding.PROMPT - 1, 2, TOKENS);
    int pages = Math.max(StepTimer.pages(shapes), ForcedDecoding.pages(1, tokens));
    ModelRunner runner = whole.apply(ModelRunner.of(model, limits.vocabulary(), pages));
    try (Batch batch = new Batch(runner, limits.withBatchSize(1));
        StepTimer timer = new StepTimer(runner, shapes)) {
      ForcedDecoding texts = new ForcedDecoding(model, batch, SEED);
      List<List<StepSample>> samples = new ArrayList<>();
      shapes.forEach(shape -> samples.add(new ArrayList<>()));
      SortedMap<Integer, Double> repeated = new TreeMap<>();
      double token = Double.MAX_VALUE;
      for (int round = -1; round < ROUNDS; round++) {
        for (int i = 0; i < shapes.size(); i++) {
          if (round < 0) {
            timer.time(shapes.get(i), WARM_UP_SECONDS);
          } else {
            samples.get(i).add(timer.time(shapes.get(i), SECONDS));
          }
        }
        List<Double> passes = timer.timeRepeated(shapes.getFirst(), SECONDS);
        for (int exit = 0; exit < passes.size(); exit++) {
          repeated.merge(model.allHeads().get(exit).layer(), passes.get(exit), Math::min);
        }
        Head full = model.allHeads().getLast();
        DecodeStats stats = texts.run(full, 1, tokens);
        token = Math.min(token, 1 / stats.tokensPerSecond());
      }
      return of(runner, shapes, samples, repeated, token);
    }
  }

  private static StepTimings of(
      ModelRunner runner,
      List<StepShape> shapes,
      List<List<StepSample>> samples,
      SortedMap<Integer, Double> repeated,
      double token) {
    DecodingModel model = runner.model();
    int finalHead = model.allHeads().size() - 1;
    List<Double> layers = fastest(samples, StepSample::layer);
    List<Double> heads = fastest(samples, sample -> sample.heads().get(finalHead));
    SortedMap<Integer, Double> exits = new TreeMap<>();
    SortedMap<Integer, Double> drafts = new TreeMap<>();
    for (Head head : model.allHeads().subList(0, finalHead)) {
      exits.put(head.layer(), fastest(samples, at -> at.heads().get(head.index())).getFirst());
      drafts.put(head.layer(), fastest(samples, at -> at.drafts().get(head.index())).getFirst());
    }
    int numLayers = model.architecture().model().numLayers();
    Optional<Bound> bound = Optional.empty();
    Optional<Boolean> withinCache = Optional.empty();
    if (runner instanceof KernelRunner kernels && model.parallel().size() == 1) {
      bound = Optional.of(StepWork.of(kernels, shapes.getFirst()).bound(kernels));
      withinCache = Optional.of(kernels.withinCache());
    }
    return new StepTimings(
        shapes.stream().map(StepShape::rows).toList(),
        layers,
        heads,
        exits,
        drafts,
        repeated,
        token - numLayers * layers.getFirst() - heads.getFirst(),
        fastest(samples, StepSample::step),
        bound,
        withinCache);
  }

  /** Of each shape's samples. */
  private static List<Double> fastest(
      List<List<StepSample>> samples, ToDoubleFunction<StepSample> figure) {
    return samples.stream().map(of -> of.stream().mapToDouble(figure).min().orElseThrow()).toList();
  }
}
