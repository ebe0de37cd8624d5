package org.eellm.train.objective;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.model.Branch;
import org.eellm.model.Decoder;
import org.eellm.model.Dropout;
import org.eellm.model.HeadLayers;
import org.eellm.model.Pass;
import org.eellm.model.ResidualPath;
import org.eellm.model.Stage;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Weight;
import org.eellm.tensor.Carried;
import org.eellm.tensor.Kept;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Microbatches through a stage and back. Forward walks the trunk's branches and keeps what backward
 * needs; no head runs. Backward walks from last to first with the gradient g of the stream in hand,
 * which begins as what the next stage sent: where a head taps the stream it runs now, forward and
 * backward, and its gradient is added to g (EE-LLM, arXiv 2312.04916, section 3.1: equation 2's
 * auxiliary loss, with heads deferred to the backward pass). So at most one head's logits exist at
 * a time, and activations are freed as the walk passes.
 */
public final class Chain {
  /** Sites of dropout keys from here on decide which sequences skip a layer. */
  private static final long LAYER_DROPOUT_SITE = 1L << 40;

  private final Decoder model;
  private final Stage stage;
  private final Recompute recompute;
  private final double[] layerDropout;

  /**
   * @param layerDropout each layer's probability of being skipped by a sequence; of all layers of
   *     the model
   */
  public Chain(Decoder model, Stage stage, Recompute recompute, double[] layerDropout) {
    this.model = model;
    this.stage = stage;
    this.recompute = recompute;
    this.layerDropout = layerDropout.clone();
  }

  /** The chain of a model in one stage. */
  public Chain(Decoder model, Recompute recompute, double[] layerDropout) {
    this(model, model.stages().getFirst(), recompute, layerDropout);
  }

  /**
   * A head's part of a microbatch.
   *
   * @param index the head's, among the model's
   * @param head its name
   * @param loss mean over the mask of the cross entropy, or of the divergence from a teacher, with
   *     dynamic token weights where these are on, without the head's weight
   */
  public record HeadResult(int index, String head, double loss) {}

  /**
   * A head's sums over the positions of a microbatch that the mask counts.
   *
   * @param index the head's, among the model's
   * @param head its name
   * @param loss cross entropy in nats
   * @param correct positions where the likeliest token is the target
   * @param agreed positions where it is the final head's, too; 0 where that was not asked
   * @param tokens positions
   */
  public record HeadScore(
      int index, String head, double loss, double correct, double agreed, double tokens) {}

  /**
   * What a backward pass found.
   *
   * @param heads the heads here whose weight is not 0, in order of depth
   * @param gradient of the stage's input, [local rows, hidden], with what the final head reads
   *     below it where the objective distills; absent where the stage embeds
   */
  public record Returned(List<HeadResult> heads, Optional<Tensor> gradient) {}

  /**
   * What a forward pass without a way back found.
   *
   * @param heads every head here, in order of depth
   * @param stream the stage's output, [local rows, hidden]
   */
  public record Scored(List<HeadScore> heads, Tensor stream) {}

  /**
   * The way through the stage.
   *
   * @param input what the stage before sent, [local rows, hidden]; absent where the stage embeds
   * @param dropout key of this microbatch; absent where neither dropout nor layer dropout is used
   */
  public Walk forward(Microbatch batch, Optional<Tensor> input, Optional<Dropout> dropout) {
    return new Walk(batch, input, dropout);
  }

  /** The same with {@link HeadForward#EAGER} heads: those that count in the objective run now. */
  public Walk forwardEagerly(
      Microbatch batch, Optional<Tensor> input, Optional<Dropout> dropout, Objective objective) {
    Walk walk = forward(batch, input, dropout);
    for (HeadLayers head : stage.heads()) {
      if (objective.weights().get(head.index()) != 0) {
        walk.ahead.put(
            head.index(),
            walk.through(head).ahead(walk.own, objective.temperatures().get(head.index())));
      }
    }
    return walk;
  }

