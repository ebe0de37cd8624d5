package org.eellm.train.optimizer;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.checkpoint.FlatStateShard;
import org.eellm.config.OptimizerConfig;
import org.eellm.model.parameter.Parameters;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.kernel.AdamWStep;

/**
 * AdamW with decoupled weight decay on flat float32 buffers: {@code p -= lr * wd * p} for matrices,
 * then {@code p -= lr * mhat / (sqrt(vhat) + epsilon)}. The update goes by chunks that stay in a
 * CPU's cache, so that each buffer comes from memory once.
 */
public final class AdamW implements Optimizer {
  /** Elements of a chunk on a CPU: five float32 buffers of it are 10 MiB. */
  private static final long CPU_CHUNK = 512 * 1024;

  /** On a GPU, which waits for each operation's launch; a temporary of it is 64 MiB. */
  private static final long GPU_CHUNK = 16L << 20;

  /** Elements whose squares are summed in float32. */
  private static final long ROW = 4096;

  private final RetainedTensors retained = new RetainedTensors();
  private final Parameters parameters;
  private final OptimizerConfig config;
  private final List<Moments> pieces;

  /**
   * The state of a piece, float32.
   *
   * @param master weights; the parameters themselves where these are float32
   */
  private record Moments(FlatRange piece, Tensor master, Tensor first, Tensor second) {}

  /**
   * Moments of zero; master weights are the parameters as they are.
   *
   * @param pieces of the flat buffer that this rank updates
   */
  AdamW(Parameters parameters, OptimizerConfig config, List<FlatRange> pieces) {
    this.parameters = parameters;
    this.config = config;
    Tensor flat = parameters.flat();
    List<Moments> moments = new ArrayList<>();
    try (Scope scope = Scope.open()) {
      for (FlatRange piece : pieces) {
        long length = piece.length();
        moments.add(
            new Moments(
                piece,
                retained.retain(piece.of(flat).to(ScalarType.Float)),
                retained.retain(Tensors.zeros(ScalarType.Float, flat.device(), length)),
                retained.retain(Tensors.zeros(ScalarType.Float, flat.device(), length))));
      }
    }
    this.pieces = List.copyOf(moments);
  }

  /**
   * The optimizer's state: {@code exp_avg}, {@code exp_avg_sq} and, where the parameters are not
   * float32 themselves, {@code master}.
   */
  @Override
  public List<FlatStateShard> state() {
    return pieces.stream()
        .flatMap(
            moments -> {
              long start = moments.piece().start();
              Stream<FlatStateShard> both =
                  Stream.of(
                      new FlatStateShard("exp_avg", start, moments.first()),
                      new FlatStateShard("exp_avg_sq", start, moments.second()));
              return isMixed()
                  ? Stream.concat(
                      Stream.of(new FlatStateShard("master", start, moments.master())), both)
                  : both;
            })
        .toList();
  }

  private boolean isMixed() {
    return Tensors.scalarType(parameters.flat()) != ScalarType.Float;
  }

  @Override
  public void update(List<Tensor> gradients, double gradientScale, double learningRate, long step) {
    long decayed = parameters.decayedCount();
    long chunk = parameters.flat().device().is_cpu() ? CPU_CHUNK : GPU_CHUNK;
    AdamWStep decaying = step(gradientScale, learningRate, step, config.weightDecay());
    AdamWStep plain = step(gradientScale, learningRate, step, 0);
    for (int i = 0; i < pieces.size(); i++) {
      Moments moments = pieces.get(i);
      FlatRange piece = moments.piece();
      for (long start = piece.start(); start < piece.end(); ) {
        boolean decays = start < decayed;
        long limit = decays ? Math.min(decayed, piece.end()) : piece.end();
        long end = Math.min(start + chunk, limit);
        updateChunk(
            moments,
            gradients.get(i),
            start - piece.start(),
            end - start,
            decays ? decaying : plain);
        start = end;
      }
    }
  }

  private AdamWStep step(double gradientScale, double learningRate, long step, double weightDecay) {
    double correction1 = 1 - Math.pow(config.beta1(), step);
    double correction2 = Math.sqrt(1 - Math.pow(config.beta2(), step));
    return new AdamWStep(
        config.beta1(),
        (1 - config.beta1()) * gradientScale,
        config.beta2(),
        (1 - config.beta2()) * gradientScale * gradientScale,
        config.epsilon() * correction2,
        1 - learningRate * weightDecay,
        learningRate * correction2 / correction1);
  }

  private void updateChunk(
      Moments moments, Tensor gradient, long start, long count, AdamWStep update) {
    try (Scope scope = Scope.open()) {
      Tensor g = gradient.narrow(0, start, count);
      Tensor m = moments.first().narrow(0, start, count);
      Tensor v = moments.second().narrow(0, start, count);
      Tensor p = moments.master().narrow(0, start, count);
      Tensor out = isMixed() ? moments.piece().of(parameters.flat()).narrow(0, start, count) : p;
      update.apply(g, m, v, p, out);
    }
  }

  /**
   * The sum of squares of a flat float32 buffer, a float64 scalar: by rows that are short enough
   * for float32, and over rows in float64.
   */
  static Tensor squares(Tensor flat) {
    try (Scope scope = Scope.open()) {
      long rows = flat.numel() / ROW;
      Tensor squares = squares(flat.narrow(0, rows * ROW, flat.numel() - rows * ROW), 1);
      return scope.moveToOuter(
          rows == 0 ? squares : squares.add_(squares(flat.narrow(0, 0, rows * ROW), rows)));
    }
  }

  private static Tensor squares(Tensor flat, long rows) {
    return torch
        .linalg_vector_norm(
            flat.view(rows, -1), new Scalar(2.0), new long[] {1}, false, new ScalarTypeOptional())
        .to(ScalarType.Double)
        .square_()
        .sum();
  }

  /**
   * The factor that brings a gradient of {@code norm} to at most {@code clipNorm}; 1 where clipNorm
   * is 0.
   */
  public static double clipScale(double norm, double clipNorm) {
    return clipNorm == 0 ? 1 : Math.min(1, clipNorm / (norm + 1e-6));
  }

  @Override
  public void close() {
    retained.close();
  }
}
