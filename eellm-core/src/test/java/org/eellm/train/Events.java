package org.eellm.train;

import java.util.LinkedHashMap;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.SequencedMap;
import org.eellm.config.HeadId;
import org.eellm.train.metrics.TrainEvent.Evaluation;
import org.eellm.train.metrics.TrainEvent.HeadQuality;
import org.eellm.train.metrics.TrainEvent.Step;
import org.eellm.train.optimizer.StepGuard.UpdateDecision;

/** Events of a run with exits after layers 2 and 4. */
public final class Events {
  private Events() {}

  public static Step step(long step, double loss, UpdateDecision decision) {
    SequencedMap<HeadId, Double> losses = new LinkedHashMap<>();
    losses.put(HeadId.exit(2), loss + 1);
    losses.put(HeadId.exit(4), loss + 0.5);
    losses.put(HeadId.FINAL, loss);
    SequencedMap<HeadId.Exit, Double> weights = new LinkedHashMap<>();
    weights.put(HeadId.exit(2), 0.25);
    weights.put(HeadId.exit(4), 0.5);
    return new Step(
        step,
        loss,
        losses,
        weights,
        3e-4,
        0.8,
        16,
        OptionalLong.empty(),
        step * 4096,
        5230.4,
        0.78,
        step * 0.8,
        decision,
        0.1,
        1L << 30);
  }

  public static Evaluation evaluation(long step, double loss) {
    SequencedMap<HeadId, HeadQuality> heads = new LinkedHashMap<>();
    heads.put(HeadId.exit(2), new HeadQuality(loss + 1, 0.25, OptionalDouble.empty()));
    heads.put(HeadId.exit(4), new HeadQuality(loss + 0.5, 0.3, OptionalDouble.empty()));
    heads.put(HeadId.FINAL, new HeadQuality(loss, 0.4, OptionalDouble.empty()));
    return new Evaluation(step, heads, OptionalDouble.of(4));
  }
}
