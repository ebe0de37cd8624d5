package org.eellm.train.objective;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.eellm.model.Decoder;
import org.eellm.model.HeadLayers;
import org.eellm.model.Pass;
import org.eellm.model.Stage;
import org.eellm.model.parameter.Gradients;
import org.eellm.tensor.Carried;
import org.eellm.tensor.Kept;
import org.eellm.tensor.Scope;
import org.eellm.train.objective.Chain.HeadResult;
import org.eellm.train.objective.Chain.HeadScore;

/**
 * Microbatches through a stage whose trunk stays as it is (EE-Tuning, arXiv 2402.00518, section
 * 3.2): forward only, and of the trunk nothing is kept but the stream in hand. A head that learns
 * from text runs when the stream passes its tap. One that learns from the final head has to wait
 * until that has spoken: the stream is kept at the taps, and what the final head reads comes back
 * down the pipeline in the place of a gradient.
 */
public final class HeadChain {
  private final Decoder model;
  private final Stage stage;

  public HeadChain(Decoder model, Stage stage) {
    this.model = model;
    this.stage = stage;
  }

  /**
   * What learning from text found.
   *
   * @param heads the heads here whose weight is not 0, in order of depth
   * @param stream the stage's output, [local rows, hidden]
   */
  public record Tuned(List<HeadResult> heads, Tensor stream) {}

  /** Told of the stream at a head's tap; what it needs of it beyond that it keeps. */
  @FunctionalInterface
  private interface Tap {
    void at(HeadLayers head, Tensor stream);
  }

  /**
   * The way through the stage, on which every head learns from the text: adds the gradients of
   * {@code share * objective}.
   *
   * @param input what the stage before sent, [local rows, hidden]; absent where the stage embeds
   * @param share of this microbatch in the step
   */
  public Tuned tune(
      Microbatch batch,
      Optional<Tensor> input,
      Objective objective,
      double share,
      Gradients gradients) {
    try (Scope scope = Scope.open();
        Kept kept = new Kept()) {
      DeviceBatch device = DeviceBatch.of(batch, model, kept);
      Pass pass = pass(batch, kept);
      HeadLoss.Target text = new HeadLoss.Target.Text(device.targets());
      List<HeadResult> results = new ArrayList<>();
      Tensor output =
          pass(
              device,
              pass,
              input,
              (head, stream) ->
                  learn(new HeadWalk(head, stream, pass, device), text, objective, share, gradients)
                      .ifPresent(results::add));
      return new Tuned(List.copyOf(results), scope.pass(output));
    }
  }

  /** The way through the stage, with the stream kept at the taps. */
  public Taps forward(Microbatch batch, Optional<Tensor> input) {
    return new Taps(batch, input);
  }

  private Pass pass(Microbatch batch, Kept kept) {
    return model.pass(batch.batch(), batch.sequence(), Optional.empty(), false, kept);
  }

  /** Through all branches; the stage's output, of the enclosing scope. */
  private Tensor pass(DeviceBatch device, Pass pass, Optional<Tensor> input, Tap tap) {
    try (Scope scope = Scope.open();
        Carried stream = new Carried(input.orElseGet(() -> model.embed(device.inputs(), pass)))) {
      for (int position = stage.firstPosition(); position <= stage.endPosition(); position++) {
        if (position > stage.firstPosition()) {
          HeadWalk.advance(stream, stage.trunk().get(position - stage.firstPosition() - 1), pass);
        }
        for (HeadLayers head : stage.heads()) {
          if (head.tap() == position) {
            try (Scope visit = Scope.open()) {
              tap.at(head, stream.get());
            }
          }
        }
      }
      return scope.pass(stream.get());
    }
  }

  private static Optional<HeadResult> learn(
      HeadWalk walk,
      HeadLoss.Target target,
      Objective objective,
      double share,
      Gradients gradients) {
    double weight = objective.weights().get(walk.head().index());
    if (weight == 0) {
      return Optional.empty();
    }
    try (Scope scope = Scope.open()) {
      Tensor loss = walk.tune(target, weight * share, objective, gradients);
      return Optional.of(walk.result(loss));
    }
  }

  /** A microbatch that has gone through the stage: the stream at the taps and at the end. */
  public final class Taps implements AutoCloseable {
    private final Kept kept = new Kept();
    private final DeviceBatch device;
    private final Pass pass;
    private final Map<Integer, Tensor> streams = new HashMap<>();
    private final Tensor output;

    private Taps(Microbatch batch, Optional<Tensor> input) {
      try (Scope scope = Scope.open()) {
        device = DeviceBatch.of(batch, model, kept);
        pass = HeadChain.this.pass(batch, kept);
        output =
            kept.keep(
                HeadChain.this.pass(
                    device,
                    pass,
                    input,
                    (head, stream) -> streams.put(head.index(), kept.keep(stream))));
      }
    }

    /** The stage's output, [local rows, hidden]. */
    public Tensor output() {
      return output;
    }

    /**
     * Every head learns from the final one: adds the gradients of {@code share * objective}.
     *
     * @param top the stream after the last layer, [local rows, hidden]
     * @return the heads here whose weight is not 0, in order of depth
     */
    public List<HeadResult> learn(
        Tensor top, Objective objective, double share, Gradients gradients) {
      List<HeadResult> results = new ArrayList<>();
      if (stage.heads().isEmpty()) {
        return results;
      }
      try (Scope scope = Scope.open()) {
        HeadLoss.Target teacher = teacher(top);
        for (HeadLayers head : stage.heads()) {
          HeadChain.learn(walk(head), teacher, objective, share, gradients).ifPresent(results::add);
        }
        return results;
      }
    }

    /**
     * Every head's loss, accuracy, and agreement with the final one.
     *
     * @param top the stream after the last layer, [local rows, hidden]
     */
    public List<HeadScore> score(Tensor top) {
      if (stage.heads().isEmpty()) {
        return List.of();
      }
      try (Scope scope = Scope.open()) {
        HeadLoss.Target.Teacher teacher = teacher(top);
        return stage.heads().stream().map(head -> walk(head).score(Optional.of(teacher))).toList();
      }
    }

    private HeadWalk walk(HeadLayers head) {
      return new HeadWalk(head, Objects.requireNonNull(streams.get(head.index())), pass, device);
    }

    private HeadLoss.Target.Teacher teacher(Tensor top) {
      HeadLayers head = model.finalHead().orElseThrow();
      return new HeadLoss.Target.Teacher(head.normed(top), head.output());
    }

    @Override
    public void close() {
      kept.close();
    }
  }
}
