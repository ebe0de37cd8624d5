package org.eellm.eval.sweep;

import java.util.Optional;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.eellm.decode.speculate.DraftPlanner;
import org.eellm.eval.ExitTrace;

/**
 * What a model's exits say of the full model's texts, and what asking them costs.
 *
 * @param exits what they say of all ids, with their largest probability
 * @param drafts what they draft
 * @param calibrated what a calibration decides; absent where none is looked at
 * @param costs measured with these exits
 * @param planners makes one that has planned nothing yet, for the same exits
 * @param clock nanoseconds, by which planners are charged for their own time
 */
public record MeasuredHeads(
    ExitTrace exits,
    ExitTrace drafts,
    Optional<Calibrated> calibrated,
    DecodingCostModel costs,
    Supplier<DraftPlanner> planners,
    LongSupplier clock) {

  /**
   * A calibration's decisions.
   *
   * @param file that it is from
   * @param decisions where tokens leave, as {@link ExitTrace#ofDecisions} makes it
   * @param gated whether exits are asked for the ids alone that they draft from
   */
  public record Calibrated(String file, ExitTrace decisions, boolean gated) {}
}
