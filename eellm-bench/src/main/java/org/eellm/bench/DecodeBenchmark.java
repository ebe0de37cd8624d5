package org.eellm.bench;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.ToLongFunction;
import org.bytedeco.pytorch.Tensor;
import org.eellm.bench.StepTimer.Shape;
import org.eellm.bench.Turns.Figure;
import org.eellm.config.HeadId;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.RunConfig;
import org.eellm.decode.Batch;
import org.eellm.decode.backend.Backends;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.request.Limits;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterName.Embedding;
import org.eellm.model.parameter.ParameterName.OfDraftHead;
import org.eellm.model.parameter.ParameterName.OfExit;
import org.eellm.model.parameter.ParameterName.OfFinalNorm;
import org.eellm.model.parameter.ParameterName.OfLayer;
import org.eellm.model.parameter.ParameterName.OutputMatrix;
import org.eellm.tensor.DeviceThroughput;
import org.eellm.tensor.Torch;

/**
 * Times decoding with random weights: what rows cost in steps of the full model, and texts with
 * every token forced out at each head. All of it takes turns, so that ratios hold where the
 * machine's speed drifts.
 */
public final class DecodeBenchmark {
  private static final double MEMORY_SECONDS = 0.2;
  private static final double KERNEL_SECONDS = 0.01; // of a figure in a round, at least
  private static final int WARM_UP_ROUNDS = 2;

  /**
   * The measurements to make.
   *
   * @param rounds of all, after a warm-up
   * @param batches numbers of texts at once
   * @param tokens of each text
   * @param rows of steps, one row first
   * @param contexts positions before these rows
   */
  public record Plan(
      int rounds, List<Integer> batches, int tokens, List<Integer> rows, List<Integer> contexts) {
    public Plan {
      batches = List.copyOf(batches);
      rows = List.copyOf(rows);
      contexts = List.copyOf(contexts);
    }

    private List<Shape> shapes() {
      return contexts.stream()
          .flatMap(context -> rows.stream().map(count -> new Shape(count, context)))
          .toList();
    }
  }

  /**
   * Costs of rows in a step of the full model.
   *
   * @param kernel what multiplies
   * @param weightBytes of all packed weights; what several heads share counts once
   * @param withinCache whether these fit the processor's last cache
   * @param readBytesPerSecond the rate at which the same threads read the same weights
   */
  public record StepCosts(
      String kernel,
      long weightBytes,
      boolean withinCache,
      double readBytesPerSecond,
      List<Step> steps) {}

  /**
   * A step.
   *
   * @param context positions before the first row
   * @param step embedding, all layers and the final head
   * @param shareOfReadRate bytes of the step's weights a second, as a part of the rate at which
   *     weights are read
   */
  public record Step(int context, int rows, Cost step, double shareOfReadRate) {}

  /**
   * The time of a step.
   *
   * @param microseconds median of the rounds
   * @param ratio to the same of one row
   */
  public record Cost(double microseconds, double ratio) {}

  /**
   * Decoding in one mode.
   *
   * @param batch texts at once
   * @param head the head that all tokens leave at
   * @param layer its layer
   * @param tokensPerSecond of all texts together, median of the rounds; prompts not counted
   * @param bytesPerToken weights read for one block: the layers run and the head
   * @param readBytesPerSecond the weights' read rate that this is
   * @param speedup over the full model, median of the rounds
   * @param ideal the full model's bytes over this mode's
   * @param shareOfIdeal speedup over ideal
   */
  public record Mode(
      int batch,
      HeadId head,
      int layer,
      double tokensPerSecond,
      long bytesPerToken,
      double readBytesPerSecond,
      double speedup,
      double ideal,
      double shareOfIdeal) {}

  /**
   * Measurements of steps and modes.
   *
   * @param dtype number format of the matrices
   * @param tokens of each text
   * @param readBytesPerSecond of the weights by the same threads; of memory where libtorch computes
   * @param costs absent where libtorch computes
   */
  public record Report(
      String dtype,
      int threads,
      int rounds,
      int tokens,
      double readBytesPerSecond,
      Optional<StepCosts> costs,
      List<Mode> modes) {}

  private DecodeBenchmark() {}

  /**
   * Measures the configuration's model.
   *
   * @param quantization of its matrices; on GPUs alike for all
   */
  public static Report run(RunConfig config, MatrixQuantization quantization, Plan plan) {
    return RandomModel.measure(
        config,
        quantization,
        model -> run(model, config.train().seed(), plan, RandomModel.dtype(config, quantization)));
  }

