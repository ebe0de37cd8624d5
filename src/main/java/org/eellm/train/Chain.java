package org.eellm.train;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.model.Branch;
import org.eellm.model.Decoder;
import org.eellm.model.Dropout;
import org.eellm.model.Gradients;
import org.eellm.model.Head;
import org.eellm.model.Pass;
import org.eellm.tensor.Carried;
import org.eellm.tensor.Kept;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * One microbatch through the model and back. Forward walks the trunk's branches and keeps what
 * backward needs; no head runs. Backward walks from last to first with the gradient g of the stream
 * in hand: where a head taps the stream it runs now, forward and backward, and its gradient is
 * added to g (EE-LLM, arXiv 2312.04916, section 3.1: heads deferred to the backward pass). So at
 * most one head's logits exist at a time, and activations are freed as the walk passes.
 */
public final class Chain {
  /** Sites of dropout keys from here on decide which sequences skip a layer. */
  private static final long LAYER_DROPOUT_SITE = 1L << 40;

  private final Decoder model;
  private final Recompute recompute;
  private final double[] layerDropout;

  /**
   * @param layerDropout each layer's probability of being skipped by a sequence
   */
  public Chain(Decoder model, Recompute recompute, double[] layerDropout) {
    this.model = model;
    this.recompute = recompute;
    this.layerDropout = layerDropout.clone();
  }

  /**
   * A head's part of a microbatch.
   *
   * @param head its name
   * @param loss mean over the mask of the cross entropy, with dynamic token weights where these are
   *     on, without the head's weight
   */
  public record HeadResult(String head, double loss) {}

  /**
   * A head's sums over the positions of a microbatch that the mask counts.
   *
   * @param head its name
   * @param loss cross entropy in nats
   * @param correct positions where the likeliest token is the target
   * @param tokens positions
   */
  public record HeadScore(String head, double loss, double correct, double tokens) {}

  /** Device copies of a microbatch's inputs, targets and mask, [b s] each, and the mask's sum. */
  private record Device(Tensor inputs, Tensor targets, Tensor mask, double count) {}

  /**
   * Runs forward and backward, adding the gradients of {@code share * objective}.
   *
   * @param share of this microbatch in the step: 1 / number of microbatches
   * @param dropout key of this microbatch; absent where neither dropout nor layer dropout is used
   * @return the results of the heads whose weight is not 0, in order of depth
   */
  public List<HeadResult> forwardBackward(
      Microbatch batch,
      Objective objective,
      double share,
      Optional<Dropout> dropout,
      Gradients gradients) {
    try (Scope scope = Scope.open()) {
      Device device = onDevice(batch);
      Pass pass =
          model.pass(batch.batch(), batch.sequence(), dropout, recompute == Recompute.SELECTIVE);
      int top = model.trunk().size();
      List<Tensor> losses = new ArrayList<>();
      List<String> names = new ArrayList<>();
      try (Walk walk = new Walk(device.inputs(), pass);
          Carried gradient = new Carried(torchZerosLike(walk.stream(top)))) {
        for (int position = top; position >= 0; position--) {
          if (position < top) {
            try (Scope step = Scope.open()) {
              gradient.set(walk.backward(position, gradient.get(), gradients));
            }
          }
          for (int h : headsAt(position)) {
            double weight = objective.weights().get(h);
            if (weight == 0) {
              continue;
            }
            Head head = model.heads().get(h);
            try (Scope step = Scope.open()) {
              HeadLoss.Result result =
                  head(
                      head,
                      walk.stream(position),
                      device,
                      weight * share / device.count(),
                      objective.temperatures().get(h),
                      objective.dynamicTokenWeights() && h < model.heads().size() - 1,
                      pass,
                      gradients);
              gradient.get().add_(result.gradient());
              losses.add(scope.pass(result.loss()));
              names.add(head.name());
            }
          }
        }
        model.embedBackward(device.inputs(), gradient.get(), pass, gradients);
      }
      return IntStream.range(0, names.size())
          .mapToObj(i -> new HeadResult(names.get(i), losses.get(i).item_double() / device.count()))
          .toList()
          .reversed();
    }
  }

  /** Runs forward and every head, without gradients or dropout. */
  public List<HeadScore> score(Microbatch batch) {
    try (Scope scope = Scope.open()) {
      Device device = onDevice(batch);
      Pass pass = model.pass(batch.batch(), batch.sequence(), Optional.empty(), false);
      List<HeadScore> scores = new ArrayList<>();
      try (Carried stream = new Carried(model.embed(device.inputs(), pass))) {
        for (int position = 0; position <= model.trunk().size(); position++) {
          if (position > 0) {
            advance(stream, model.trunk().get(position - 1), pass);
          }
          for (int h : headsAt(position).reversed()) {
            scores.add(score(model.heads().get(h), stream.get(), device, pass));
          }
        }
      }
      return List.copyOf(scores);
    }
  }

  private static HeadScore score(Head head, Tensor stream, Device device, Pass pass) {
    try (Scope scope = Scope.open();
        Carried x = new Carried(stream)) {
      head.branches().forEach(branch -> advance(x, branch, pass));
      HeadLoss.Score score =
          HeadLoss.score(head.normed(x.get()), head.output(), device.targets(), device.mask());
      return new HeadScore(
          head.name(), score.loss().item_double(), score.correct().item_double(), device.count());
    }
  }

  /** The stream after {@code branch}, keeping nothing. */
  private static void advance(Carried stream, Branch branch, Pass pass) {
    try (Scope scope = Scope.open();
        Kept forgotten = new Kept()) {
      stream.set(branch.forward(stream.get(), pass, forgotten).delta().add_(stream.get()));
    }
  }

