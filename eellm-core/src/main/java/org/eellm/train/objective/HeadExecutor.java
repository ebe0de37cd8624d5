package org.eellm.train.objective;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.eellm.model.Branch;
import org.eellm.model.ForwardContext;
import org.eellm.model.HeadLayers;
import org.eellm.model.parameter.Gradients;
import org.eellm.tensor.OwnedTensor;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.train.objective.HeadLoss.Reference;
import org.eellm.train.objective.HeadLoss.TokenWeights;
import org.eellm.train.objective.StageExecutor.HeadResult;
import org.eellm.train.objective.StageExecutor.HeadScore;

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
      LossGradient lossGradient =
          lossGradient(forward(retained), target, weight, objective, gradients);
      Tensor g = lossGradient.gradient();
      for (int i = lossGradient.tapes().size() - 1; i >= 0; i--) {
        g = backward(i, lossGradient, g, gradients);
      }
      return new HeadLoss.Result(scope.moveToOuter(lossGradient.loss()), scope.moveToOuter(g));
    }
  }

  /** The loss alone, where nothing below the head learns; the head's gradients are added. */
  Tensor tune(HeadLoss.Target target, double weight, Objective objective, Gradients gradients) {
    try (Scope scope = Scope.open();
        RetainedTensors retained = new RetainedTensors()) {
      LossGradient lossGradient =
          lossGradient(forward(retained), target, weight, objective, gradients);
      Tensor g = lossGradient.gradient();
      for (int i = lossGradient.tapes().size() - 1; i > 0; i--) {
        g = backward(i, lossGradient, g, gradients);
      }
      if (!lossGradient.tapes().isEmpty()) {
        head.branches()
            .getFirst()
            .backwardWeights(lossGradient.tapes().getFirst(), g, context, gradients);
      }
      return scope.moveToOuter(lossGradient.loss());
    }
  }

  /**
   * The forward pass through the head.
   *
   * @param top the stream behind the head's branches
   * @param normed what the output matrix multiplies
   */
  private record HeadTape(List<Branch.Tape> tapes, Tensor top, Tensor normed) {}

  private HeadTape forward(RetainedTensors retained) {
    Tensor x = stream;
    List<Branch.Tape> tapes = new ArrayList<>();
    for (Branch branch : head.branches()) {
      Branch.Output output = branch.forward(x, context, retained);
      tapes.add(output.tape());
      x = branch.path().add(x, output.delta());
    }
    return new HeadTape(tapes, x, head.normed(x));
  }

  /**
   * Back from the loss through the head's norm.
   *
   * @param gradient of the stream behind the head's branches
   */
  private record LossGradient(List<Branch.Tape> tapes, Tensor loss, Tensor gradient) {}

  private LossGradient lossGradient(
      HeadTape headTape,
      HeadLoss.Target target,
      double weight,
      Objective objective,
      Gradients gradients) {
    HeadLoss.Result result =
        HeadLoss.forwardBackward(
            headTape.normed(),
            head.output(),
            target,
            new TokenWeights(
                batch.mask(), weight, objective.dynamicTokenWeights() && head.head().isExit()),
            objective.temperatures().get(head.index()),
            gradients);
    return new LossGradient(
        headTape.tapes(),
        result.loss(),
        head.normBackward(headTape.top(), result.gradient(), gradients));
  }

  /** Through a branch and the residual beside it. */
  private Tensor backward(int i, LossGradient lossGradient, Tensor g, Gradients gradients) {
    Branch branch = head.branches().get(i);
    return branch
        .path()
        .gradient(g, branch.backward(lossGradient.tapes().get(i), g, context, gradients));
  }

  /** The result that a loss summed over the mask stands for. */
  HeadResult result(Tensor loss) {
    return new HeadResult(head.index(), head.id(), loss, batch.counted());
  }

  /** Loss and accuracy without gradients or dropout. */
  HeadScore score() {
    return score(new Reference(batch.targets(), Optional.empty()));
  }

  /** Loss, accuracy and agreement with another head, without gradients or dropout. */
  HeadScore scoreAgainst(HeadLoss.Target.Teacher teacher) {
    return score(new Reference(batch.targets(), Optional.of(teacher)));
  }

  private HeadScore score(Reference reference) {
    try (Scope scope = Scope.open();
        OwnedTensor x = new OwnedTensor(stream)) {
      head.branches().forEach(branch -> advance(x, branch, context));
      HeadLoss.Score score =
          HeadLoss.score(head.normed(x.get()), head.output(), reference, batch.mask());
      TensorVector sums = new TensorVector(score.loss(), score.correct());
      score.agreed().ifPresent(sums::push_back);
      return new HeadScore(
          head.index(), head.id(), scope.moveToOuter(torch.stack(sums, 0)), batch.counted());
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