  private static Report run(DecodingModel model, long seed, Plan plan, String dtype) {
    int most = Collections.max(plan.batches());
    int pages = Math.max(ForcedDecoding.pages(most, plan.tokens()), StepTimer.pages(plan.shapes()));
    Limits limits = Limits.of(model).withBatchSize(most);
    ModelRunner runner = Backends.runner(model, limits.vocabulary(), pages);
    try (Batch batch = new Batch(runner, limits)) {
      ForcedDecoding texts = new ForcedDecoding(model, batch, seed);
      Turns turns = new Turns();
      if (runner instanceof KernelRunner kernels) {
        kernels.weightReadRate(MEMORY_SECONDS); // warms up
        Figure read = turns.add(() -> kernels.weightReadRate(KERNEL_SECONDS).orElseThrow());
        try (StepTimer timer = new StepTimer(kernels, plan.shapes())) {
          Map<Shape, Figure> steps = new LinkedHashMap<>();
          for (Shape shape : plan.shapes()) {
            steps.put(shape, turns.add(() -> timer.time(shape, KERNEL_SECONDS)));
          }
          List<Mode> modes =
              measure(
                  texts,
                  plan,
                  turns,
                  head -> kernels.trunkBytes(head.layer()) + kernels.headBytes(head));
          return new Report(
              dtype,
              Torch.threads(),
              plan.rounds(),
              plan.tokens(),
              read.median(),
              Optional.of(costs(kernels, read, steps)),
              modes);
        }
      }
      Decoder decoder = (Decoder) model;
      Figure read = turns.add(() -> DeviceThroughput.memory(decoder.device(), MEMORY_SECONDS));
      List<Mode> modes = measure(texts, plan, turns, head -> bytes(decoder, head));
      return new Report(
          dtype,
          Torch.threads(),
          plan.rounds(),
          plan.tokens(),
          read.median(),
          Optional.empty(),
          modes);
    }
  }

  private static StepCosts costs(KernelRunner runner, Figure read, Map<Shape, Figure> seconds) {
    DecodingModel model = runner.model();
    long weights =
        runner.trunkBytes(model.architecture().model().numLayers())
            + runner.headBytes(model.allHeads().getLast());
    List<Step> steps = new ArrayList<>();
    List<Figure> single = new ArrayList<>();
    seconds.forEach(
        (shape, taken) -> {
          if (shape.rows() == 1) {
            single.add(taken);
          }
          steps.add(
              new Step(
                  shape.context(),
                  shape.rows(),
                  new Cost(1e6 * taken.median(), taken.over(single.getLast())),
                  weights / taken.median() / read.median()));
        });
    return new StepCosts(
        runner.kernelText(), runner.weightBytes(), runner.withinCache(), read.median(), steps);
  }

  /**
   * Adds texts to what takes turns, and measures all.
   *
   * @param bytes of weights that a token reads in the layers below a head and in the head
   */
  private static List<Mode> measure(
      ForcedDecoding texts, Plan plan, Turns turns, ToLongFunction<Head> bytes) {
    List<Head> heads = texts.model().allHeads();
    List<List<Figure>> rates = new ArrayList<>();
    for (int batch : plan.batches()) {
      rates.add(
          heads.stream()
              .map(head -> turns.add(() -> texts.tokensPerSecond(head, batch, plan.tokens())))
              .toList());
    }
    turns.take(WARM_UP_ROUNDS, plan.rounds());
    List<Mode> modes = new ArrayList<>();
    for (int i = 0; i < rates.size(); i++) {
      for (Head head : heads) {
        Figure rate = rates.get(i).get(heads.indexOf(head));
        double speedup = rate.over(rates.get(i).getLast());
        long read = bytes.applyAsLong(head);
        double ideal = (double) bytes.applyAsLong(heads.getLast()) / read;
        modes.add(
            new Mode(
                plan.batches().get(i),
                head.id(),
                head.layer(),
                rate.median(),
                read,
                read * rate.median() / plan.batches().get(i),
                speedup,
                ideal,
                speedup / ideal));
      }
    }
    return modes;
  }

  /** Weights that a token reads in the layers below a head and in the head. */
  private static long bytes(Decoder model, Head head) {
    long bytes = 0;
    for (var parameter : model.parameters().all()) {
      boolean read =
          switch (ParameterName.parse(parameter.name())) {
            case OfLayer below -> below.layer() < head.layer();
            case OfExit own ->
                head.id().equals(HeadId.exit(own.layer())) && !own.module().equals("lm_head");
            case OfFinalNorm _ -> !head.isExit();
            case Embedding _, OutputMatrix _, OfDraftHead _ -> false;
          };
      bytes += read ? bytes(parameter.value()) : 0;
    }
    return bytes + bytes(model.heads().get(head.index()).output().weight().value());
  }

  private static long bytes(Tensor tensor) {
    return tensor.numel() * tensor.element_size();
  }
}
