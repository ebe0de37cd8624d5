package org.eellm.train.objective;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.HeadId;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.model.Branch;
import org.eellm.model.Decoder;
import org.eellm.model.Dropout;
import org.eellm.model.ForwardContext;
import org.eellm.model.HeadLayers;
import org.eellm.model.OutputMatrix;
import org.eellm.model.ResidualPath;
import org.eellm.model.Stage;
import org.eellm.model.parameter.Gradients;
import org.eellm.tensor.OwnedTensor;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Microbatches through a stage and back. Forward runs the trunk's branches and keeps what backward
 * needs; no head runs. Backward runs them from last to first with the gradient g of the stream in
 * hand, which begins as what the next stage sent: where a head taps the stream it runs now, forward
 * and backward, and its gradient is added to g (EE-LLM, arXiv 2312.04916, section 3.1: equation 2's
 * auxiliary loss, with heads deferred to the backward pass). So at most one head's logits exist at
 * a time, and activations are freed as the backward pass proceeds. While g is still on its way from
 * the next stage, the heads may run already.
 */
public final class StageExecutor {
  private final Decoder model;
  private final Stage stage;
  private final Recompute recompute;

  public StageExecutor(Decoder model, Stage stage, Recompute recompute) {
    this.model = model;
    this.stage = stage;
    this.recompute = recompute;
  }

  /** The chain of a model in one stage. */
  public StageExecutor(Decoder model, Recompute recompute) {
    this(model, model.stages().getFirst(), recompute);
  }

  /** Which virtual stage of the pipeline it is. */
  public int virtualStage() {
    return stage.index();
  }

  /**
   * A head's part of a microbatch, still on the model's device, so that no pass waits for it.
   *
   * @param index the head's, among the model's
   * @param head its name
   * @param sum over the mask of the cross entropy, or of the divergence from a teacher, with
   *     dynamic token weights where these are on, without the head's weight; float32 scalar
   * @param counted the mask's sum
   */
  public record HeadResult(int index, HeadId head, Tensor sum, double counted) {
    /** The mean over the mask, 0 where it counts nothing; waits for the device. */
    public double loss() {
      return sum.item_double() / Math.max(counted, 1);
    }

    /** Adds the sum times a weight to the heads' losses, float64 [heads] on the same device. */
    public void addTo(Tensor losses, double tokenWeight) {
      try (Scope _ = Scope.open()) {
        losses.select(0, index).add_(sum, new Scalar(tokenWeight));
      }
    }
  }

  /**
   * Result of a backward pass.
   *
   * @param heads the heads here whose weight is not 0, in order of depth
   * @param gradient of the stage's input, [local rows, hidden]; where the objective distills [2
   *     local rows, hidden], with what the final head multiplies with its matrix below it; absent
   *     where the stage embeds
   */
  public record BackwardResult(List<HeadResult> heads, Optional<Tensor> gradient) {}

  /**
   * The forward pass through the stage.
   *
   * @param input what the stage before sent, [local rows, hidden]; nothing where the stage embeds
   * @param dropout of this microbatch; none where neither dropout nor layer dropout is used
   * @param before is called before the embedding with -1, before each branch with its number, and
   *     before heads at the stage's end with that of the branch behind it
   */
  public ForwardTape forward(
      Microbatch batch, Received input, Dropout dropout, IntConsumer before) {
    return new ForwardTape(batch, input, dropout, before);
  }

  /** Whether {@link #backwardHeads} has something to do: heads that need no other head. */
  public boolean hasEarlyHeads(Objective objective) {
    return objective.distillation() == 0
        && stage.heads().stream().anyMatch(head -> objective.weights().get(head.index()) != 0);
  }

  /**
   * Runs the stage's heads, forward and backward, before the gradient of its output has come.
   * {@link #backward} goes on from here.
   *
   * @param tokenWeight of each counted token's loss in the step: 1 / number of counted tokens
   */
  public void backwardHeads(
      ForwardTape forwardTape, Objective objective, double tokenWeight, Gradients gradients) {
    for (HeadLayers head : stage.heads().reversed()) {
      double weight = objective.weights().get(head.index());
      if (weight == 0) {
        continue;
      }
      try (Scope scope = Scope.open()) {
        HeadLoss.Result result =
            runHead(
                forwardTape,
                head,
                new Teaching.ByText(),
                weight * tokenWeight,
                objective,
                gradients);
        forwardTape.own.retain(result.loss());
        forwardTape.own.retain(result.gradient());
        forwardTape.headResults.put(head.index(), result);
      }
    }
  }

