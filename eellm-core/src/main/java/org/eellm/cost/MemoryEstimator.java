package org.eellm.cost;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.Experts;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout.Slice;
import org.eellm.config.TrainConfig.Device;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.schedule.Action;
import org.eellm.schedule.Schedule;

/** Counts what training allocates on a rank, as org.eellm.train does it. */
public final class MemoryEstimator {
  private static final int FLOAT = 4;

  private final RunConfig config;
  private final Architecture architecture;
  private final Hardware hardware;
  private final MuonCosts orthogonalization;
  private final MicrobatchShape shape;
  private final List<AttentionShape> attentions;
  private final boolean keepsProbabilities;
  private final boolean full;
  private final Learning learning;

  public MemoryEstimator(RunConfig config, Hardware hardware) {
    this.config = config;
    this.architecture = config.architecture();
    this.hardware = hardware;
    this.orthogonalization = new MuonCosts(config, hardware);
    this.shape = MicrobatchShape.of(config, hardware.device());
    this.attentions = AttentionShape.ofRank(config, hardware);
    this.keepsProbabilities =
        config.train().recompute() == Recompute.NONE || config.parallel().cp() > 1;
    this.full = config.train().recompute() == Recompute.FULL;
    this.learning = config.tune().learning();
  }

  /** Bytes that live on a rank at some moment beside parameters and their state. */
  private record MemorySnapshot(long activations, long heads, long temporary, long messages) {
    long total() {
      return activations + heads + temporary + messages;
    }

    MemorySnapshot plus(long moreActivations, long moreMessages) {
      return new MemorySnapshot(
          activations + moreActivations, heads, temporary, messages + moreMessages);
    }
  }

  /**
   * The fullest moment of a stage's ranks.
   *
   * @param slices of the model that the stage has, by chunk
   */
  public Memory of(int stage, List<Slice> slices, Schedule schedule) {
    int replicas = config.parallel().copies();
    int ranks = config.parallel().tp();
    long held = ParameterCount.held(architecture, slices, ranks, learning);
    long learned = ParameterCount.learned(architecture, slices, ranks, learning);
    long padded = Math.ceilDiv(learned, replicas) * replicas;
    boolean mixed = config.model().dtype() != DataType.FLOAT32;
    long part = padded / replicas;
    long state = part * (mixed ? 3 * FLOAT : 2 * FLOAT); // Muon's matrices have one moment of two.
    long spared =
        learning == Learning.EVERYTHING
            ? FLOAT * (orthogonalization.elements(slices) / replicas)
            : 0;

    MemorySnapshot computing = fullest(stage, slices, schedule);
    // On CPUs, sums over replicas receive the others' parts beside the own; two that share memory
    // do not.
    long places = replicas > 2 ? padded : replicas == 2 ? part : 0;
    long received = hardware.device() == Device.CPU ? FLOAT * places : 0;
    MemorySnapshot summing =
        new MemorySnapshot(
            0,
            0,
            learning == Learning.EVERYTHING ? orthogonalization.temporary(slices, padded) : 0,
            received);
    MemorySnapshot fullest = larger(computing, summing);
    return new Memory(
        (held - learned + padded) * shape.bytes() + angles(),
        FLOAT * padded + (replicas > 1 ? FLOAT * part : 0),
        state - spared,
        fullest.activations(),
        fullest.heads(),
        fullest.temporary(),
        fullest.messages(),
        hardware.baseBytes());
  }

  /**
   * The larger of two moments. On the CPU it is the larger of each kind of memory: the C library's
   * allocator does not join what was freed where small objects lie in between, so what one kind
   * leaves is of no use to another with larger tensors.
   */
  private MemorySnapshot larger(MemorySnapshot a, MemorySnapshot b) {
    if (hardware.device() == Device.CPU) {
      return new MemorySnapshot(
          Math.max(a.activations(), b.activations()),
          Math.max(a.heads(), b.heads()),
          Math.max(a.temporary(), b.temporary()),
          Math.max(a.messages(), b.messages()));
    }
    return a.total() < b.total() ? b : a;
  }

  /** The rotations of all positions. */
  private long angles() {
    ModelConfig model = architecture.model();
    long tables =
        model.layerTypes().stream()
            .map(model::positions)
            .filter(ModelConfig.Positions::rotary)
            .distinct()
            .count();
    return tables * 3 * model.maxPositions() * model.headDim() * shape.bytes();
  }