  /**
   * The way back: adds the gradients of {@code share * objective} and of what the gradient from the
   * next stage stands for.
   *
   * @param share of this microbatch in the step: 1 / number of microbatches
   * @param above the gradient of the stage's output and, where the objective distills, below it
   *     what the final head reads, [2 local rows, hidden]; absent where nothing comes after it
   * @param passed hears each position of the trunk that the walk has done with: the weights of the
   *     branch behind it and of the heads at it get nothing more from this microbatch
   */
  public Returned backward(
      Walk walk,
      Objective objective,
      double share,
      Optional<Tensor> above,
      Gradients gradients,
      IntConsumer passed) {
    try (Scope scope = Scope.open();
        Carried g =
            new Carried(
                above
                    .map(both -> both.narrow(0, 0, walk.output().size(0)))
                    .orElseGet(() -> zerosLike(walk.output())))) {
      List<Tensor> losses = new ArrayList<>();
      List<HeadWalk> heads = new ArrayList<>();
      Optional<Tensor> taught =
          objective.distillation() > 0 ? Optional.of(teacher(walk, above)) : Optional.empty();
      for (int position = stage.endPosition(); position >= stage.firstPosition(); position--) {
        if (position < stage.endPosition()) {
          try (Scope step = Scope.open()) {
            g.set(walk.backward(position, g.get(), gradients));
          }
        }
        for (HeadLayers head : headsAt(position)) {
          double weight = objective.weights().get(head.index());
          if (weight == 0) {
            continue;
          }
          try (Scope step = Scope.open()) {
            HeadWalk through = walk.through(head);
            HeadLoss.Target target = target(walk, head, taught, objective);
            Optional<HeadWalk.Up> up = Optional.ofNullable(walk.ahead.get(head.index()));
            HeadLoss.Result result =
                up.isPresent()
                    ? through.learn(up.get(), target, weight * share, objective, gradients)
                    : through.learn(target, weight * share, objective, gradients);
            g.get().add_(result.gradient());
            losses.add(scope.pass(result.loss()));
            heads.add(through);
          }
        }
        passed.accept(position);
      }
      Optional<Tensor> below = Optional.empty();
      if (stage.slice().embeds()) {
        model.embedBackward(walk.device.inputs(), g.get(), walk.pass, gradients);
      } else {
        Tensor gradientBelow = g.get();
        below =
            Optional.of(
                scope.pass(
                    taught
                        .map(normed -> Tensors.stack(List.of(gradientBelow, normed)))
                        .orElse(gradientBelow)));
      }
      List<HeadResult> results =
          IntStream.range(0, heads.size())
              .mapToObj(i -> heads.get(i).result(losses.get(i)))
              .toList()
              .reversed();
      return new Returned(results, below);
    }
  }

  /** What the final head multiplies with its matrix, [local rows, hidden]. */
  private Tensor teacher(Walk walk, Optional<Tensor> above) {
    long rows = walk.output().size(0);
    return above
        .map(both -> both.narrow(0, rows, rows))
        .orElseGet(() -> model.finalHead().orElseThrow().normed(walk.output()));
  }

  /**
   * What a head learns from; on another stage than the final head the matrix is the exits', too.
   */
  private HeadLoss.Target target(
      Walk walk, HeadLayers head, Optional<Tensor> taught, Objective objective) {
    Tensor ids = walk.device.targets();
    if (taught.isEmpty() || !head.head().isExit()) {
      return new HeadLoss.Target.Text(ids);
    }
    Weight output = model.finalHead().map(HeadLayers::output).orElseGet(head::output);
    return new HeadLoss.Target.Both(
        ids, new HeadLoss.Target.Teacher(taught.get(), output), objective.distillation());
  }