  private HeadLoss.Result runHead(
      ForwardTape forwardTape,
      HeadLayers head,
      Teaching teaching,
      double weight,
      Objective objective,
      Gradients gradients) {
    HeadExecutor executor = forwardTape.executor(head);
    HeadLoss.Target target = target(forwardTape, head, teaching);
    return executor.forwardBackward(target, weight, objective, gradients);
  }

  /**
   * The backward pass: adds the gradients of {@code tokenWeight * objective} and of the later
   * stages' losses, which {@code above} brings.
   *
   * @param tokenWeight of each counted token's loss in the step: 1 / number of counted tokens
   * @param above the gradient of the stage's output, [local rows, hidden]; where the objective
   *     distills [2 local rows, hidden], with what the final head multiplies with its matrix below
   *     it; nothing where nothing comes after the stage
   * @param backwardDone is called with each branch that the backward pass has completed, and the
   *     end of the stage: its weights and those of the heads in front of it get nothing more from
   *     this microbatch
   */
  public BackwardResult backward(
      ForwardTape forwardTape,
      Objective objective,
      double tokenWeight,
      Received above,
      Gradients gradients,
      IntConsumer backwardDone) {
    try (Scope scope = Scope.open();
        OwnedTensor g =
            new OwnedTensor(
                switch (above) {
                  case Received.Message(Tensor both) -> {
                    Tensor own = both.narrow(0, 0, forwardTape.output().size(0));
                    // Postponed products would keep all of the message.
                    yield gradients.postpones() ? own.clone() : own;
                  }
                  case Received.Nothing _ -> zerosLike(forwardTape.output());
                })) {
      List<Tensor> losses = new ArrayList<>();
      List<HeadExecutor> heads = new ArrayList<>();
      Teaching teaching =
          objective.distillation() > 0
              ? new Teaching.ByFinalHead(teacher(forwardTape, above), objective.distillation())
              : new Teaching.ByText();
      for (int branch = stage.endBranch(); branch >= stage.firstBranch(); branch--) {
        if (branch < stage.endBranch()) {
          try (Scope step = Scope.open()) {
            g.set(forwardTape.backward(branch, g.get(), gradients));
          }
        }
        for (HeadLayers head : headsAt(branch)) {
          double weight = objective.weights().get(head.index());
          if (weight == 0) {
            continue;
          }
          try (Scope step = Scope.open()) {
            HeadLoss.Result early = forwardTape.headResults.get(head.index());
            HeadLoss.Result result =
                early != null
                    ? early
                    : runHead(
                        forwardTape, head, teaching, weight * tokenWeight, objective, gradients);
            g.get().add_(result.gradient()); // the head's joins that of the stream here
            losses.add(scope.moveToOuter(result.loss()));
            heads.add(forwardTape.executor(head));
          }
        }
        backwardDone.accept(branch);
      }
      Optional<Tensor> below = Optional.empty();
      if (stage.slice().hasEmbedding()) {
        model
            .embedding()
            .backward(forwardTape.device.inputs(), g.get(), forwardTape.context, gradients);
      } else {
        Tensor gradientBelow = g.get();
        below =
            Optional.of(
                scope.moveToOuter(
                    switch (teaching) {
                      case Teaching.ByFinalHead(Tensor normed, double _) ->
                          Tensors.concatenate(List.of(gradientBelow, normed));
                      case Teaching.ByText _ -> gradientBelow;
                    }));
      }
      List<HeadResult> results =
          IntStream.range(0, heads.size())
              .mapToObj(i -> heads.get(i).result(scope.moveToOuter(losses.get(i))))
              .toList()
              .reversed();
      return new BackwardResult(results, below);
    }
  }

