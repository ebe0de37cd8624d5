package org.eellm.train.optimizer;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.eellm.config.TrainConfig;
import org.eellm.train.TrainException;

/**
 * Decides after each backward pass whether the step's update is made.
 *
 * <p>A loss or gradient norm that is not finite skips the update; {@code train.max_bad_steps} of
 * them in a row end the run. A gradient norm more than {@code train.spike_threshold} standard
 * deviations above the mean of the last {@code train.spike_window} norms skips it too, once the
 * window is full. The deviation counts as at least a hundredth of the mean. The window takes the
 * limit in a skipped norm's place: one wild batch does not blind the guard, and a lasting rise is
 * accepted after a while.
 *
 * <p>The state is part of a checkpoint, so a resumed run skips what the undisturbed one would have
 * skipped.
 */
public final class StepGuard {

  /** The guard's verdict on a step's update. */
  public enum UpdateDecision {
    APPLY,
    SKIP_NOT_FINITE,
    SKIP_SPIKE
  }

  /**
   * All that the guard remembers.
   *
   * @param badStreak steps just seen in a row that were not finite
   * @param notFinite steps skipped so far because they were not finite
   * @param spikes steps skipped so far as spikes
   * @param norms the last gradient norms, oldest first
   */
  public record State(int badStreak, long notFinite, long spikes, List<Double> norms) {
    public State {
      norms = List.copyOf(norms);
    }

    /** Nothing seen yet. */
    public static State initial() {
      return new State(0, 0, 0, List.of());
    }
  }

  /**
   * Share of the mean: norms that hardly vary would otherwise make a spike of every rounding error.
   */
  private static final double LEAST_DEVIATION = 0.01;

  private final TrainConfig train;
  private final Deque<Double> norms;
  private int badStreak;
  private long notFinite;
  private long spikes;

  public StepGuard(TrainConfig train, State state) {
    this.train = train;
    this.norms = new ArrayDeque<>(state.norms());
    this.badStreak = state.badStreak();
    this.notFinite = state.notFinite();
    this.spikes = state.spikes();
  }

  /**
   * Judges a step and remembers it.
   *
   * @param step the step, from 1, for the message
   * @param loss the weighted objective
   * @param gradientNorm the global norm before clipping
   * @throws TrainException if this is the {@code train.max_bad_steps}-th step in a row that is not
   *     finite
   */
  public UpdateDecision judge(long step, double loss, double gradientNorm) {
    if (!Double.isFinite(loss) || !Double.isFinite(gradientNorm)) {
      badStreak++;
      notFinite++;
      if (badStreak >= train.maxBadSteps()) {
        throw new TrainException(
            "step %d: loss %s, gradient norm %s; %d steps in a row were not finite (train.max_bad_steps); resume from the last checkpoint with a lower optimizer.learning_rate, longer warm-up or smaller optimizer.clip_norm"
                .formatted(step, loss, gradientNorm, badStreak));
      }
      return UpdateDecision.SKIP_NOT_FINITE;
    }
    badStreak = 0;
    if (train.spikeThreshold() == 0) {
      return UpdateDecision.APPLY;
    }
    double limit = norms.size() < train.spikeWindow() ? Double.POSITIVE_INFINITY : limit();
    remember(Math.min(gradientNorm, limit));
    if (gradientNorm > limit) {
      spikes++;
      return UpdateDecision.SKIP_SPIKE;
    }
    return UpdateDecision.APPLY;
  }

  /** Steps skipped so far, for any reason. */
  public long skipped() {
    return notFinite + spikes;
  }

  /** All that the guard remembers, for a checkpoint. */
  public State state() {
    return new State(badStreak, notFinite, spikes, new ArrayList<>(norms));
  }

  private double limit() {
    double mean = norms.stream().mapToDouble(Double::doubleValue).sum() / norms.size();
    double variance =
        norms.stream().mapToDouble(norm -> (norm - mean) * (norm - mean)).sum() / norms.size();
    double deviation = Math.max(Math.sqrt(variance), LEAST_DEVIATION * mean);
    return mean + train.spikeThreshold() * deviation;
  }

  private void remember(double norm) {
    norms.addLast(norm);
    if (norms.size() > train.spikeWindow()) {
      norms.removeFirst();
    }
  }
}