  /** The heads that tap the stream at {@code position}, deepest first. */
  private List<Integer> headsAt(int position) {
    return IntStream.range(0, model.heads().size())
        .filter(h -> model.heads().get(h).tap() == position)
        .boxed()
        .toList()
        .reversed();
  }

  private HeadLoss.Result head(
      Head head,
      Tensor stream,
      Device device,
      double scale,
      double temperature,
      boolean dynamic,
      Pass pass,
      Gradients gradients) {
    try (Scope scope = Scope.open();
        Kept kept = new Kept()) {
      Tensor x = stream;
      List<Branch.Tape> tapes = new ArrayList<>();
      for (Branch branch : head.branches()) {
        Branch.Output output = branch.forward(x, pass, kept);
        tapes.add(output.tape());
        x = output.delta().add_(x);
      }
      HeadLoss.Result result =
          HeadLoss.forwardBackward(
              head.normed(x),
              head.output(),
              device.targets(),
              device.mask(),
              scale,
              temperature,
              dynamic,
              gradients);
      Tensor g = head.normBackward(x, result.gradient(), gradients);
      for (int i = tapes.size() - 1; i >= 0; i--) {
        g = head.branches().get(i).backward(tapes.get(i), g, pass, gradients).add_(g);
      }
      return new HeadLoss.Result(scope.pass(result.loss()), scope.pass(g));
    }
  }

  private Device onDevice(Microbatch batch) {
    long n = batch.inputs().length;
    double count = 0;
    for (float value : batch.lossMask()) {
      count += value;
    }
    return new Device(
        Tensors.ofInts(batch.inputs(), model.device(), n),
        Tensors.ofInts(batch.targets(), model.device(), n),
        Tensors.ofFloats(batch.lossMask(), model.device(), n),
        Math.max(count, 1));
  }

  private static Tensor torchZerosLike(Tensor x) {
    return Tensors.zeros(x.scalar_type(), x.device(), x.size(0), x.size(1));
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
  private final class Walk implements AutoCloseable {
    private final Pass pass;
    private final List<Part> parts; // by layer
    private final List<Stop> stops = new ArrayList<>();

    /**
     * Where the walk stood before a branch, or at the end.
     *
     * @param stream [b s, hidden]
     * @param kept owns the stream and the tape
     * @param tape absent at the end, where the branch is skipped, and with full recompute
     */
    private record Stop(Tensor stream, Kept kept, Optional<Branch.Tape> tape) {}

    Walk(Tensor inputs, Pass pass) {
      this.pass = pass;
      parts = IntStream.range(0, layerDropout.length).mapToObj(this::part).toList();
      try (Scope scope = Scope.open();
          Carried stream = new Carried(model.embed(inputs, pass))) {
        for (int i = 0; i < model.trunk().size(); i++) {
          stops.add(forward(i, stream));
        }
        Kept kept = new Kept();
        stops.add(new Stop(kept.keep(stream.get()), kept, Optional.empty()));
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
          : new Part.Some(Tensors.ofLongs(kept, model.device(), kept.length), kept.length);
    }

    private Stop forward(int i, Carried stream) {
      try (Scope scope = Scope.open()) {
        Kept kept = new Kept();
        Tensor x = kept.keep(stream.get());
        if (parts.get(i / 2) instanceof Part.None) {
          return new Stop(x, kept, Optional.empty());
        }
        if (recompute == Recompute.FULL) {
          try (Kept forgotten = new Kept()) {
            stream.set(addDelta(i, x, run(i, x, forgotten).delta()));
          }
          return new Stop(x, kept, Optional.empty());
        }
        Branch.Output output = run(i, x, kept);
        stream.set(addDelta(i, x, output.delta()));
        return new Stop(x, kept, Optional.of(output.tape()));
      }
    }

    private Branch.Output run(int i, Tensor x, Kept kept) {
      return model.trunk().get(i).forward(select(i, x), passOf(i), kept);
    }

    /** The gradient of the stream before branch i from that after it, g. */
    Tensor backward(int i, Tensor g, Gradients gradients) {
      stops.get(i + 1).kept().close();
      if (parts.get(i / 2) instanceof Part.None) {
        return g;
      }
      try (Scope scope = Scope.open();
          Kept again = new Kept()) {
        Stop stop = stops.get(i);
        Branch.Tape tape = stop.tape().orElseGet(() -> run(i, stop.stream(), again).tape());
        Tensor delta = model.trunk().get(i).backward(tape, select(i, g), passOf(i), gradients);
        return scope.pass(addDelta(i, g, delta));
      }
    }

    private Pass passOf(int i) {
      return parts.get(i / 2) instanceof Part.Some some ? pass.withBatch(some.count()) : pass;
    }

    /** The rows of the sequences that go through branch i. */
    private Tensor select(int i, Tensor x) {
      return parts.get(i / 2) instanceof Part.Some some
          ? bySequence(x).index_select(0, some.index()).view(-1, x.size(1))
          : x;
    }

    /** {@code x} plus the output of branch i for the sequences that went through it. */
    private Tensor addDelta(int i, Tensor x, Tensor delta) {
      return parts.get(i / 2) instanceof Part.Some some
          ? bySequence(x)
              .index_add(0, some.index(), delta.view(some.count(), -1))
              .view(-1, x.size(1))
          : delta.add_(x);
    }

    private Tensor bySequence(Tensor x) {
      return x.view(pass.batch(), -1);
    }

    Tensor stream(int position) {
      return stops.get(position).stream();
    }

    @Override
    public void close() {
      stops.forEach(stop -> stop.kept().close());
    }
  }
}
