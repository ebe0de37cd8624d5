package org.eellm.train.objective;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.HeadId;
import org.eellm.model.Decoder;
import org.eellm.model.Dropout;
import org.eellm.model.ForwardContext;
import org.eellm.model.HeadLayers;
import org.eellm.model.Stage;
import org.eellm.model.parameter.Gradients;
import org.eellm.tensor.OwnedTensor;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.train.objective.StageExecutor.HeadResult;

/**
 * Microbatches through a stage whose trunk stays as it is (EE-Tuning, arXiv 2402.00518, section
 * 3.2): forward only, and of the trunk nothing is retained but the stream in hand. A head that
 * learns from text runs when the stream passes its tap. One that learns from the final head has to
 * wait until its output is known: the stream is retained at the taps, and what the final head reads
 * comes back down the pipeline in the place of a gradient.
 */
public final class HeadTuningExecutor {
  private final Decoder model;
  private final Stage stage;

  public HeadTuningExecutor(Decoder model, Stage stage) {
    this.model = model;
    this.stage = stage;
  }

  /** The chain of a model in one stage. */
  public HeadTuningExecutor(Decoder model) {
    this(model, model.stages().getFirst());
  }

  /** Which virtual stage of the pipeline it is. */
  public int virtualStage() {
    return stage.index();
  }

  /**
   * A head's sums over the positions of a microbatch that the mask counts, on the model's device.
   *
   * @param index the head's, among the model's
   * @param head its name
   * @param sums float32: cross entropy in nats; positions where the likeliest token is the target;
   *     positions where it is the final head's, too, if that was asked
   * @param tokens positions
   */
  public record HeadScore(int index, HeadId head, Tensor sums, double tokens) {}

  /**
   * Result of a forward pass in which heads are measured.
   *
   * @param heads every head here, in order of depth
   * @param stream the stage's output, [local rows, hidden]
   */
  public record Scored(List<HeadScore> heads, Tensor stream) {}

  /**
   * Result of a forward pass in which heads learn from text.
   *
   * @param heads the heads here whose weight is not 0, in order of depth
   * @param stream the stage's output, [local rows, hidden]
   */
  public record Tuned(List<HeadResult> heads, Tensor stream) {}

  /** Told of the stream at a head's tap; what it needs of it beyond that it keeps. */
  @FunctionalInterface
  private interface TapVisitor {
    void at(HeadLayers head, Tensor stream);
  }

  /**
   * The forward pass through the stage, in which every head learns from the text, and behind which
   * a draft head learns from the final one: adds the gradients of {@code tokenWeight * objective}.
   *
   * @param input what the stage before sent, [local rows, hidden]; nothing where the stage embeds
   * @param tokenWeight of each counted token's loss in the step
   */
  public Tuned tune(
      Microbatch batch,
      Received input,
      Objective objective,
      double tokenWeight,
      Gradients gradients) {
    try (Scope scope = Scope.open();
        RetainedTensors retained = new RetainedTensors()) {
      DeviceBatch device = DeviceBatch.of(batch, model, retained);
      ForwardContext context = context(batch, device, retained);
      HeadLoss.Target text = new HeadLoss.Target.Labels(device.targets());
      List<HeadResult> results = new ArrayList<>();
      Tensor output =
          forwardTrunk(
              device,
              context,
              input,
              (head, stream) ->
                  learn(
                          new HeadExecutor(head, stream, context, device),
                          text,
                          objective,
                          tokenWeight,
                          gradients)
                      .ifPresent(result -> add(result, results, scope)));
      model
          .draftLayers()
          .ifPresent(
              head ->
                  add(
                      DraftHeadExecutor.of(model, head, output, context, device)
                          .learn(objective.draftWeights(), tokenWeight, gradients),
                      results,
                      scope));
      return new Tuned(List.copyOf(results), scope.moveToOuter(output));
    }
  }

  /** The forward pass through the stage and every head, without gradients or dropout. */
  public Scored score(Microbatch batch, Received input) {
    try (Scope scope = Scope.open();
        RetainedTensors retained = new RetainedTensors()) {
      DeviceBatch device = DeviceBatch.of(batch, model, retained);
      ForwardContext context = context(batch, device, retained);
      HeadLoss.Reference text = new HeadLoss.Reference(device.targets(), Optional.empty());
      List<HeadScore> scores = new ArrayList<>();
      Tensor output =
          forwardTrunk(
              device,
              context,
              input,
              (head, stream) -> {
                HeadExecutor executor = new HeadExecutor(head, stream, context, device);
                HeadScore score = executor.score(text);
                scope.moveToOuter(score.sums());
                scores.add(score);
              });
      return new Scored(List.copyOf(scores), scope.moveToOuter(output));
    }
  }

  /** The forward pass through the stage, with the stream retained at the taps. */
  public TapActivations forward(Microbatch batch, Received input) {
    return new TapActivations(batch, input);
  }

