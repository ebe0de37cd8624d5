package org.eellm.train;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SequencedMap;
import java.util.function.IntUnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.HeadId;
import org.eellm.config.Learning;
import org.eellm.config.RunConfig;
import org.eellm.cost.plan.RunSchedules;
import org.eellm.data.SampleSource;
import org.eellm.distributed.World;
import org.eellm.model.Decoder;
import org.eellm.schedule.MicrobatchId;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.metrics.Trace;
import org.eellm.train.metrics.TrainEvent.Evaluation;
import org.eellm.train.metrics.TrainEvent.HeadQuality;
import org.eellm.train.objective.HeadTuningExecutor;
import org.eellm.train.objective.HeadTuningExecutor.HeadScore;
import org.eellm.train.objective.HeadTuningExecutor.TapActivations;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.Received;

/** Measures every exit and the final head on the same first samples of the validation text. */
final class Evaluator {
  /** Figures of a head: loss, hits, agreements and tokens. */
  private static final int FIGURES = 4;

  private final RunConfig config;
  private final SampleSource samples;
  private final IntUnaryOperator bytesOfToken;
  private final World world;
  private final Decoder model;
  private final List<HeadTuningExecutor> executors;
  private final Trace trace;

  /**
   * @param bytesOfToken bytes of the text that a token stands for; 0 where no tokenizer is known
   */
  Evaluator(
      RunConfig config,
      SampleSource samples,
      IntUnaryOperator bytesOfToken,
      Decoder model,
      World world,
      Trace trace) {
    this.config = config;
    this.samples = samples;
    this.bytesOfToken = bytesOfToken;
    this.world = world;
    this.model = model;
    this.trace = trace;
    executors = model.stages().stream().map(stage -> new HeadTuningExecutor(model, stage)).toList();
  }

  /** The model as it is after a step; the same on every rank. */
  Evaluation evaluate(long step) {
    int replicas = world.mesh().dp();
    RunSchedules schedules = RunSchedules.of(config);
    try (Scope scope = Scope.open();
        EvaluationCompute work = new EvaluationCompute()) {
      ScheduleExecutor.run(
          schedules.evaluation(Math.ceilDiv(config.train().evalBatches(), replicas)),
          world.transport(),
          ScheduleExecutor.StageTensorSpec.of(config, model, Objective.none()),
          work,
          trace);
      return evaluation(step, world.all().sum(work.sums()));
    }
  }

  /** Whether every head has the final one on its own stage. */
  private boolean teacherIsHere() {
    Learning learning = config.tune().learning();
    return world.mesh().pp() == 1
        && (learning.goesThroughTrunk() || learning == Learning.DRAFT_HEAD);
  }

  private Evaluation evaluation(long step, double[] sums) {
    SequencedMap<HeadId, HeadQuality> heads = new LinkedHashMap<>();
    List<HeadId> all = new ArrayList<>(HeadId.all(config.exits().layers()));
    model.draftHead().ifPresent(head -> all.add(head.id()));
    boolean compared =
        teacherIsHere() || config.tune().learning() == Learning.EXITS_FROM_FINAL_HEAD;
    for (int head = 0; head < all.size(); head++) {
      double tokens = sums[FIGURES * head + 3];
      if (tokens > 0) {
        heads.put(
            all.get(head),
            new HeadQuality(
                sums[FIGURES * head] / tokens,
                sums[FIGURES * head + 1] / tokens,
                compared
                    ? OptionalDouble.of(sums[FIGURES * head + 2] / tokens)
                    : OptionalDouble.empty()));
      }
    }
    double bytes = sums[sums.length - 2];
    return new Evaluation(
        step,
        heads,
        bytes > 0 ? OptionalDouble.of(bytes / sums[sums.length - 1]) : OptionalDouble.empty());
  }

  /** The text that counted targets stand for, in UTF-8 bytes; 0 without a tokenizer. */
  private double bytes(Microbatch batch) {
    double bytes = 0;
    for (int i = 0; i < batch.targets().length; i++) {
      bytes += batch.lossMask()[i] * bytesOfToken.applyAsInt(batch.targets()[i]);
    }
    return bytes;
  }