  /** The fullest moment of a stage's forward and backward passes. */
  private MemorySnapshot fullest(int stage, List<Slice> slices, Schedule schedule) {
    if (!learning.goesThroughTrunk()) {
      return fullestOfTuning(stage, slices, schedule);
    }
    List<Long> kept = slices.stream().map(this::kept).toList();
    boolean splits = schedule.kind().splitsBackward();
    List<Long> postponed = slices.stream().map(slice -> splits ? postponed(slice) : 0).toList();
    List<MemorySnapshot> backwardPeaks =
        slices.stream().map(slice -> backwardPeak(slice, splits)).toList();
    boolean distilled = config.exits().distillation() > 0; // The final head's normed state, too.
    long message = (distilled ? 2 : 1) * shape.ofRows(shape.hidden());
    long live = 0;
    MemorySnapshot fullest = new MemorySnapshot(0, 0, 0, 0);
    for (Action action : schedule.actions().get(stage)) {
      int chunk = action.chunk();
      boolean goesBack = action.microbatch().hasBackwardOn(schedule.virtualStage(stage, chunk));
      switch (action) {
        case Action.Forward _ when goesBack -> live += kept.get(chunk);
        case Action.Backward _ -> {
          live -= kept.get(chunk);
          MemorySnapshot now =
              backwardPeaks.get(chunk).plus(live, schedule.stages() > 1 ? 2 * message : 0);
          fullest = larger(fullest, now);
          live += postponed.get(chunk);
        }
        case Action.BackwardWeights _ -> live -= postponed.get(chunk);
        default -> {}
      }
    }
    return fullest;
  }

  /** Forward passes that keep nothing but what the heads wait for, and one head at a time. */
  private MemorySnapshot fullestOfTuning(int stage, List<Slice> slices, Schedule schedule) {
    long live = 0;
    long kept = 0;
    for (Action action : schedule.actions().get(stage)) {
      long taps = 1 + slices.get(action.chunk()).exits().size();
      long waiting = ofEnd() + taps * shape.ofRows(shape.hidden());
      switch (action) {
        case Action.Tune _ -> kept = Math.max(kept, ofEnd());
        case Action.Forward _ -> {
          live += waiting;
          kept = Math.max(kept, live);
        }
        case Action.Backward _ -> live -= waiting;
        default -> {}
      }
    }
    boolean hasExits = slices.stream().anyMatch(slice -> !slice.exits().isEmpty());
    long branch =
        streamBetweenHalves()
            + Math.max(
                slices.stream().mapToLong(this::fullestAttention).max().orElseThrow(),
                Math.max(wholeMlpTape(), expertsTape()));
    return new MemorySnapshot(
        kept,
        hasExits ? exitHead() : 0,
        branch,
        schedule.stages() > 1 ? 2 * shape.ofRows(shape.hidden()) : 0);
  }

  /** Bytes that the fullest forward pass of a slice's attentions takes. */
  private long fullestAttention(Slice slice) {
    return layers(slice)
        .mapToObj(attentions::get)
        .distinct()
        .mapToLong(
            attention ->
                wholeAttentionTape(attention)
                    + (attention.fused() ? 0 : attention.blockScores() * shape.bytes()))
        .max()
        .orElse(0);
  }

  private static IntStream layers(Slice slice) {
    return IntStream.range(slice.firstLayer(), slice.endLayer());
  }

  /** Bytes that a microbatch's forward pass through a slice keeps. */
  private long kept(Slice slice) {
    return layers(slice).mapToObj(attentions::get).mapToLong(this::attentionTape).sum()
        + slice.layers() * mlpTape()
        + ofEnd();
  }

  /** The output and what the pass knows of its tokens: ids, targets, mask, documents. */
  private long ofEnd() {
    return shape.ofRows(shape.hidden()) + 28 * shape.tokens();
  }

  private long attentionTape(AttentionShape attention) {
    return full ? shape.ofRows(shape.hidden()) : wholeAttentionTape(attention);
  }

  private long wholeAttentionTape(AttentionShape attention) {
    ModelConfig model = architecture.model();
    long wide = shape.query() + shape.keyValue();
    long normed = model.qkNorm() || model.qkNormWhole() ? shape.ofTokens(wide) : 0;
    long probabilities = keepsProbabilities ? attentionState(attention) : 0;
    return shape.ofRows(shape.hidden())
        + norms()
        + normed
        + shape.ofTokens(wide + shape.query())
        + probabilities;
  }

  /** What a branch's norms keep: the output of the first, and the input of one behind. */
  private long norms() {
    return architecture.model().normPlacement().norms() * shape.ofRows(shape.hidden());
  }

  /** Bytes that attention keeps for its backward pass: the softmax, or a fused kernel's output. */
  private long attentionState(AttentionShape attention) {
    if (config.parallel().cp() > 1) {
      return shape.perQuery();
    }
    return attention.fused() ? shape.ofTokens(shape.query()) : attention.scores() * shape.bytes();
  }

