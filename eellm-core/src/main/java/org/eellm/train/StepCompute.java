package org.eellm.train;

import java.util.function.Function;
import org.eellm.model.Dropout;
import org.eellm.schedule.MicrobatchId;
import org.eellm.train.objective.Microbatch;

/** What a rank computes in a step. */
sealed interface StepCompute extends ScheduleExecutor.StageCompute, AutoCloseable
    permits TrainingCompute, TuningCompute {

  /**
   * Where a step's microbatches and their dropout come from.
   *
   * @param replicas of the pipeline
   */
  record Input(
      Function<MicrobatchId, Microbatch> microbatches,
      Function<MicrobatchId, Dropout> dropouts,
      int replicas) {}

  /** Each head's mean loss over the regular microbatches, as far as it is computed here. */
  double[] losses();

  @Override
  void close();
}
