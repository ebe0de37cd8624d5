package org.eellm.train;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SequencedMap;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.data.SampleSource;
import org.eellm.data.Tokenizer;
import org.eellm.distributed.World;
import org.eellm.model.Decoder;
import org.eellm.model.Stage;
import org.eellm.schedule.MicrobatchId;
import org.eellm.tensor.Scope;
import org.eellm.train.Chain.HeadScore;
import org.eellm.train.TrainEvent.Evaluation;
import org.eellm.train.TrainEvent.HeadQuality;

/** Measures every exit and the final head on the same first samples of the validation text. */
final class Evaluator {
  private final RunConfig config;
  private final SampleSource samples;
  private final Optional<Tokenizer> tokenizer;
  private final World world;
  private final Decoder model;
  private final List<Chain> chains;
  private final Trace trace;

  Evaluator(
      RunConfig config,
      SampleSource samples,
      Optional<Tokenizer> tokenizer,
      Decoder model,
      World world,
      Trace trace) {
    this.config = config;
    this.samples = samples;
    this.tokenizer = tokenizer;
    this.world = world;
    this.model = model;
    this.trace = trace;
    double[] noLayerDropout = new double[config.model().numLayers()];
    chains = new ArrayList<>();
    for (Stage stage : model.stages()) {
      chains.add(new Chain(model, stage, Recompute.NONE, noLayerDropout));
    }
  }

  /** The model as it is after a step; the same on every rank. */
  Evaluation evaluate(long step) {
    int replicas = world.mesh().dp();
    PipelinePlan plan = PipelinePlan.of(config);
    try (Scope scope = Scope.open()) {
      Work work = new Work();
      ScheduleExecutor.run(
          plan.evaluation(Math.ceilDiv(config.train().evalBatches(), replicas)),
          world.pp(),
          plan.message(model),
          work,
          trace);
      return evaluation(step, StepSums.sum(world, work.sums));
    }
  }

  private Evaluation evaluation(long step, double[] sums) {
    SequencedMap<String, HeadQuality> heads = new LinkedHashMap<>();
    List<String> names = new ArrayList<>();
    config.exits().layers().forEach(layer -> names.add(TrainEvent.exitName(layer)));
    names.add(TrainEvent.FINAL);
    for (int head = 0; head < names.size(); head++) {
      double tokens = sums[3 * head + 2];
      heads.put(
          names.get(head), new HeadQuality(sums[3 * head] / tokens, sums[3 * head + 1] / tokens));
    }
    double bytes = sums[sums.length - 2];
    return new Evaluation(
        step,
        heads,
        bytes > 0 ? OptionalDouble.of(bytes / sums[sums.length - 1]) : OptionalDouble.empty());
  }

  /** The text that tokens stand for, in UTF-8 bytes; 0 without a tokenizer. */
  private double bytes(int[] ids) {
    double bytes = 0;
    if (tokenizer.isPresent()) {
      for (int id : ids) {
        bytes += tokenizer.get().byteLength(id);
      }
    }
    return bytes;
  }

  /** Forward and heads, and what these found here: loss, hits and tokens of each head. */
  private final class Work implements ScheduleExecutor.Work {
    private final double[] sums = new double[3 * (config.exits().layers().size() + 1) + 2];

    @Override
    public Tensor tune(MicrobatchId id, int chunk, Optional<Tensor> input) {
      int number = id.index() * world.mesh().dp() + world.coordinate().dp();
      int size = config.train().microBatchSize();
      Microbatch batch = Microbatch.of(samples, (long) number * size, size);
      Chain.Scored scored = chains.get(chunk).score(batch, input);
      if (number < config.train().evalBatches() && world.coordinate().tp() == 0) {
        scored.heads().forEach(this::add);
        if (model.stages().get(chunk).slice().concludes()) {
          sums[sums.length - 2] += bytes(batch.targets());
          sums[sums.length - 1] += batch.targets().length;
        }
      }
      return scored.stream();
    }

    private void add(HeadScore score) {
      sums[3 * score.index()] += score.loss();
      sums[3 * score.index() + 1] += score.correct();
      sums[3 * score.index() + 2] += score.tokens();
    }

    @Override
    public Tensor forward(MicrobatchId microbatch, int chunk, Optional<Tensor> input) {
      throw new IllegalStateException("an evaluation has no way back");
    }

    @Override
    public Optional<Tensor> backward(
        MicrobatchId microbatch, int chunk, Optional<Tensor> gradient, boolean last) {
      throw new IllegalStateException("an evaluation has no way back");
    }
  }
}
