package org.eellm.schedule;

import java.util.Collection;
import java.util.List;
import java.util.stream.IntStream;
import org.eellm.schedule.MicrobatchId.CooldownFill;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.MicrobatchId.WarmupFill;

/**
 * The factors that make a step's gradient an unbiased estimate although fills train only a part of
 * the model.
 *
 * <p>Without fills every head's mean loss counts 1 / M. With them a head sees more microbatches
 * than M, and the gradients of some go back through some stages only. Let w_e be the number of
 * warm-up fills that reach virtual stage e, c_v that of cool-down fills that go back through v, and
 * alpha_v = M / (M + c_v). The gradient of a head on e with respect to a parameter on v, with v at
 * most e, is then the sum over
 *
 * <ul>
 *   <li>M regular microbatches and w_e warm-up fills, each with weight alpha_v / (M + w_e);
 *   <li>c_v cool-down fills, each with weight 1 / (M + c_v).
 * </ul>
 *
 * These weights sum to 1 for every e and v. As each of the microbatches is a sample of the same
 * data, the gradient's expectation is that of one microbatch: exactly what it is without fills.
 * (EE-LLM's code divides everything by one number, so that its fills change the weights of the
 * exits.)
 *
 * <p>The weight depends on both e and v, but a stage knows only its own heads and one gradient from
 * above. So each head multiplies its loss by {@link #headScale}, and a gradient that comes down is
 * multiplied by {@link #stageBoundaryScale} at every virtual stage: the product is the weight
 * above.
 *
 * @param microbatches regular microbatches M
 * @param warmupFills for each virtual stage v, w_v
 * @param cooldownFills for each virtual stage v, c_v
 */
public record FillGradientScale(
    int microbatches, List<Integer> warmupFills, List<Integer> cooldownFills) {

  public FillGradientScale {
    warmupFills = List.copyOf(warmupFills);
    cooldownFills = List.copyOf(cooldownFills);
  }

  /** The factors of a schedule's microbatches. */
  public static FillGradientScale of(Schedule schedule) {
    List<MicrobatchId> ids = schedule.microbatchIds();
    List<WarmupFill> warmup = ofType(ids, WarmupFill.class);
    List<CooldownFill> cooldown = ofType(ids, CooldownFill.class);
    return new FillGradientScale(
        schedule.microbatches(),
        IntStream.range(0, schedule.virtualStages())
            .mapToObj(v -> (int) warmup.stream().filter(fill -> v < fill.stages()).count())
            .toList(),
        IntStream.range(0, schedule.virtualStages())
            .mapToObj(v -> (int) cooldown.stream().filter(fill -> fill.hasBackwardOn(v)).count())
            .toList());
  }

  private static <T> List<T> ofType(Collection<MicrobatchId> ids, Class<T> type) {
    return ids.stream().filter(type::isInstance).map(type::cast).toList();
  }

  /** The factor by which a head on a virtual stage multiplies its mean loss of a microbatch. */
  public double headScale(MicrobatchId microbatch, int virtualStage) {
    return switch (microbatch) {
      case Regular _, WarmupFill _ ->
          alpha(virtualStage) / (microbatches + warmupFills.get(virtualStage));
      case CooldownFill _ -> 1.0 / (microbatches + cooldownFills.get(virtualStage));
    };
  }

  /**
   * The factor by which a virtual stage multiplies the gradient of a microbatch that it received
   * from the virtual stage after it.
   */
  public double stageBoundaryScale(MicrobatchId microbatch, int virtualStage) {
    return switch (microbatch) {
      case Regular _, WarmupFill _ -> alpha(virtualStage) / alpha(virtualStage + 1);
      case CooldownFill _ ->
          (double) (microbatches + cooldownFills.get(virtualStage + 1))
              / (microbatches + cooldownFills.get(virtualStage));
    };
  }

  private double alpha(int virtualStage) {
    return (double) microbatches / (microbatches + cooldownFills.get(virtualStage));
  }
}
