package org.eellm.train;

import java.util.function.Function;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.model.Dropout;
import org.eellm.model.parameter.Gradients;
import org.eellm.schedule.FillGradientScale;
import org.eellm.schedule.MicrobatchId;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;

/** A rank's passes through its chunks in a step, and the heads' mean losses. */
sealed interface StepCompute extends ScheduleExecutor.StageCompute, AutoCloseable
    permits TrainingCompute, TuningCompute {

  /** Where a step's microbatches and their dropout come from, and what their tokens count. */
  record Input(
      Function<MicrobatchId, Microbatch> microbatches,
      Function<MicrobatchId, Dropout> dropouts,
      FillGradientScale scale) {}

  /** Zero for each head, float64 on the model's device, where passes add without waiting for it. */
  static Tensor losses(Objective objective, Gradients gradients, RetainedTensors retained) {
    try (Scope _ = Scope.open()) {
      return retained.retain(
          Tensors.zeros(ScalarType.Double, gradients.flat().device(), objective.heads()));
    }
  }

  /**
   * Each head's mean loss over the counted tokens of the regular microbatches, as far as it is
   * computed here.
   */
  double[] losses();

  @Override
  void close();
}