  /**
   * Runs a microbatch through a model in one stage and back.
   *
   * @return the results of the heads whose weight is not 0, in order of depth
   */
  public List<HeadResult> forwardBackward(
      Microbatch batch,
      Objective objective,
      double share,
      Optional<Dropout> dropout,
      Gradients gradients) {
    try (Scope scope = Scope.open();
        Walk walk = forward(batch, Optional.empty(), dropout)) {
      return backward(walk, objective, share, Optional.empty(), gradients, position -> {}).heads();
    }
  }

  /** Runs forward and every head, without gradients or dropout. */
  public Scored score(Microbatch batch, Optional<Tensor> input) {
    try (Scope scope = Scope.open();
        Kept kept = new Kept()) {
      DeviceBatch device = DeviceBatch.of(batch, model, kept);
      Pass pass = model.pass(batch.batch(), batch.sequence(), Optional.empty(), false, kept);
      List<HeadScore> scores = new ArrayList<>();
      try (Carried stream =
          new Carried(input.orElseGet(() -> model.embed(device.inputs(), pass)))) {
        for (int position = stage.firstPosition(); position <= stage.endPosition(); position++) {
          if (position > stage.firstPosition()) {
            HeadWalk.advance(stream, stage.trunk().get(position - stage.firstPosition() - 1), pass);
          }
          for (HeadLayers head : headsAt(position).reversed()) {
            scores.add(new HeadWalk(head, stream.get(), pass, device).score(Optional.empty()));
          }
        }
        return new Scored(List.copyOf(scores), scope.pass(stream.get()));
      }
    }
  }

  /** The heads that tap the stream at {@code position}, deepest first. */
  private List<HeadLayers> headsAt(int position) {
    return stage.heads().stream().filter(head -> head.tap() == position).toList().reversed();
  }

  private static Tensor zerosLike(Tensor x) {
    return Tensors.zeros(Tensors.scalarType(x), x.device(), x.size(0), x.size(1));
  }

  /** Which sequences of a microbatch go through a layer. */
  private sealed interface Part {
    record All() implements Part {}

    /**
     * @param index int64 [count]
     */
    record Some(Tensor index, long count) implements Part {}

    record None() implements Part {}
  }

  /**
   * The trunk's forward pass, and what it keeps: the stream before each branch and each branch's
   * tape.
   */
  public final class Walk implements AutoCloseable {
    private final Kept own = new Kept();
    private final DeviceBatch device;
    private final Pass pass;
    private final List<Part> parts; // by layer
    private final List<Stop> stops = new ArrayList<>();
    private final Map<Integer, HeadWalk.Up> ahead = new HashMap<>(); // by head

    /**
     * Where the walk stood before a branch, or at the end.
     *
     * @param stream [local rows, hidden]
     * @param kept owns the stream and the tape
     * @param tape absent at the end, where the branch is skipped, and with full recompute
     */
    private record Stop(Tensor stream, Kept kept, Optional<Branch.Tape> tape) {}

    private Walk(Microbatch batch, Optional<Tensor> input, Optional<Dropout> dropout) {
      try (Scope scope = Scope.open()) {
        device = DeviceBatch.of(batch, model, own);
        boolean selective = recompute == Recompute.SELECTIVE;
        pass = model.pass(batch.batch(), batch.sequence(), dropout, selective, own);
        parts = IntStream.range(0, layerDropout.length).mapToObj(this::part).toList();
        try (Carried stream =
            new Carried(input.orElseGet(() -> model.embed(device.inputs(), pass)))) {
          for (int i = 0; i < stage.trunk().size(); i++) {
            stops.add(forward(i, stream));
          }
          Kept kept = new Kept();
          stops.add(new Stop(kept.keep(stream.get()), kept, Optional.empty()));
        }
      }
    }

    private Part part(int layer) {
      double rate = layerDropout[layer];
      if (rate == 0 || pass.dropout().isEmpty()) {
        return new Part.All();
      }
      long[] kept =
          LongStream.range(0, pass.batch())
              .filter(
                  sequence ->
                      pass.dropout()
                              .get()
                              .uniform(LAYER_DROPOUT_SITE + layer * pass.batch() + sequence)
                          >= rate)
              .toArray();
      if (kept.length == pass.batch()) {
        return new Part.All();
      }
      return kept.length == 0
          ? new Part.None()
          : new Part.Some(
              own.keep(Tensors.ofLongs(kept, model.device(), kept.length)), kept.length);
    }