  /** A microbatch's number among those of all replicas. */
  private int number(MicrobatchId id) {
    return id.index() * world.mesh().dp() + world.coordinate().dp();
  }

  private Microbatch microbatch(MicrobatchId id) {
    int size = config.train().microBatchSize();
    return Microbatch.of(samples, (long) number(id) * size, size);
  }

  /** Forward and heads, and what these found here: a few figures of each head. */
  private final class EvaluationCompute implements ScheduleExecutor.StageCompute, AutoCloseable {
    private final int heads =
        config.exits().layers().size() + (model.draftHead().isPresent() ? 2 : 1);
    private final double[] counts = new double[FIGURES * heads + 2];
    private final RetainedTensors retained = new RetainedTensors();

    /** Sums of the heads' figures, which stay on the device until the end: [heads, figures]. */
    private final Tensor found =
        retained.retain(Tensors.zeros(ScalarType.Double, model.device(), heads, FIGURES));

    private final Map<MicrobatchChunk, TapActivations> waiting = new HashMap<>();

    @Override
    public Tensor tune(MicrobatchId id, int chunk, Received input) {
      Microbatch batch = microbatch(id);
      if (teacherIsHere()) {
        return compare(id, chunk, batch);
      }
      HeadTuningExecutor.Scored scored = executors.get(chunk).score(batch, input);
      add(id, chunk, scored.heads(), batch);
      return scored.stream();
    }

    /** Forward and every head, each compared with the final one. */
    private Tensor compare(MicrobatchId id, int chunk, Microbatch batch) {
      try (Scope scope = Scope.open();
          TapActivations taps = executors.get(chunk).forward(batch, Received.NOTHING)) {
        add(id, chunk, taps.score(taps.output()), batch);
        return scope.moveToOuter(taps.output());
      }
    }

    @Override
    public Tensor forward(MicrobatchId id, int chunk, Received input) {
      TapActivations taps = executors.get(chunk).forward(microbatch(id), input);
      waiting.put(MicrobatchChunk.of(id, chunk), taps);
      return taps.output();
    }

    @Override
    public Optional<Tensor> backward(MicrobatchId id, int chunk, Received top, boolean last) {
      try (TapActivations taps =
          Objects.requireNonNull(waiting.remove(MicrobatchChunk.of(id, chunk)))) {
        Tensor stream = top.orElseGet(taps::output);
        add(id, chunk, taps.score(stream), microbatch(id));
        boolean begins = model.stages().get(chunk).slice().hasEmbedding();
        return begins ? Optional.empty() : Optional.of(stream.clone());
      }
    }

    private void add(MicrobatchId id, int chunk, List<HeadScore> heads, Microbatch batch) {
      if (number(id) >= config.train().evalBatches() || world.coordinate().tp() > 0) {
        return;
      }
      for (HeadScore score : heads) {
        try (Scope _ = Scope.open()) {
          Tensor sums = score.sums();
          found.select(0, score.index()).narrow(0, 0, sums.size(0)).add_(sums);
        }
      }
      if (world.coordinate().cp() > 0) {
        return; // The sequences are counted once, wherever their tokens are.
      }
      for (HeadScore score : heads) {
        counts[FIGURES * score.index() + FIGURES - 1] += score.tokens();
      }
      if (model.stages().get(chunk).slice().hasEmbedding()) {
        counts[counts.length - 2] += bytes(batch);
        counts[counts.length - 1] += batch.counted();
      }
    }

    /** The figures of each head, then the text's bytes and tokens. */
    double[] sums() {
      double[] figures = Tensors.toDoubles(found);
      double[] sums = counts.clone();
      for (int i = 0; i < figures.length; i++) {
        sums[i] += figures[i];
      }
      return sums;
    }

    @Override
    public void close() {
      waiting.values().forEach(TapActivations::close);
      retained.close();
    }
  }
}