  /** The source that exits learn from: the text, or the final head beside it. */
  private sealed interface Teaching {
    record ByText() implements Teaching {}

    /**
     * @param normed what the final head multiplies with its matrix, [local rows, hidden]
     * @param share of the divergence from it, beside the cross entropy
     */
    record ByFinalHead(Tensor normed, double share) implements Teaching {}
  }

  /** The final head's normed hidden state, [local rows, hidden]. */
  private Tensor teacher(ForwardTape forwardTape, Received above) {
    long rows = forwardTape.output().size(0);
    return switch (above) {
      case Received.Message(Tensor both) -> both.narrow(0, rows, rows);
      case Received.Nothing _ -> model.finalHead().orElseThrow().normed(forwardTape.output());
    };
  }

  /** A head's target; on another stage than the final head's, the matrix is the exits', too. */
  private HeadLoss.Target target(ForwardTape forwardTape, HeadLayers head, Teaching teaching) {
    Tensor ids = forwardTape.device.targets();
    if (!(teaching instanceof Teaching.ByFinalHead(Tensor normed, double share))
        || !head.head().isExit()) {
      return new HeadLoss.Target.Labels(ids);
    }
    OutputMatrix output = model.finalHead().map(HeadLayers::output).orElseGet(head::output);
    return new HeadLoss.Target.LabelsAndTeacher(
        ids, new HeadLoss.Target.Teacher(normed, output), share);
  }

  /**
   * Runs a microbatch through a model in one stage and back.
   *
   * @param share of the mean over its counted tokens
   * @return the results of the heads whose weight is not 0, in order of depth
   */
  public List<HeadResult> forwardBackward(
      Microbatch batch, Objective objective, double share, Dropout dropout, Gradients gradients) {
    try (Scope scope = Scope.open();
        ForwardTape forwardTape = forward(batch, Received.NOTHING, dropout, _ -> {})) {
      List<HeadResult> heads =
          backward(
                  forwardTape,
                  objective,
                  share / Math.max(batch.counted(), 1),
                  Received.NOTHING,
                  gradients,
                  _ -> {})
              .heads();
      heads.forEach(head -> scope.moveToOuter(head.sum()));
      return heads;
    }
  }

  /** The heads that tap the stream in front of a branch, deepest first. */
  private List<HeadLayers> headsAt(int branch) {
    return stage.heads().stream().filter(head -> head.tap() == branch).toList().reversed();
  }

  private static Tensor zerosLike(Tensor x) {
    return Tensors.zeros(Tensors.scalarType(x), x.device(), x.size(0), x.size(1));
  }

  /**
   * The trunk's forward pass, and what it keeps: the stream before each branch and each branch's
   * tape.
   */
  public final class ForwardTape implements AutoCloseable {
    private final RetainedTensors own = new RetainedTensors();
    private final DeviceBatch device;
    private final ForwardContext context;
    private final List<SequenceSubset> parts; // by layer
    private final List<BranchTape> branchTapes = new ArrayList<>();
    private final Map<Integer, HeadLoss.Result> headResults = new HashMap<>(); // by head

    /**
     * The stream before a branch, or at the end, and the branch's tape.
     *
     * @param stream [local rows, hidden]
     * @param retained owns the stream and the tape
     * @param tape absent at the end, where the branch is skipped, and with full recompute
     */
    private record BranchTape(
        Tensor stream, RetainedTensors retained, Optional<Branch.Tape> tape) {}

    private ForwardTape(Microbatch batch, Received input, Dropout dropout, IntConsumer before) {
      before.accept(-1);
      try (Scope scope = Scope.open()) {
        device = DeviceBatch.of(batch, model, own);
        boolean selective = recompute == Recompute.SELECTIVE;
        context =
            model.context(
                batch.batch(), batch.sequence(), device.starts(), dropout, selective, own);
        parts =
            IntStream.range(0, model.architecture().model().numLayers())
                .mapToObj(layer -> SequenceSubset.of(context, layer, model.device(), own))
                .toList();
        try (OwnedTensor stream =
            new OwnedTensor(
                input.orElseGet(() -> model.embedding().forward(device.inputs(), context)))) {
          for (int i = 0; i < stage.trunk().size(); i++) {
            before.accept(stage.firstBranch() + i);
            branchTapes.add(forward(i, stream));
          }
          before.accept(stage.endBranch());
          RetainedTensors retained = new RetainedTensors();
          branchTapes.add(
              new BranchTape(retained.retain(stream.get()), retained, Optional.empty()));
        }
      }
    }