  /** A block's scores while it goes back, and its softmax again where that is recomputed. */
  private long attentionScores(AttentionShape attention) {
    if (attention.fused()) {
      return keepsProbabilities || full ? 0 : 2 * shape.ofTokens(shape.query());
    }
    if (config.parallel().cp() > 1) {
      return ringState(attention);
    }
    long again = keepsProbabilities || full ? 0 : 1;
    long dropped = architecture.model().attentionDropout() > 0 ? 1 : 0;
    long capped = attention.capped() ? 2 : 0; // The scores again, and the cap's derivative.
    return (1 + again + dropped + capped) * attention.blockScores() * shape.bytes();
  }

  /**
   * In a ring, the float32 scores of a piece and their gradient, and what goes round: keys and
   * values here and on the way, and three float32 sums like them; beside the queries' gradient.
   */
  private long ringState(AttentionShape attention) {
    int copies =
        3 + (architecture.model().attentionDropout() > 0 ? 1 : 0) + (attention.capped() ? 1 : 0);
    return copies * FLOAT * attention.blockScores()
        + 2 * shape.ofTokens(shape.keyValue())
        + FLOAT * shape.tokens() * (3 * shape.keyValue() + 2 * shape.query())
        + 2 * shape.perQuery();
  }

  /** Bytes of a microbatch that wait for the gradients of matrices, where these are made later. */
  public long postponed(Slice slice) {
    long layer = attentionPostponed() + mlpPostponed();
    return slice.layers() * layer + slice.exits().size() * exitPostponed();
  }

  private long exitPostponed() {
    ExitLayout exits = architecture.exits();
    return (exits.mlp() ? mlpPostponed() : 0)
        + (exits.block() ? attentionPostponed() + mlpPostponed() : 0);
  }

  private long attentionPostponed() {
    return 2 * shape.ofRows(shape.hidden()) + shape.ofTokens(2 * shape.query() + shape.keyValue());
  }

  private long mlpPostponed() {
    return 2 * shape.ofRows(shape.hidden()) + shape.ofTokens(shape.inner() + shape.active());
  }

  private long mlpTape() {
    return full ? streamBetweenHalves() : wholeMlpTape();
  }

  private long wholeMlpTape() {
    return streamBetweenHalves() + norms() + shape.ofTokens(shape.inner() + shape.active());
  }

  /** What experts take, if all tokens go to one of them; the router computes in float32. */
  private long expertsTape() {
    Experts experts = architecture.model().experts();
    return experts.count() == 0
        ? 0
        : streamBetweenHalves()
            + norms()
            + shape.ofTokens(3 * shape.hidden() + 3L * experts.hiddenSize() / shape.ranks())
            + FLOAT * shape.tokens() * (shape.hidden() + 2L * experts.count());
  }

  /** Between a layer's attention and MLP, where it has both of what parallel residuals add up. */
  private long streamBetweenHalves() {
    boolean parallel = architecture.model().residual() == Residual.PARALLEL;
    return shape.ofRows(parallel ? 2 * shape.hidden() : shape.hidden());
  }

  /**
   * The fullest moment of a microbatch's backward pass through a slice.
   *
   * @param splits whether what the matrices' gradients need stays
   */
  private MemorySnapshot backwardPeak(Slice slice, boolean splits) {
    List<Long> tapes = new ArrayList<>();
    for (int layer = slice.firstLayer(); layer < slice.endLayer(); layer++) {
      tapes.add(attentionTape(attentions.get(layer)));
      tapes.add(mlpTape());
    }
    tapes.add(ofEnd());
    long gradient = streamBetweenHalves();
    long kept = splits ? postponed(slice) : 0;
    MemorySnapshot fullest = new MemorySnapshot(0, 0, 0, 0);
    boolean early = runsHeadsEarly(slice);
    if (early) {
      long all = tapes.stream().mapToLong(Long::longValue).sum();
      int exits = slice.exits().size();
      long tapped =
          architecture.exits().mlp() ? streamBetweenHalves() : shape.ofRows(shape.hidden());
      long later = splits ? exits * exitPostponed() : 0;
      fullest = new MemorySnapshot(all + exits * tapped + later, exitHead(), 0, 0);
      kept += exits * tapped;
    }
    for (int i = 0; i < tapes.size(); i++) {
      kept += tapes.get(i);
      long own = i == tapes.size() - 1 ? 0 : i % 2 == 0 ? attentionPostponed() : mlpPostponed();
      kept -= splits ? own : 0;
      List<MemorySnapshot> here = new ArrayList<>();
      if (i < tapes.size() - 1) {
        long temporary =
            i % 2 == 0
                ? attentionTemporary(attentions.get(slice.firstLayer() + i / 2))
                : mlpTemporary();
        here.add(new MemorySnapshot(kept, 0, gradient + temporary, 0));
      }
      if (!early && hasExit(slice, 2 * slice.firstLayer() + i)) {
        here.add(new MemorySnapshot(kept + (splits ? own : 0), exitHead(), gradient, 0));
      }
      if (slice.hasFinalHead() && i == tapes.size() - 1) {
        here.add(new MemorySnapshot(kept, output() + shape.ofRows(shape.hidden()), gradient, 0));
      }
      for (MemorySnapshot moment : here) {
        fullest = larger(fullest, moment);
      }
    }
    return fullest;
  }

