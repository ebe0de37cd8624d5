package org.eellm.schedule;

import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.ToLongFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.eellm.schedule.MicrobatchId.CooldownFill;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.MicrobatchId.WarmupFill;

/**
 * The factors that make a step's gradient an unbiased estimate although fills train only a part of
 * the model.
 *
 * <p>Without fills the loss of every counted token counts 1 / M, with M such tokens in the regular
 * microbatches of all replicas. With them a head sees more tokens than M, and the gradients of some
 * go back through some stages only. Let w_e be the counted tokens of the warm-up fills that reach
 * virtual stage e, c_v those of the cool-down fills that go back through v, and alpha_v = M / (M +
 * c_v). The gradient of a head on e with respect to a parameter on v, with v at most e, is then the
 * sum over the tokens of
 *
 * <ul>
 *   <li>regular microbatches and warm-up fills, each with weight alpha_v / (M + w_e);
 *   <li>cool-down fills, each with weight 1 / (M + c_v).
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
 * @param regular counted tokens of regular microbatches M
 * @param warmup for each virtual stage v, w_v
 * @param cooldown for each virtual stage v, c_v
 */
public record FillGradientScale(long regular, List<Long> warmup, List<Long> cooldown) {

  public FillGradientScale {
    warmup = List.copyOf(warmup);
    cooldown = List.copyOf(cooldown);
  }

  /**
   * The factors of a schedule's microbatches.
   *
   * @param counted tokens that the loss counts in the microbatches of this number, of all replicas
   */
  public static FillGradientScale of(Schedule schedule, ToLongFunction<MicrobatchId> counted) {
    Map<MicrobatchId, Long> counts =
        schedule.microbatchIds().stream()
            .collect(Collectors.toMap(Function.identity(), counted::applyAsLong));
    return new FillGradientScale(
        sum(counts, id -> id instanceof Regular),
        IntStream.range(0, schedule.virtualStages())
            .mapToObj(v -> sum(counts, id -> id instanceof WarmupFill fill && v < fill.stages()))
            .toList(),
        IntStream.range(0, schedule.virtualStages())
            .mapToObj(v -> sum(counts, id -> id instanceof CooldownFill && id.hasBackwardOn(v)))
            .toList());
  }

  private static long sum(Map<MicrobatchId, Long> counts, Predicate<MicrobatchId> wanted) {
    return counts.entrySet().stream()
        .filter(each -> wanted.test(each.getKey()))
        .mapToLong(Map.Entry::getValue)
        .sum();
  }

  /** What a counted token of a regular microbatch counts in a head's mean loss. */
  public double regularWeight() {
    return 1.0 / Math.max(regular, 1);
  }

  /** The factor by which a head on a virtual stage multiplies a token's loss. */
  public double headScale(MicrobatchId microbatch, int virtualStage) {
    long cooldownTokens = cooldown.get(virtualStage);
    return switch (microbatch) {
      case Regular _, WarmupFill _ ->
          ratio(regular, regular + cooldownTokens)
              / Math.max(regular + warmup.get(virtualStage), 1);
      case CooldownFill _ -> 1.0 / Math.max(regular + cooldownTokens, 1);
    };
  }

  /**
   * The factor by which a virtual stage multiplies a gradient that it received from the virtual
   * stage after it.
   */
  public double stageBoundaryScale(int virtualStage) {
    return ratio(regular + cooldown.get(virtualStage + 1), regular + cooldown.get(virtualStage));
  }

  /** Where nothing is counted, no gradient is there to be divided. */
  private static double ratio(long part, long whole) {
    return whole == 0 ? 1 : (double) part / whole;
  }
}
