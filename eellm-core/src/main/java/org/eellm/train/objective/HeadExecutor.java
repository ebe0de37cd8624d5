package org.eellm.train.objective;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.eellm.model.Branch;
import org.eellm.model.ForwardContext;
import org.eellm.model.HeadLayers;
import org.eellm.model.parameter.Gradients;
import org.eellm.tensor.OwnedTensor;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.train.objective.HeadLoss.Reference;
import org.eellm.train.objective.HeadLoss.TokenWeights;
import org.eellm.train.objective.HeadTuningExecutor.HeadScore;
import org.eellm.train.objective.StageExecutor.HeadResult;

/**
 * Through a head and back.
 *
 * @param stream where the head taps it, [local rows, hidden], or twice as wide between parallel
 *     branches
 */
record HeadExecutor(HeadLayers head, Tensor stream, ForwardContext context, DeviceBatch batch) {

  /**
   * Loss and the gradients of {@code weight * sum of losses}, which are added; with the stream's.
   *
   * @param weight of the head, times that of a counted token in the step
   */
  HeadLoss.Result forwardBackward(
      HeadLoss.Target target, double weight, Objective objective, Gradients gradients) {
    try (RetainedTensors retained = new RetainedTensors();
        Scope scope = Scope.open()) {
      List<Branch.Tape> tapes = new ArrayList<>();
      Tensor top = forward(tapes, retained);
      HeadLoss.Result result = lossGradient(top, target, weight, objective, gradients);
      Tensor g = backward(tapes, 0, result.gradient(), gradients);
      return new HeadLoss.Result(scope.moveToOuter(result.loss()), scope.moveToOuter(g));
    }
  }

  /** The loss alone, where nothing below the head learns; the head's gradients are added. */
  Tensor tune(HeadLoss.Target target, double weight, Objective objective, Gradients gradients) {
    try (Scope scope = Scope.open();
        RetainedTensors retained = new RetainedTensors()) {
      List<Branch.Tape> tapes = new ArrayList<>();
      Tensor top = forward(tapes, retained);
      HeadLoss.Result result = lossGradient(top, target, weight, objective, gradients);
      if (!tapes.isEmpty()) {
        Tensor g = backward(tapes, 1, result.gradient(), gradients);
        head.branches().getFirst().backwardWeights(tapes.getFirst(), g, context, gradients);
      }
      return scope.moveToOuter(result.loss());
    }
  }

  /** The stream behind the head's branches, which leave their tapes. */
  private Tensor forward(List<Branch.Tape> tapes, RetainedTensors retained) {
    Tensor x = stream;
    for (Branch branch : head.branches()) {
      Branch.Output output = branch.forward(x, context, retained);
      tapes.add(output.tape());
      x = branch.path().add(x, output.delta());
    }
    return x;
  }

  /** The loss, and the gradient of the stream behind the head's branches. */
  private HeadLoss.Result lossGradient(
      Tensor top, HeadLoss.Target target, double weight, Objective objective, Gradients gradients) {
    HeadLoss.Result result =
        HeadLoss.forwardBackward(
            head.normed(top),
            head.output(),
            target,
            new TokenWeights(
                batch.mask(), weight, objective.dynamicTokenWeights() && head.head().isExit()),
            objective.temperatures().get(head.index()),
            gradients);
    return new HeadLoss.Result(result.loss(), head.normBackward(top, result.gradient(), gradients));
  }

  /** Through the branches and the residuals beside them, from the last to number {@code first}. */
  private Tensor backward(
      List<Branch.Tape> tapes, int first, Tensor gradient, Gradients gradients) {
    Tensor g = gradient;
    for (int i = tapes.size() - 1; i >= first; i--) {
      Branch branch = head.branches().get(i);
      g = branch.path().gradient(g, branch.backward(tapes.get(i), g, context, gradients));
    }
    return g;
  }

  /** The result that a loss summed over the mask stands for. */
  HeadResult result(Tensor loss) {
    return new HeadResult(head.index(), head.id(), loss, batch.counted());
  }

  /** The figures of {@link HeadLoss#score}, without dropout. */
  HeadScore score(Reference reference) {
    try (Scope scope = Scope.open();
        OwnedTensor x = new OwnedTensor(stream)) {
      head.branches().forEach(branch -> advance(x, branch, context));
      Tensor sums = HeadLoss.score(head.normed(x.get()), head.output(), reference, batch.mask());
      return new HeadScore(head.index(), head.id(), scope.moveToOuter(sums), batch.counted());
    }
  }

  /** The stream after {@code branch}, keeping nothing. */
  static void advance(OwnedTensor stream, Branch branch, ForwardContext context) {
    try (Scope scope = Scope.open();
        RetainedTensors forgotten = new RetainedTensors()) {
      Tensor delta = branch.forward(stream.get(), context, forgotten).delta();
      stream.set(branch.path().add(stream.get(), delta));
    }
  }
}