    /** The part of the microbatch that goes through the stage's branch i. */
    private SequenceSubset partOf(int i) {
      return parts.get(stage.slice().firstLayer() + i / 2);
    }

    private BranchTape forward(int i, OwnedTensor stream) {
      try (Scope scope = Scope.open()) {
        RetainedTensors retained = new RetainedTensors();
        Tensor x = retained.retain(stream.get());
        if (partOf(i) instanceof SequenceSubset.None) {
          stream.set(path(i).add(x, nothing(x.size(0))));
          return new BranchTape(x, retained, Optional.empty());
        }
        boolean again = recompute == Recompute.FULL; // nothing but the stream is kept
        try (RetainedTensors forgotten = new RetainedTensors()) {
          Branch.Output output = run(i, x, again ? forgotten : retained);
          stream.set(path(i).add(x, spread(i, output.delta(), x.size(0))));
          return new BranchTape(x, retained, again ? Optional.empty() : Optional.of(output.tape()));
        }
      }
    }

    private Branch.Output run(int i, Tensor x, RetainedTensors retained) {
      return stage.trunk().get(i).forward(select(i, x), passOf(i), retained);
    }

    /** The gradient of the stream before a branch from that after it, g. */
    private Tensor backward(int branch, Tensor g, Gradients gradients) {
      int i = branch - stage.firstBranch();
      branchTapes.get(i + 1).retained().close();
      try (Scope scope = Scope.open();
          RetainedTensors again = new RetainedTensors()) {
        if (partOf(i) instanceof SequenceSubset.None) {
          return scope.moveToOuter(path(i).gradient(g, nothing(g.size(0))));
        }
        BranchTape branchTape = branchTapes.get(i);
        Branch.Tape tape =
            branchTape.tape().orElseGet(() -> run(i, branchTape.stream(), again).tape());
        Tensor input = stage.trunk().get(i).backward(tape, select(i, g), passOf(i), gradients);
        return scope.moveToOuter(path(i).gradient(g, spread(i, input, g.size(0))));
      }
    }

    private ResidualPath path(int i) {
      return stage.trunk().get(i).path();
    }

    private ForwardContext passOf(int i) {
      return partOf(i) instanceof SequenceSubset.Some some
          ? context.ofSequences(some.index())
          : context;
    }

    /** The rows of the sequences that go through branch i. */
    private Tensor select(int i, Tensor x) {
      return partOf(i) instanceof SequenceSubset.Some some
          ? bySequence(x).index_select(0, some.index()).view(-1, x.size(1))
          : x;
    }

    /** Rows of the sequences that went through branch i among all rows, the others' zero. */
    private Tensor spread(int i, Tensor own, long rows) {
      return partOf(i) instanceof SequenceSubset.Some some
          ? bySequence(nothing(rows))
              .index_add_(0, some.index(), own.view(some.count(), -1))
              .view(rows, -1)
          : own;
    }

    /** Zeros, which a branch that no sequence goes through adds to the stream, [rows, hidden]. */
    private Tensor nothing(long rows) {
      long hidden = model.architecture().model().hiddenSize();
      return Tensors.zeros(model.scalarType(), model.device(), rows, hidden);
    }

    private Tensor bySequence(Tensor x) {
      return x.view(context.batch(), -1);
    }

    private HeadExecutor executor(HeadLayers head) {
      return new HeadExecutor(head, stream(head.tap()), context, device);
    }

    private Tensor stream(int branch) {
      return branchTapes.get(branch - stage.firstBranch()).stream();
    }

    /** The stage's output, [local rows, hidden], until the backward pass has begun. */
    public Tensor output() {
      return branchTapes.getLast().stream();
    }

    @Override
    public void close() {
      branchTapes.forEach(branchTape -> branchTape.retained().close());
      own.close();
    }
  }
}