  private ForwardContext context(Microbatch batch, DeviceBatch device, RetainedTensors retained) {
    return model.context(
        batch.batch(), batch.sequence(), device.starts(), Dropout.NONE, false, retained);
  }

  /** Through all branches; the stage's output, of the enclosing scope. */
  private Tensor forwardTrunk(
      DeviceBatch device, ForwardContext context, Received input, TapVisitor tap) {
    try (Scope scope = Scope.open();
        OwnedTensor stream =
            new OwnedTensor(
                input.orElseGet(() -> model.embedding().forward(device.inputs(), context)))) {
      for (int branch = stage.firstBranch(); branch <= stage.endBranch(); branch++) {
        if (branch > stage.firstBranch()) {
          HeadExecutor.advance(
              stream, stage.trunk().get(branch - stage.firstBranch() - 1), context);
        }
        for (HeadLayers head : stage.heads()) {
          if (head.tap() == branch) {
            try (Scope visit = Scope.open()) {
              tap.at(head, stream.get());
            }
          }
        }
      }
      return scope.moveToOuter(stream.get());
    }
  }

  /** Adds a result that outlives the scope. */
  private static void add(HeadResult result, List<HeadResult> results, Scope scope) {
    scope.moveToOuter(result.sum());
    results.add(result);
  }

  private static Optional<HeadResult> learn(
      HeadExecutor headExecutor,
      HeadLoss.Target target,
      Objective objective,
      double tokenWeight,
      Gradients gradients) {
    double weight = objective.weights().get(headExecutor.head().index());
    if (weight == 0) {
      return Optional.empty();
    }
    try (Scope scope = Scope.open()) {
      Tensor loss = headExecutor.tune(target, weight * tokenWeight, objective, gradients);
      return Optional.of(headExecutor.result(scope.moveToOuter(loss)));
    }
  }

  /** A microbatch that has gone through the stage: the stream at the taps and at the end. */
  public final class TapActivations implements AutoCloseable {
    private final RetainedTensors retained = new RetainedTensors();
    private final DeviceBatch device;
    private final ForwardContext context;
    private final Map<Integer, Tensor> streams = new HashMap<>();
    private final Tensor output;

    private TapActivations(Microbatch batch, Received input) {
      try (Scope scope = Scope.open()) {
        device = DeviceBatch.of(batch, model, retained);
        context = HeadTuningExecutor.this.context(batch, device, retained);
        output =
            retained.retain(
                HeadTuningExecutor.this.forwardTrunk(
                    device,
                    context,
                    input,
                    (head, stream) -> streams.put(head.index(), retained.retain(stream))));
      }
    }

    /** The stage's output, [local rows, hidden]. */
    public Tensor output() {
      return output;
    }

    /**
     * Every head learns from the final one: adds the gradients of {@code tokenWeight * objective}.
     *
     * @param top the stream after the last layer, [local rows, hidden]
     * @return the heads here whose weight is not 0, in order of depth
     */
    public List<HeadResult> distill(
        Tensor top, Objective objective, double tokenWeight, Gradients gradients) {
      List<HeadResult> results = new ArrayList<>();
      if (stage.heads().isEmpty()) {
        return results;
      }
      try (Scope scope = Scope.open()) {
        HeadLoss.Target teacher = teacher(top);
        for (HeadLayers head : stage.heads()) {
          HeadTuningExecutor.learn(headExecutor(head), teacher, objective, tokenWeight, gradients)
              .ifPresent(result -> add(result, results, scope));
        }
        return results;
      }
    }

    /**
     * Every head's loss, accuracy, and agreement with the final one; a draft head's, too.
     *
     * @param top the stream after the last layer, [local rows, hidden]
     */
    public List<HeadScore> score(Tensor top) {
      if (stage.heads().isEmpty()) {
        return List.of();
      }
      try (Scope scope = Scope.open()) {
        HeadLoss.Reference teacher =
            new HeadLoss.Reference(device.targets(), Optional.of(teacher(top)));
        List<HeadScore> scores = new ArrayList<>();
        stage.heads().forEach(head -> scores.add(headExecutor(head).score(teacher)));
        model
            .draftLayers()
            .map(head -> DraftHeadExecutor.of(model, head, top, context, device).score())
            .ifPresent(scores::add);
        scores.forEach(score -> scope.moveToOuter(score.sums()));
        return scores;
      }
    }

    private HeadExecutor headExecutor(HeadLayers head) {
      return new HeadExecutor(
          head, Objects.requireNonNull(streams.get(head.index())), context, device);
    }

    private HeadLoss.Target.Teacher teacher(Tensor top) {
      HeadLayers head = model.finalHead().orElseThrow();
      return new HeadLoss.Target.Teacher(head.normed(top), head.output());
    }

    @Override
    public void close() {
      retained.close();
    }
  }
}
