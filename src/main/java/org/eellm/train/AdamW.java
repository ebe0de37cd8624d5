package org.eellm.train;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.OptimizerConfig;
import org.eellm.model.Gradients;
import org.eellm.model.Parameters;
import org.eellm.tensor.Kept;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.kernel.AdamWStep;

/**
 * AdamW with decoupled weight decay on flat float32 buffers: {@code p -= lr * wd * p} for matrices,
 * then {@code p -= lr * mhat / (sqrt(vhat) + epsilon)}. The update goes by chunks that stay in the
 * processor's cache, so that each buffer comes from memory once.
 */
public final class AdamW implements AutoCloseable {
  /** Elements of a chunk: five float32 buffers of it are 10 MiB. */
  private static final long CHUNK = 512 * 1024;

  private final Kept kept = new Kept();
  private final Parameters parameters;
  private final OptimizerConfig config;
  private final Tensor master;
  private final Tensor firstMoment;
  private final Tensor secondMoment;

  /** Moments of zero; master weights are the parameters as they are. */
  public AdamW(Parameters parameters, OptimizerConfig config) {
    this.parameters = parameters;
    this.config = config;
    Tensor flat = parameters.flat();
    try (Scope scope = Scope.open()) {
      master = kept.keep(flat.to(ScalarType.Float)); // the parameters themselves in float32
      firstMoment = kept.keep(Tensors.zeros(ScalarType.Float, flat.device(), flat.numel()));
      secondMoment = kept.keep(Tensors.zeros(ScalarType.Float, flat.device(), flat.numel()));
    }
  }

  /** A flat buffer of the optimizer's state, laid out as {@link Parameters#flat}. */
  public record State(String name, Tensor flat) {}

  /** The optimizer's state: {@code master}, {@code exp_avg} and {@code exp_avg_sq}, in float32. */
  public List<State> state() {
    return List.of(
        new State("master", master),
        new State("exp_avg", firstMoment),
        new State("exp_avg_sq", secondMoment));
  }

  /** Makes the compute weights those of the master weights, after these were loaded. */
  public void publish() {
    if (isMixed()) {
      parameters.flat().copy_(master);
    }
  }

  /**
   * Updates the parameters.
   *
   * @param gradients finished, of this step
   * @param gradientScale what the gradients are multiplied with: clipping
   * @param step 1 at the first update
   */
  public void update(Gradients gradients, double gradientScale, double learningRate, long step) {
    long decayed = parameters.decayedCount();
    for (long start = 0; start < parameters.count(); ) {
      boolean decays = start < decayed;
      long end = Math.min(start + CHUNK, decays ? decayed : parameters.count());
      updateChunk(gradients, gradientScale, learningRate, step, start, end - start, decays);
      start = end;
    }
  }

  private void updateChunk(
      Gradients gradients,
      double gradientScale,
      double learningRate,
      long step,
      long start,
      long count,
      boolean decays) {
    try (Scope scope = Scope.open()) {
      Tensor g = gradients.flat().narrow(0, start, count);
      Tensor m = firstMoment.narrow(0, start, count);
      Tensor v = secondMoment.narrow(0, start, count);
      Tensor p = master.narrow(0, start, count);
      Tensor out = isMixed() ? parameters.flat().narrow(0, start, count) : p;
      double correction1 = 1 - Math.pow(config.beta1(), step);
      double correction2 = Math.sqrt(1 - Math.pow(config.beta2(), step));
      AdamWStep update =
          new AdamWStep(
              config.beta1(),
              (1 - config.beta1()) * gradientScale,
              config.beta2(),
              (1 - config.beta2()) * gradientScale * gradientScale,
              config.epsilon() * correction2,
              decays ? 1 - learningRate * config.weightDecay() : 1,
              learningRate * correction2 / correction1);
      update.apply(g, m, v, p, out);
    }
  }

  private boolean isMixed() {
    return Tensors.scalarType(parameters.flat()) != ScalarType.Float;
  }

  /** The global L2 norm of the finished gradients. */
  public static double norm(Gradients gradients) {
    try (Scope scope = Scope.open()) {
      return torch.linalg_vector_norm(gradients.flat()).item_double();
    }
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
    kept.close();
  }
}