  /** Whether the heads run while a gradient is on its way, before any tape has been freed. */
  private boolean runsHeadsEarly(Slice slice) {
    return !slice.exits().isEmpty() && !slice.hasFinalHead() && !config.exitsAwaitFinalHead();
  }

  private boolean hasExit(Slice slice, int branch) {
    int below = architecture.exits().mlp() ? 1 : 0;
    return slice.exits().contains((branch + below) / 2) && (branch + below) % 2 == 0;
  }

  /** Bytes that an exit's head needs while it runs. */
  private long exitHead() {
    ExitLayout exits = architecture.exits();
    long teacher =
        config.exits().distillation() > 0 || learning == Learning.EXITS_FROM_FINAL_HEAD
            ? shape.ofRows(shape.hidden()) + shape.headTokens() * shape.vocabulary() * shape.bytes()
            : 0;
    return output()
        + teacher
        + (exits.norm() ? shape.ofRows(shape.hidden()) : 0)
        + (exits.mlp() ? wholeMlpTape() : 0)
        + (exits.block() ? wholeAttentionTape(attentions.getLast()) + wholeMlpTape() : 0);
  }

  /** An output matrix with its loss: a chunk's logits, their gradient, and what follows from it. */
  private long output() {
    long chunk = shape.headTokens();
    long logits = chunk * shape.vocabulary();
    boolean mixed = shape.bytes() < FLOAT;
    long probabilities =
        shape.fused() && shape.ranks() == 1
            ? 0
            : logits
                * ((shape.ranks() > 1 && mixed ? FLOAT : 0) + FLOAT + (mixed ? shape.bytes() : 0));
    long scaled = chunk * shape.hidden() * (mixed ? 2 * (FLOAT + shape.bytes()) : 3 * FLOAT);
    long gathered = shape.sharesRows() ? shape.ofTokens(shape.hidden()) : 0;
    return gathered
        + shape.ofTokens(shape.hidden())
        + logits * shape.bytes() * (architecture.model().logitSoftcap() > 0 ? 2 : 1)
        + probabilities
        + matrixGradient(shape.vocabulary())
        + scaled;
  }

  private long attentionTemporary(AttentionShape attention) {
    long wide = shape.query() + shape.keyValue();
    long again = full ? wholeAttentionTape(attention) - shape.ofRows(shape.hidden()) : 0;
    long gathered = shape.sharesRows() ? 2 * shape.ofTokens(shape.hidden()) : 0;
    return again
        + gathered
        + shape.ofTokens(shape.query()) * 3
        + shape.ofTokens(shape.keyValue())
        + attentionScores(attention)
        + shape.ofTokens(wide)
        + matrixGradient(Math.max(wide, shape.query()))
        + ofChanges(LowRankMaps.ofAttention(architecture.model(), learning, shape.ranks()))
        + 2 * shape.ofTokens(shape.hidden());
  }

  private long mlpTemporary() {
    long again = full ? wholeMlpTape() - streamBetweenHalves() : 0;
    long gathered = shape.sharesRows() ? 2 * shape.ofTokens(shape.hidden()) : 0;
    return again
        + gathered
        + shape.ofTokens(shape.active() + shape.inner())
        + matrixGradient(shape.inner())
        + ofChanges(LowRankMaps.ofMlp(architecture.model(), learning, shape.ranks()))
        + 2 * shape.ofTokens(shape.hidden());
  }

  /** A matrix's gradient before it is added to the float32 sum. */
  private long matrixGradient(long width) {
    boolean learns = !(learning instanceof Learning.Adapter);
    return learns && shape.bytes() < FLOAT ? width * shape.hidden() * shape.bytes() : 0;
  }

  /** What A gives, its gradient as parts and whole, and what is dropped, of the widest maps. */
  private long ofChanges(List<LowRankMaps> changes) {
    int dropped = config.tune().lora().dropout() > 0 ? 2 : 0;
    return changes.stream()
        .mapToLong(maps -> shape.ofTokens(3 * maps.inner() + dropped * maps.in()))
        .max()
        .orElse(0);
  }
}