    /** The part of the microbatch that goes through the stage's branch i. */
    private Part partOf(int i) {
      return parts.get(stage.slice().firstLayer() + i / 2);
    }

    private Stop forward(int i, Carried stream) {
      try (Scope scope = Scope.open()) {
        Kept kept = new Kept();
        Tensor x = kept.keep(stream.get());
        if (partOf(i) instanceof Part.None) {
          stream.set(path(i).add(x, nothing(x.size(0))));
          return new Stop(x, kept, Optional.empty());
        }
        if (recompute == Recompute.FULL) {
          try (Kept forgotten = new Kept()) {
            Tensor delta = run(i, x, forgotten).delta();
            stream.set(path(i).add(x, spread(i, delta, x.size(0))));
          }
          return new Stop(x, kept, Optional.empty());
        }
        Branch.Output output = run(i, x, kept);
        stream.set(path(i).add(x, spread(i, output.delta(), x.size(0))));
        return new Stop(x, kept, Optional.of(output.tape()));
      }
    }

    private Branch.Output run(int i, Tensor x, Kept kept) {
      return stage.trunk().get(i).forward(select(i, x), passOf(i), kept);
    }

    /** The gradient of the stream before the branch at a position from that after it, g. */
    private Tensor backward(int position, Tensor g, Gradients gradients) {
      int i = position - stage.firstPosition();
      stops.get(i + 1).kept().close();
      try (Scope scope = Scope.open();
          Kept again = new Kept()) {
        if (partOf(i) instanceof Part.None) {
          return scope.pass(path(i).gradient(g, nothing(g.size(0))));
        }
        Stop stop = stops.get(i);
        Branch.Tape tape = stop.tape().orElseGet(() -> run(i, stop.stream(), again).tape());
        Tensor input = stage.trunk().get(i).backward(tape, select(i, g), passOf(i), gradients);
        return scope.pass(path(i).gradient(g, spread(i, input, g.size(0))));
      }
    }

    private ResidualPath path(int i) {
      return stage.trunk().get(i).path();
    }

    private Pass passOf(int i) {
      return partOf(i) instanceof Part.Some some ? pass.withBatch(some.count()) : pass;
    }

    /** The rows of the sequences that go through branch i. */
    private Tensor select(int i, Tensor x) {
      return partOf(i) instanceof Part.Some some
          ? bySequence(x).index_select(0, some.index()).view(-1, x.size(1))
          : x;
    }

    /** Rows of the sequences that went through branch i among all rows, the others' zero. */
    private Tensor spread(int i, Tensor own, long rows) {
      return partOf(i) instanceof Part.Some some
          ? bySequence(nothing(rows))
              .index_add_(0, some.index(), own.view(some.count(), -1))
              .view(rows, -1)
          : own;
    }

    /** What a branch that nothing goes through adds to the stream. */
    private Tensor nothing(long rows) {
      long hidden = model.architecture().model().hiddenSize();
      return Tensors.zeros(model.scalarType(), model.device(), rows, hidden);
    }

    private Tensor bySequence(Tensor x) {
      return x.view(pass.batch(), -1);
    }

    private HeadWalk through(HeadLayers head) {
      return new HeadWalk(head, stream(head.tap()), pass, device);
    }

    private Tensor stream(int position) {
      return stops.get(position - stage.firstPosition()).stream();
    }

    /** The stage's output, [local rows, hidden], until the walk back has begun. */
    public Tensor output() {
      return stops.getLast().stream();
    }

    @Override
    public void close() {
      stops.forEach(stop -> stop.kept().close());
      own.close();
    }
  }
}
